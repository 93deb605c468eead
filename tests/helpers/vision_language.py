"""A vision-language model of random weights, for tests."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    Qwen2Config,
)

from tests.helpers.tiny_models import vocabularies

__all__ = ["save_tiny_vision_language"]

IMAGE = "<image>"
CHAT = (
    "{% for message in messages %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}" + IMAGE + "{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endfor %}"
)


def save_tiny_vision_language(folder: Path, *, chat: str | None = CHAT) -> Path:
    """Writes a Llava of random weights and its processor to ``folder``."""
    torch.manual_seed(0)
    tokenizer = vocabularies.qwen()
    tokenizer.chat_template = chat
    tokenizer.add_special_tokens({"additional_special_tokens": [IMAGE]})
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**small, image_size=32, patch_size=16),
        text_config=Qwen2Config(**small, num_key_value_heads=1, vocab_size=len(tokenizer), initializer_range=0.5),
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
    )
    LlavaForConditionalGeneration(config).save_pretrained(folder)
    images = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    LlavaProcessor(
        image_processor=images,
        tokenizer=tokenizer,
        patch_size=16,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        image_token=IMAGE,
        chat_template=chat,
    ).save_pretrained(folder)
    return folder
