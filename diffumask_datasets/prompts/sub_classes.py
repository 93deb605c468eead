"""Prompts of style × sub-class × context, with blanks mixed in (section 3.3 of the paper)."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

from diffumask_datasets.errors import RecipeError
from diffumask_datasets.prompts.balance import draw_classes
from diffumask_datasets.prompts.dealing import share_of
from diffumask_datasets.prompts.prompt import Prompt
from diffumask_datasets.prompts.wording import fill, noun
from diffumask_datasets.recipes.captions import mentions
from diffumask_datasets.recipes.prompt_settings import SubClassPrompts
from diffumask_datasets.recipes.recipe import Recipe
from diffumask_datasets.recipes.splits import split_of
from diffumask_datasets.recipes.vocabulary import ClassWords

__all__ = ["SubClassSource"]

ENOUGH = 200
"""Prompts that a class must be able to form before they are dealt to splits; with fewer, splits share prompts."""

ATTEMPTS = 2000


class SubClassSource:
    """No phrase is used that names another class of the recipe: it would be generated and stay without a mask."""

    def __init__(self, recipe: Recipe, settings: SubClassPrompts) -> None:
        self._recipe = recipe
        self._settings = settings
        self._words = {name: self._own(recipe.words_of(name)) for name in recipe.classes}
        self._dealt = {name for name, words in self._words.items() if self._combinations(words) >= ENOUGH}

    def prompt(self, index: int) -> Prompt:
        """Drawn until its text belongs to the split of ``index``."""
        names = draw_classes(self._recipe, index)
        split = split_of(index)
        for attempt in range(ATTEMPTS):
            prompt = self._draw(names, random.Random(f"{self._recipe.seed}/phrases/{index}/{attempt}"))
            if names[0] not in self._dealt or share_of(prompt.text) == split:
                return prompt
        raise RecipeError(f"no prompt of {names[0]!r} is left for the split {split!r}: give more styles or contexts")

    def check(self, splits: Sequence[str]) -> None:
        """Nothing can be missing: a class without sub-classes or contexts has prompts without them."""

    def _draw(self, names: list[str], rng: random.Random) -> Prompt:
        words = [self._words[name] for name in names]
        nouns = [
            noun(entry, sub_class=chosen) if chosen else noun(entry, term=rng.choice(entry.terms))
            for entry in words
            for chosen in [self._any(entry.sub_classes, rng)]
        ]
        return fill(rng.choice(self._settings.styles), nouns, context=self._any(words[0].contexts, rng))

    def _any(self, phrases: tuple[str, ...], rng: random.Random) -> str:
        blank = rng.random() < self._settings.blank
        return "" if blank or not phrases else rng.choice(phrases)

    def _own(self, words: ClassWords) -> ClassWords:
        contexts = words.contexts or self._settings.contexts
        return ClassWords(
            words.name,
            words.terms,
            words.also,
            tuple(self._without_others(words.sub_classes, words.name)),
            tuple(self._without_others(contexts, "")),
            words.mass,
        )

    def _without_others(self, phrases: Iterable[str], own: str) -> Iterable[str]:
        for phrase in phrases:
            if all(name == own for name, _, _ in mentions(phrase, self._recipe.words)):
                yield phrase

    def _combinations(self, words: ClassWords) -> int:
        if self._settings.blank == 1:
            return 0
        return len(self._settings.styles) * (len(words.sub_classes) + 1) * (len(words.contexts) + 1)
