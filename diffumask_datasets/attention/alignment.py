"""Which tokens of the text encoder stand for a class term."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Protocol

from diffumask_datasets.errors import TokenAlignmentError
from diffumask_datasets.prompts.prompt import Prompt, Term

__all__ = ["Tokenizer", "align_terms", "tokens_of"]

Offset = tuple[int, int]


class Tokenizer(Protocol):
    """What is needed of a transformers tokenizer."""

    is_fast: bool
    model_max_length: int

    def __call__(self, text: str, **options: Any) -> Any:
        """Tokenises as in transformers."""

    def __hash__(self) -> int: ...


def align_terms(prompt: Prompt, tokenizer: Tokenizer, *, max_length: int | None = None) -> dict[str, tuple[int, ...]]:
    """Finds the tokens of each class, over all its mentions.

    Works on character offsets, so a class name may be several words or several byte-pair tokens. A mention that is cut, even
    in part, does not count.

    Args:
        prompt: The text, and where its classes stand.
        tokenizer: That of the text encoder.
        max_length: The length at which the pipeline truncates; default: the tokenizer's own.

    Returns:
        Class → token indices, in the order of ``prompt.categories``, counted from the start of the sequence that the text
        encoder sees, special tokens included.

    Raises:
        TokenAlignmentError: A class term gets no token, or none of its mentions survives truncation.
    """
    limit = tokenizer.model_max_length if max_length is None else max_length
    full, kept = _full_and_kept(prompt.text, tokenizer, limit)
    tokens: dict[str, set[int]] = {category: set() for category in prompt.categories}
    for term in prompt.terms:
        covered = _covered(full, term)
        if not covered:
            raise TokenAlignmentError(
                f"class term {term.category!r} gets no token: characters {term.start}:{term.end} of the prompt "
                f"{prompt.text!r} are {prompt.text[term.start : term.end]!r}; let the span cover the class name"
            )
        if all(index < len(kept) and kept[index] == full[index] for index in covered):
            tokens[term.category].update(covered)
    _check_survivors(tokens, prompt, tokens_needed=len(full), limit=limit)
    return {category: tuple(sorted(indices)) for category, indices in tokens.items()}


def tokens_of(span: Term, text: str, tokenizer: Tokenizer, *, max_length: int) -> tuple[int, ...]:
    """Finds the tokens that share a character with a span of text.

    Args:
        span: The span.
        text: The text.
        tokenizer: That of the text encoder.
        max_length: The length at which the pipeline truncates.

    Returns:
        Token indices, without those that truncation cuts off.
    """
    full, kept = _full_and_kept(text, tokenizer, max_length)
    return tuple(index for index in _covered(kept, span) if kept[index] == full[index])


def _full_and_kept(text: str, tokenizer: Tokenizer, limit: int) -> tuple[list[Offset], list[Offset]]:
    """The characters of each token of the whole text, and of those that are left of it at ``limit`` tokens."""
    fast = tokenizer if tokenizer.is_fast else _fast_twin(tokenizer, text)
    full = _offsets(fast, text)
    return full, full if len(full) <= limit else _offsets(fast, text, truncation=True, max_length=limit)


def _offsets(tokenizer: Tokenizer, text: str, **options: Any) -> list[Offset]:
    # verbose=False: the untruncated pass would warn about the length that we are about to report ourselves.
    encoded = tokenizer(text, return_offsets_mapping=True, verbose=False, **options)
    return [(start, end) for start, end in encoded["offset_mapping"]]


def _covered(offsets: Sequence[Offset], term: Term) -> list[int]:
    """Indices of the tokens that share a character with the term; special tokens have empty offsets."""
    return [index for index, (start, end) in enumerate(offsets) if max(start, term.start) < min(end, term.end)]


def _check_survivors(tokens: dict[str, set[int]], prompt: Prompt, *, tokens_needed: int, limit: int) -> None:
    for category, indices in tokens.items():
        if not indices:
            raise TokenAlignmentError(
                f"class term {category!r} is truncated away: the prompt {prompt.text!r} has {tokens_needed} tokens, "
                f"this model reads {limit}; shorten the prompt or name the class earlier"
            )


def _fast_twin(tokenizer: Tokenizer, text: str) -> Tokenizer:
    """A tokenizer with offsets for a slow one (transformers 4 loads CLIP's slow class by default)."""
    fast = _converted(tokenizer)
    if list(fast(text)["input_ids"]) != list(tokenizer(text)["input_ids"]):
        raise TokenAlignmentError(
            f"the tokenizer {type(tokenizer).__name__} has no character offsets and its fast twin reads the prompt "
            f"{text!r} differently; install transformers >= 5 or load the fast tokenizer class"
        )
    return fast


# Converting CLIP's 49k merges takes longer than generating a small image.
@lru_cache(maxsize=2)
def _converted(tokenizer: Tokenizer) -> Tokenizer:
    from transformers import PreTrainedTokenizerFast
    from transformers.convert_slow_tokenizer import convert_slow_tokenizer

    fast: Tokenizer = PreTrainedTokenizerFast(tokenizer_object=convert_slow_tokenizer(tokenizer))
    return fast
