"""Prompts that are captions of real images: a pool per class and split, filled as they stand or by retrieval."""

from __future__ import annotations

import functools
import itertools
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence

from diffumask_datasets.errors import RecipeError
from diffumask_datasets.prompts.balance import draw_classes
from diffumask_datasets.prompts.dealing import deal
from diffumask_datasets.prompts.prompt import Prompt
from diffumask_datasets.prompts.wording import find_terms
from diffumask_datasets.recipes.captions import mentions
from diffumask_datasets.recipes.prompt_settings import CaptionSettings, RetrievalPrompts
from diffumask_datasets.recipes.recipe import Recipe
from diffumask_datasets.recipes.splits import split_of

__all__ = ["CaptionSource"]


class CaptionSource:
    """Samples of a class draw from the captions that name it; each caption belongs to one split."""

    def __init__(self, recipe: Recipe, settings: CaptionSettings) -> None:
        self._recipe = recipe
        self._settings = settings
        self._captions = self._naming(settings.read())
        self._pools = self._chosen()
        chosen = {text for pool in self._pools.values() for text in pool}
        self._splits = deal({text: _classes_in(self._captions[text]) for text in chosen})
        self._dealt = functools.lru_cache(maxsize=None)(self._dealt_to)

    def prompt(self, index: int) -> Prompt:
        """A caption of the class that is due, drawn from those of the split of ``index``.

        Raises:
            RecipeError: the split has no caption of that class.
        """
        recipe = self._recipe
        pool = self._pool(draw_classes(recipe, index)[0], split_of(index))
        text = random.Random(f"{recipe.seed}/captions/{index}").choice(pool)
        return self._prompt(text)

    def prompts(self) -> Iterator[Prompt]:
        """Every prompt that any sample may get."""
        return map(self._prompt, self._splits)

    def check(self, splits: Sequence[str]) -> None:
        """Raises RecipeError for the first class that no caption names, or none of a split."""
        self._check_named()
        for name, split in itertools.product(self._pools, splits):
            self._pool(name, split)

    def _prompt(self, text: str) -> Prompt:
        return Prompt(text, find_terms(text, self._recipe.words))

    def _check_named(self) -> None:
        for name, pool in self._pools.items():
            if not pool:
                words = ", ".join(self._recipe.words_of(name).words)
                count = self._recipe.classes_per_image
                beside = f" with {count - 1} other classes" if count > 1 else ""
                raise RecipeError(
                    f"{self._settings.path}: no caption that can be used names the class {name!r}{beside} (searched for: "
                    f"{words}{self._refused(name)}); give more captions, or more terms of the class"
                )

    def _refused(self, name: str) -> str:
        if not isinstance(self._settings, RetrievalPrompts):
            return ""
        from diffumask_datasets.prompts.retrieval import count_refusals

        refused = count_refusals(self._captions, self._recipe.words_of(name), self._settings)
        return "".join(f"; {filter_} refuses {count}" for filter_, count in refused.items())

    def _naming(self, captions: Iterable[str]) -> dict[str, list[tuple[str, int, int]]]:
        """The captions that name as many classes as an image is to show, and where they do."""
        found = {text: mentions(text, self._recipe.words) for text in captions}
        return {
            text: named for text, named in found.items() if len(_classes_in(named)) >= self._recipe.classes_per_image
        }

    def _chosen(self) -> Mapping[str, Sequence[str]]:
        if isinstance(self._settings, RetrievalPrompts):
            from diffumask_datasets.prompts.retrieval import retrieve

            return retrieve(self._captions, self._recipe, self._settings)
        pools: dict[str, list[str]] = {name: [] for name in self._recipe.classes}
        for text, named in self._captions.items():
            for name in _classes_in(named):
                pools[name].append(text)
        return pools

    def _pool(self, name: str, split: str) -> list[str]:
        pool = self._dealt(name, split)
        if not pool:
            raise RecipeError(
                f"{self._settings.path}: no caption of {name!r} is left for the split {split!r} (each belongs to one split, "
                "8 of 10 to train); give more captions"
            )
        return pool

    def _dealt_to(self, name: str, split: str) -> list[str]:
        return [text for text in self._pools[name] if self._splits[text] == split]


def _classes_in(named: Iterable[tuple[str, int, int]]) -> list[str]:
    return list(dict.fromkeys(name for name, _, _ in named))
