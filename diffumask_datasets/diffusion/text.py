"""From a prompt to the tokens that a denoiser is given: the very string a pipeline feeds, then its padding and cutting."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from diffumask_datasets.attention.alignment import align_terms, tokens_of
from diffumask_datasets.attention.layout import TextTokens
from diffumask_datasets.errors import TokenAlignmentError
from diffumask_datasets.prompts.prompt import Prompt, Term

__all__ = ["Both", "Text", "as_is", "chat", "lowered", "wrapped"]

ENDLESS = 2**31
"""Tokenizers without a limit say 10**30, which they themselves do not take as one."""

Feed = Callable[[Any, Prompt], Prompt]
"""(pipeline, prompt) → the string that its tokenizer sees, with the spans of the terms in it."""


def as_is(pipeline: Any, prompt: Prompt) -> Prompt:
    """The prompt itself."""
    return prompt


@dataclass(frozen=True, slots=True)
class Text:
    """How a pipeline tokenises.

    ``tokenizer`` is an attribute of the pipeline; ``feed`` makes the string. ``max_length`` tokens are read at most
    (None: the tokenizer's own limit; or asked of the pipeline and the prompt as fed). ``special_tokens`` says whether
    the tokenizer adds its own. The first ``dropped`` tokens do not reach the denoiser, but the very first does where
    ``keeps_start``; ``offset`` tokens of other encoders stand before. ``padding`` says how far rows are padded, which
    matters where the tokenizer pads on the left: to ``max_length``, to the longest of the batch and then a multiple of
    ``multiple``, or in the end not at all.
    """

    tokenizer: str = "tokenizer"
    feed: Feed = as_is
    max_length: int | Callable[[Any], int] | None = None
    special_tokens: bool = True
    dropped: int | Callable[[Any], int] = 0
    keeps_start: bool = False
    padding: Literal["max_length", "longest", "none"] = "max_length"
    multiple: int = 1
    offset: int | Callable[[Any], int] = 0

    def __call__(self, pipeline: Any, prompts: Sequence[Prompt]) -> list[TextTokens]:
        """The tokens of each prompt of a batch.

        Raises:
            TokenAlignmentError: a class term gets no token or is truncated away.
        """
        tokenizer = _tokenizer(pipeline, self.tokenizer, self.special_tokens)
        limit = min(_asked(self.max_length, pipeline) or tokenizer.model_max_length, ENDLESS)
        texts = [_align(self.feed(pipeline, _with_span(prompt)), tokenizer, limit) for prompt in prompts]
        offset = _asked(self.offset, pipeline)
        shift = offset - _asked(self.dropped, pipeline)
        longest = max(text.length for text in texts) if self.padding == "longest" else limit
        longest = -(-longest // self.multiple) * self.multiple
        is_left = self.padding != "none" and tokenizer.padding_side == "left"
        moved = [text.shifted(shift + (longest - text.length if is_left else 0)) for text in texts]
        if not self.keeps_start:
            return moved
        pairs = zip(moved, texts, strict=True)
        return [replace(text, start=None if fed.start is None else offset) for text, fed in pairs]


@dataclass(frozen=True, slots=True)
class Both:
    """Tokens of two encoders in one sequence: a term stands in both, and attention to both counts.

    ``second`` is left out where the pipeline has no text encoder of the name ``optional``.
    """

    first: Text
    second: Text
    optional: str | None = None

    def __call__(self, pipeline: Any, prompts: Sequence[Prompt]) -> list[TextTokens]:
        """The tokens of each prompt of a batch; see :class:`Text`."""
        texts = self.first(pipeline, prompts)
        if self.optional and getattr(pipeline, self.optional) is None:
            return texts
        return [_joined(*both) for both in zip(texts, self.second(pipeline, prompts), strict=True)]


def lowered(pipeline: Any, prompt: Prompt) -> Prompt:
    """The prompt in lower case without white space around it."""
    before = len(prompt.text) - len(prompt.text.lstrip())
    text = prompt.text.strip().lower()

    def moved(index: int) -> int:
        # Lower case may be longer, as that of İ.
        return min(len(prompt.text[before : max(index, before)].lower()), len(text))

    return Prompt(text, tuple(Term(term.category, moved(term.start), moved(term.end)) for term in prompt.terms))


def wrapped(prompt: Prompt, before: str, after: str = "") -> Prompt:
    """Puts a prompt between two other texts.

    Args:
        prompt: The prompt.
        before: The text before it.
        after: The text after it.

    Returns:
        The prompt, whose classes stand where they now are.
    """
    terms = tuple(replace(term, start=term.start + len(before), end=term.end + len(before)) for term in prompt.terms)
    return Prompt(before + prompt.text + after, terms)


def chat(tokenizer: Any, prompt: Prompt, *, system: str | None = None, **options: Any) -> Prompt:
    """Makes a prompt the user's message in a chat template.

    Args:
        tokenizer: Has the template.
        prompt: The prompt.
        system: The system message; with one, both messages are lists of parts.
        **options: Further arguments of ``apply_chat_template``.

    Returns:
        The whole text as a prompt.

    Raises:
        TokenAlignmentError: The template changes the prompt.
    """
    messages: list[dict[str, Any]] = [{"role": "user", "content": prompt.text}]
    if system is not None:
        said = (("system", system), ("user", prompt.text))
        messages = [{"role": role, "content": [{"type": "text", "text": text}]} for role, text in said]
    text: str = tokenizer.apply_chat_template(messages, tokenize=False, **options)
    start = text.rfind(prompt.text)
    if start < 0:
        raise TokenAlignmentError(f"the chat template of the model's tokenizer changes the prompt {prompt.text!r}")
    return wrapped(prompt, text[:start], text[start + len(prompt.text) :])


class _Configured:
    """A tokenizer that adds no special tokens."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.is_fast: bool = tokenizer.is_fast
        self.model_max_length: int = tokenizer.model_max_length
        self.padding_side: str = tokenizer.padding_side
        self.all_special_ids: list[int] = tokenizer.all_special_ids

    def __call__(self, text: str, **options: Any) -> Any:
        return self._tokenizer(text, add_special_tokens=False, **options)


def _tokenizer(pipeline: Any, name: str, special_tokens: bool) -> Any:
    tokenizer = getattr(pipeline, name)
    tokenizer = getattr(tokenizer, "tokenizer", tokenizer)  # a processor holds one
    return tokenizer if special_tokens else _Configured(tokenizer)


def _asked(value: Any, pipeline: Any) -> Any:
    return value(pipeline) if callable(value) else value


def _with_span(prompt: Prompt) -> Prompt:
    """The prompt with a last term that spans all of it, so that it is found again in whatever it is fed in."""
    return replace(prompt, terms=(*prompt.terms, Term("", 0, len(prompt.text))))


def _align(prompt: Prompt, tokenizer: Any, limit: int) -> TextTokens:
    """The tokens of a prompt that came from :func:`_with_span`."""
    *terms, span = prompt.terms
    token_indices = align_terms(replace(prompt, terms=tuple(terms)), tokenizer, max_length=limit)
    encoded = tokenizer(prompt.text, truncation=True, max_length=limit, return_special_tokens_mask=True, verbose=False)
    ids, words = encoded["input_ids"], tokens_of(span, prompt.text, tokenizer, max_length=limit)
    starts_special = encoded["special_tokens_mask"][0] or ids[0] in tokenizer.all_special_ids
    return TextTokens(token_indices, len(ids), words, 0 if starts_special else None)


def _joined(first: TextTokens, second: TextTokens) -> TextTokens:
    both = {name: (*tokens, *second.token_indices[name]) for name, tokens in first.token_indices.items()}
    return TextTokens(both, second.length, (*first.words, *second.words), first.start)
