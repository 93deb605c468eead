"""Which prompt sample k gets: drawn from (recipe, k) alone, by the source that the recipe names."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Protocol, cast

from diffumask_datasets.prompts.phrases import attended
from diffumask_datasets.prompts.prompt import Prompt
from diffumask_datasets.recipes.recipe import Recipe
from diffumask_datasets.recipes.registry import PROMPT_SOURCES, Choice

__all__ = ["PromptSource", "caption_prompts", "check_prompts", "prompt_for"]


class PromptSource(Protocol):
    """Where prompts come from. What a source draws depends on (recipe, index) alone."""

    def prompt(self, index: int) -> Prompt:
        """The prompt of sample ``index``, with the character span of each class term."""

    def check(self, splits: Sequence[str]) -> None:
        """Raises a RecipeError or TokenAlignmentError where a class has no prompt in one of the splits."""


def prompt_for(recipe: Recipe, index: int) -> Prompt:
    """The prompt of sample ``index``, from the recipe's prompt source.

    Classes are balanced: see :func:`diffumask_datasets.prompts.balance.draw_classes`. Its spans cover what the recipe's
    ``attention_words`` ask for.

    Raises:
        TokenAlignmentError: a caption without any of the recipe's classes.
        RecipeError: no prompt is left for the split of ``index``.
    """
    return attended(_source(recipe).prompt(index), recipe.attention_words)


def check_prompts(recipe: Recipe, splits: Sequence[str] = ("train",)) -> None:
    """Raises TokenAlignmentError or RecipeError where a caption names no class, or a class has no caption in a split."""
    _source(recipe).check(splits)


def caption_prompts(recipe: Recipe) -> Iterator[Prompt]:
    """Every prompt that may be drawn where prompts are captions, which may be too long for a model; else none."""
    from diffumask_datasets.prompts.caption_pool import CaptionSource

    source = _source(recipe)
    if isinstance(source, CaptionSource):
        for prompt in source.prompts():
            yield attended(prompt, recipe.attention_words)


@functools.lru_cache(maxsize=8)
def _source(recipe: Recipe) -> PromptSource:
    chosen = recipe.prompt_source
    if isinstance(chosen, Choice):
        return cast("PromptSource", PROMPT_SOURCES.make(chosen)(recipe))
    return cast("PromptSource", PROMPT_SOURCES.make(chosen.kind, settings=chosen)(recipe))
