"""Promptable segmenters for tests: tiny random networks of each kind, and one that knows the truth."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import transformers

from diffumask_datasets.masks.promptable import Answer, Prompt
from tests.helpers.tiny_models import vocabularies

__all__ = ["KINDS", "TrueSegmenter", "save_tiny_concept_segmenter", "save_tiny_segmenter"]

KINDS = ("sam", "sam_hq", "sam2", "sam3_tracker")

_VIT = {
    "hidden_size": 32,
    "output_channels": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 64,
    "patch_size": 8,
    "mlp_ratio": 2.0,
    "window_size": 4,
    "global_attn_indexes": [1],
    "num_pos_feats": 16,
    "initializer_range": 0.5,
}
_HIERA = {
    "model_type": "sam2_hiera_det_model",
    "hidden_size": 16,
    "num_attention_heads": 1,
    "image_size": [64, 64],
    "blocks_per_stage": [1, 2, 1, 1],
    "embed_dim_per_stage": [16, 32, 64, 128],
    "num_attention_heads_per_stage": [1, 2, 4, 8],
    "window_size_per_stage": [8, 4, 4, 4],
    "global_attention_blocks": [2],
    "window_positional_embedding_background_size": [4, 4],
    "mlp_ratio": 2.0,
}
_SAM3_VIT = {
    "model_type": "sam3_vit_model",
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 56,
    "patch_size": 14,
    "window_size": 2,
    "global_attn_indexes": [1],
    "pretrain_image_size": 28,
}
_DECODER = {"hidden_size": 32, "mlp_dim": 32, "num_attention_heads": 2, "iou_head_hidden_dim": 16}


def save_tiny_segmenter(kind: str, folder: Path) -> Path:
    """Writes a network of about 100,000 random weights, and how it sees images, to ``folder``."""
    torch.manual_seed(0)
    network = _network(kind)
    with torch.no_grad():
        for weight in network.mask_decoder.parameters():
            weight.mul_(3)  # or all candidates are as good as empty
    network.save_pretrained(folder)
    normalization = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.25, 0.25]}
    (folder / "preprocessor_config.json").write_text(json.dumps(normalization), encoding="utf-8")
    return folder


def _network(kind: str) -> Any:
    if kind in ("sam", "sam_hq"):
        name = {"sam": "Sam", "sam_hq": "SamHQ"}[kind]
        decoder = _DECODER | ({"vit_dim": 32} if kind == "sam_hq" else {})
        return _made(name, _VIT, decoder, side=64, patch=8)
    if kind == "sam2":
        sizes = {"backbone_channel_list": [128, 64, 32, 16], "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]]}
        return _made("Sam2", {"backbone_config": _HIERA, "fpn_hidden_size": 32, **sizes}, _DECODER, side=64, patch=16)
    sizes = {"backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]]}
    vision = {"backbone_config": _SAM3_VIT, "fpn_hidden_size": 32, **sizes}
    return _made("Sam3Tracker", vision, _DECODER, side=56, patch=14)


def _made(name: str, vision: dict[str, Any], decoder: dict[str, Any], *, side: int, patch: int) -> Any:
    config = getattr(transformers, f"{name}Config")(
        vision_config=vision,
        prompt_encoder_config={"hidden_size": 32, "image_size": side, "patch_size": patch},
        mask_decoder_config=decoder,
    )
    return getattr(transformers, f"{name}Model")(config)


def save_tiny_concept_segmenter(folder: Path) -> Path:
    """Writes a SAM 3 of random weights that takes texts, its tokenizer, and how it sees images, to ``folder``."""
    torch.manual_seed(0)
    small = {"hidden_size": 32, "num_attention_heads": 2}
    layers = {**small, "num_layers": 1, "intermediate_size": 32, "dropout": 0.0}
    tokenizer = vocabularies.clip()
    text = {
        **small,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "projection_dim": 16,
        "max_position_embeddings": 32,
    }
    vision = {
        "backbone_config": _SAM3_VIT,
        "fpn_hidden_size": 32,
        "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
    }
    text |= {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    config = transformers.Sam3Config(
        vision_config=vision,
        text_config={"model_type": "clip_text_model", "vocab_size": len(tokenizer), **text},
        geometry_encoder_config=layers,
        detr_encoder_config=layers,
        detr_decoder_config={**layers, "num_queries": 4},
        mask_decoder_config=small,
    )
    network = transformers.Sam3Model(config)
    with torch.no_grad():
        for weight in network.mask_decoder.parameters():
            weight.mul_(6)  # or all pixels are alike
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    normalization = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
    (folder / "preprocessor_config.json").write_text(json.dumps(normalization), encoding="utf-8")
    return folder


class TrueSegmenter:
    """Answers with the object under the first hot point, and two candidates that are wrong and promise less.

    Args:
        truth: (height, width), 0 for no object, then 1..n.
    """

    def __init__(self, truth: npt.NDArray[np.integer]) -> None:
        self.truth = truth
        self.asked: list[Prompt] = []

    def ask(self, image: npt.NDArray[np.uint8], prompts: Sequence[Prompt]) -> list[Answer]:
        """One answer a prompt."""
        self.asked += prompts
        return [self._answer(prompt) for prompt in prompts]

    def _answer(self, prompt: Prompt) -> Answer:
        column, row = (int(place) for place in prompt.points[0])
        number = self.truth[row, column]
        masks = (self.truth > 0, (self.truth == number) & (number > 0), self.truth < 0)
        return Answer(
            np.stack([np.where(mask, 8.0, -8.0) for mask in masks]).astype(np.float32),
            np.array([0.4, 0.9, 0.1], dtype=np.float32),
        )
