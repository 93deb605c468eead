"""A small tokenizer: CLIP's byte-pair scheme with one token per caption word, and bytes for all other text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from transformers import CLIPTokenizer

MAX_LENGTH = 32
"""Tokens of a prompt, start and end included."""

START, END = "<|startoftext|>", "<|endoftext|>"


def byte_characters() -> list[str]:
    """The 256 printable characters that stand for bytes in GPT-2's and CLIP's byte-pair vocabularies."""
    shown = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAC + 1), *range(0xAE, 0xFF + 1)]
    hidden = iter(range(256))
    return [chr(byte) if byte in shown else chr(256 + next(hidden)) for byte in range(256)]


def _merge_once(pieces: list[str], pair: tuple[str, str]) -> list[str]:
    merged: list[str] = []
    for piece in pieces:
        if merged and (merged[-1], piece) == pair:
            merged[-1] += piece
        else:
            merged.append(piece)
    return merged


def split_word(word: str, ranks: dict[tuple[str, str], int]) -> list[str]:
    """Byte-pair pieces of an ASCII ``word`` under the merges in ``ranks`` (lower rank merges first)."""
    pieces = [*word[:-1], word[-1] + "</w>"]
    while len(pieces) > 1:
        best = min(pairwise(pieces), key=lambda pair: ranks.get(pair, len(ranks)))
        if best not in ranks:
            break
        pieces = _merge_once(pieces, best)
    return pieces


def word_merges(words: Iterable[str]) -> list[tuple[str, str]]:
    """Merges under which every one of ``words`` becomes a single token.

    Later merges rank lower than all earlier ones, so they cannot break a word that is already whole.
    """
    ranks: dict[tuple[str, str], int] = {}
    for word in words:
        pieces = split_word(word, ranks)
        whole = pieces[0]
        for piece in pieces[1:]:
            ranks.setdefault((whole, piece), len(ranks))
            whole += piece
    return list(ranks)


def build_tokenizer(words: Sequence[str]) -> CLIPTokenizer:
    """Tokenizer in which each of ``words`` is one token and nothing is unknown."""
    merges = word_merges(words)
    single = byte_characters()
    tokens = [*single, *(char + "</w>" for char in single), *("".join(pair) for pair in merges), START, END]
    vocab = {token: index for index, token in enumerate(dict.fromkeys(tokens))}
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=MAX_LENGTH)
