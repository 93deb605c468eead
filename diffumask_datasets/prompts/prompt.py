"""A prompt that knows where its class terms stand."""

from __future__ import annotations

from dataclasses import dataclass

from diffumask_datasets.errors import TokenAlignmentError

__all__ = ["Prompt", "Term"]


@dataclass(frozen=True, slots=True)
class Term:
    """One mention of a class: characters ``text[start:end]`` of the prompt."""

    category: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Prompt:
    """Text for the model, with the character span of each class term.

    Raises:
        TokenAlignmentError: no term at all, or a span outside the text.
    """

    text: str
    terms: tuple[Term, ...]

    def __post_init__(self) -> None:
        if not self.terms:
            raise TokenAlignmentError(f"the prompt {self.text!r} names no class")
        for term in self.terms:
            if not 0 <= term.start < term.end <= len(self.text):
                raise TokenAlignmentError(
                    f"term {term.category!r} at characters {term.start}:{term.end} lies outside the prompt "
                    f"{self.text!r} of {len(self.text)} characters"
                )

    @property
    def categories(self) -> tuple[str, ...]:
        """The class names mentioned, each once, in the order of their first mention."""
        return tuple(dict.fromkeys(term.category for term in self.terms))
