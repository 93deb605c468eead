"""Small tokenizers of the real classes: a few whole words, everything else letter by letter."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import Any

import sentencepiece
from diffusers.pipelines.kolors import ChatGLMTokenizer
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    BertTokenizer,
    CLIPTokenizer,
    GemmaTokenizer,
    LlamaTokenizer,
    PreTrainedTokenizerFast,
    Qwen2Tokenizer,
    T5Tokenizer,
)

from tests.helpers.byte_pairs import byte_pair_tokenizer

WORDS = ("a", "photo", "of", "red", "car", "potted", "plant")
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
MISTRAL_TEMPLATE = (
    "<s>{% for message in messages %}{% if message['role'] == 'system' %}[SYSTEM_PROMPT]"
    "{% for part in message['content'] %}{{ part['text'] }}{% endfor %}[/SYSTEM_PROMPT]{% else %}[INST]"
    "{% for part in message['content'] %}{{ part['text'] }}{% endfor %}[/INST]{% endif %}{% endfor %}"
)


def clip() -> CLIPTokenizer:
    return byte_pair_tokenizer(tuple(f"{word}</w>" for word in WORDS), model_max_length=16)


def t5() -> T5Tokenizer:
    """Unigram: the longer the piece the likelier."""
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -3.0)]
    pieces += [(f"▁{word}", -1.0) for word in WORDS]
    pieces += [(chr(code), -8.0) for code in range(33, 127)]
    return T5Tokenizer(vocab=pieces, extra_ids=0)


def gemma() -> GemmaTokenizer:
    vocab, merges = _pieces("▁", [chr(code) for code in range(32, 127)], ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"])
    return GemmaTokenizer(vocab=vocab, merges=merges)


def llama() -> LlamaTokenizer:
    vocab, merges = _pieces("▁", [chr(code) for code in range(33, 127)], ["<unk>", "<s>", "</s>"])
    tokenizer = LlamaTokenizer(vocab=vocab, merges=merges)
    tokenizer.pad_token = "</s>"
    return tokenizer


def bert() -> BertTokenizer:
    letters = [chr(code) for code in range(97, 123)]
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *letters, *("##" + letter for letter in letters)]
    return BertTokenizer(vocab={token: number for number, token in enumerate(dict.fromkeys(tokens))})


def qwen() -> Qwen2Tokenizer:
    vocab, merges = _pieces("Ġ", sorted(ByteLevel.alphabet()), ["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    tokenizer = Qwen2Tokenizer(vocab=vocab, merges=merges, additional_special_tokens=["<|im_start|>", "<|im_end|>"])
    tokenizer.chat_template = CHATML
    return tokenizer


def glm() -> PreTrainedTokenizerFast:
    """Two special tokens before the text, padding on the left."""
    tokenizer = _byte_level(["<|endoftext|>", "[gMASK]", "<sop>"])
    ids = [(name, tokenizer.token_to_id(name)) for name in ("[gMASK]", "<sop>")]
    tokenizer.post_processor = processors.TemplateProcessing(single="[gMASK] <sop> $A", special_tokens=ids)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<|endoftext|>", padding_side="left")


def mistral() -> PreTrainedTokenizerFast:
    specials = ["<unk>", "<s>", "</s>", "<pad>", "[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[IMG]"]
    specials += ["[IMG_BREAK]", "[IMG_END]"]
    tokenizer = _byte_level(specials)
    bos = tokenizer.token_to_id("<s>")
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", bos)])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>", padding_side="left"
    )
    fast.chat_template = MISTRAL_TEMPLATE
    return fast


def chat_glm() -> ChatGLMTokenizer:
    return ChatGLMTokenizer(str(_sentence_pieces() / "tokenizer.model"))


@functools.cache
def _sentence_pieces() -> Path:
    """A folder, gone with the process, that holds a model of the real kind: WORDS whole, the rest by letters."""
    _KEPT.append(tempfile.TemporaryDirectory())
    folder = Path(_KEPT[0].name)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["the quick brown fox jumps over the lazy dog", " ".join(WORDS)] * 10),
        model_prefix=str(folder / "tokenizer"),
        vocab_size=64,
        hard_vocab_limit=False,
        user_defined_symbols=[f"▁{word}" for word in WORDS],
        minloglevel=2,
    )
    return folder


_KEPT: list[tempfile.TemporaryDirectory[Any]] = []


def _byte_level(specials: list[str]) -> Tokenizer:
    vocab, merges = _pieces("Ġ", sorted(ByteLevel.alphabet()), specials)
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(specials)
    return tokenizer


def _pieces(space: str, letters: list[str], specials: list[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Merges that build each word, with and without ``space`` before it."""
    tokens, merges = [*specials, space, *letters], []
    for word in (*(space + word for word in WORDS), *WORDS):
        for end in range(1, len(word)):
            merges.append((word[:end], word[end]))
            tokens.append(word[: end + 1])
    vocab = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    return vocab, list(dict.fromkeys(merges))
