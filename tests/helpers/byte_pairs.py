"""CLIP's tokenizer, small and of the real class."""

from __future__ import annotations

from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTokenizer


def byte_pair_tokenizer(pieces: tuple[str, ...], *, model_max_length: int) -> CLIPTokenizer:
    """Merges that build each of ``pieces``, e.g. ``("motor", "bike</w>")``, letter by letter; all else stays letters."""
    letters = sorted(ByteLevel.alphabet())
    tokens = [*letters, *(letter + "</w>" for letter in letters)]
    merges = []
    for piece in pieces:
        stem = piece.removesuffix("</w>")
        symbols = [*stem[:-1], piece[len(stem) - 1 :]]
        for end in range(1, len(symbols)):
            merges.append(("".join(symbols[:end]), symbols[end]))
            tokens.append("".join(symbols[: end + 1]))
    tokens += [*pieces, "<|startoftext|>", "<|endoftext|>"]
    vocab = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    return CLIPTokenizer(vocab=vocab, merges=list(dict.fromkeys(merges)), model_max_length=model_max_length)
