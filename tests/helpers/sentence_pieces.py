"""T5's tokenizer, small and of the real class."""

from __future__ import annotations

from transformers import T5Tokenizer


def sentence_piece_tokenizer(words: tuple[str, ...], *, model_max_length: int) -> T5Tokenizer:
    """A unigram model that knows ``words`` whole, with the mark of a word's start; all else is letters."""
    letters = [chr(code) for code in range(33, 127)]
    scores = {"<pad>": 0.0, "</s>": 0.0, "<unk>": 0.0, "▁": -4.0}
    scores |= {f"▁{word}": -2.0 for word in words}
    scores |= dict.fromkeys(letters, -6.0)
    return T5Tokenizer(vocab=list(scores.items()), extra_ids=0, model_max_length=model_max_length)
