"""From a prompt to the tokens that a denoiser is given: the very string a pipeline feeds, then its padding and cutting."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from diffumask_datasets.attention.alignment import align_terms
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
    the tokenizer adds its own. The first ``dropped`` tokens do not reach the denoiser, ``offset`` tokens of other
    encoders stand before. ``padding`` says how far rows are padded, which matters where the tokenizer pads on the left:
    to ``max_length``, to the longest of the batch and then a multiple of ``multiple``, or in the end not at all.
    """

    tokenizer: str = "tokenizer"
    feed: Feed = as_is
    max_length: int | Callable[[Any], int] | None = None
    special_tokens: bool = True
    dropped: int | Callable[[Any], int] = 0
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
        texts = [_align(self.feed(pipeline, prompt), tokenizer, limit) for prompt in prompts]
        shift = _asked(self.offset, pipeline) - _asked(self.dropped, pipeline)
        if self.padding == "none" or tokenizer.padding_side == "right":
            return [_shifted(text, shift) for text in texts]
        longest = max(text.length for text in texts) if self.padding == "longest" else limit
        longest = -(-longest // self.multiple) * self.multiple
        return [_shifted(text, shift + longest - text.length) for text in texts]


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

    def place(index: int) -> int:
        # Lower case may be longer, as that of İ.
        return min(len(prompt.text[before : max(index, before)].lower()), len(text))

    return Prompt(text, tuple(Term(term.category, place(term.start), place(term.end)) for term in prompt.terms))


def wrapped(prompt: Prompt, before: str, after: str = "") -> Prompt:
    """The prompt between two other texts."""
    terms = tuple(replace(term, start=term.start + len(before), end=term.end + len(before)) for term in prompt.terms)
    return Prompt(before + prompt.text + after, terms)


def chat(tokenizer: Any, prompt: Prompt, *, system: str | None = None, **options: Any) -> Prompt:
    """The prompt as the user's message in the chat template of ``tokenizer``.

    With a ``system`` message both messages are lists of parts.

    Raises:
        TokenAlignmentError: the template changes the prompt.
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

    def __call__(self, text: str, **options: Any) -> Any:
        return self._tokenizer(text, add_special_tokens=False, **options)


def _tokenizer(pipeline: Any, name: str, special_tokens: bool) -> Any:
    tokenizer = getattr(pipeline, name)
    tokenizer = getattr(tokenizer, "tokenizer", tokenizer)  # a processor holds one
    return tokenizer if special_tokens else _Configured(tokenizer)


def _asked(value: Any, pipeline: Any) -> Any:
    return value(pipeline) if callable(value) else value


def _align(prompt: Prompt, tokenizer: Any, limit: int) -> TextTokens:
    columns = align_terms(prompt, tokenizer, max_length=limit)
    length = len(tokenizer(prompt.text, truncation=True, max_length=limit, verbose=False)["input_ids"])
    return TextTokens(columns, length)


def _joined(first: TextTokens, second: TextTokens) -> TextTokens:
    columns = {category: (*tokens, *second.columns[category]) for category, tokens in first.columns.items()}
    return TextTokens(columns, second.length)


def _shifted(text: TextTokens, by: int) -> TextTokens:
    columns = {category: tuple(token + by for token in tokens) for category, tokens in text.columns.items()}
    return TextTokens(columns, text.length + by)
