"""Prompts from the recipe's ``prompts``: templates filled with the classes drawn, or captions as they stand."""

from __future__ import annotations

import random
from collections.abc import Sequence

from diffumask_datasets.errors import TokenAlignmentError
from diffumask_datasets.prompts.balance import draw_classes
from diffumask_datasets.prompts.prompt import Prompt, Term
from diffumask_datasets.prompts.wording import Noun, fill, find_terms, noun
from diffumask_datasets.recipes.prompt_settings import PLACE, TemplatePrompts
from diffumask_datasets.recipes.recipe import Recipe

__all__ = ["TemplateSource"]


class TemplateSource:
    """Every split uses all of the recipe's prompts: they share prompts, never a seed."""

    def __init__(self, recipe: Recipe, settings: TemplatePrompts) -> None:
        self._recipe = recipe

    def prompt(self, index: int) -> Prompt:
        """The prompts take turns; a class of several terms is called by any of them."""
        recipe = self._recipe
        text = recipe.prompts[index % len(recipe.prompts)]
        if PLACE not in text:
            return Prompt(text, self._terms(text))
        return fill(text, [self._noun(name, index) for name in draw_classes(recipe, index)])

    def check(self, splits: Sequence[str]) -> None:
        """Raises TokenAlignmentError for the first caption that names none of the classes."""
        for text in self._recipe.prompts:
            if PLACE not in text:
                self._terms(text)

    def _noun(self, name: str, index: int) -> Noun:
        words = self._recipe.words_of(name)
        return noun(words, term=random.Random(f"{self._recipe.seed}/terms/{index}/{name}").choice(words.terms))

    def _terms(self, text: str) -> tuple[Term, ...]:
        terms = find_terms(text, self._recipe.words)
        if not terms:
            raise TokenAlignmentError(
                f"the prompt {text!r} names none of the classes ({', '.join(self._recipe.classes)}): "
                f"write a class name in it, or {PLACE} where the class terms go"
            )
        return terms
