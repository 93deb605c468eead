"""Prompts that are captions of real images: a pool per class and split, filled as they stand or by retrieval."""

from __future__ import annotations

import functools
import itertools
import random
from collections.abc import Mapping, Sequence

from diffumask_datasets.captions import fingerprint_captions, mentions, read_captions
from diffumask_datasets.errors import RecipeError
from diffumask_datasets.plan import split_of
from diffumask_datasets.prompts.balance import draw_classes
from diffumask_datasets.prompts.dealing import deal
from diffumask_datasets.prompts.prompt import Prompt
from diffumask_datasets.prompts.wording import find_terms
from diffumask_datasets.recipe import Recipe
from diffumask_datasets.settings import CaptionSettings, RetrievalPrompts

__all__ = ["CaptionSource", "load_captions"]


def load_captions(settings: CaptionSettings) -> tuple[str, ...]:
    """The captions that the settings name.

    Raises:
        RecipeError: they cannot be read, or are not those whose fingerprint the settings hold.
    """
    captions = read_captions(settings.path, column=settings.column, split=settings.split, revision=settings.revision)
    present = fingerprint_captions(captions)
    if settings.content not in (None, present):
        raise RecipeError(
            f"the captions in {settings.path!r} have content {present!r}, not {settings.content!r} that is asked for; "
            "take the same captions, or leave content out"
        )
    return captions


class CaptionSource:
    """Samples of a class draw from the captions that name it; each caption belongs to one split."""

    def __init__(self, recipe: Recipe, settings: CaptionSettings) -> None:
        self._recipe = recipe
        self._path = settings.path
        self._pools = self._chosen(load_captions(settings), settings)
        named = {text: self._named(text) for pool in self._pools.values() for text in pool}
        self._splits = deal(named) if named else {}
        self._dealt = functools.lru_cache(maxsize=None)(self._dealt_to)

    def prompt(self, index: int) -> Prompt:
        """A caption of the class that is due, drawn from those of the split of ``index``.

        Raises:
            RecipeError: the split has no caption of that class.
        """
        recipe = self._recipe
        pool = self._pool(draw_classes(recipe, index)[0], split_of(index))
        text = random.Random(f"{recipe.seed}/captions/{index}").choice(pool)
        return Prompt(text, find_terms(text, recipe.words))

    def check(self, splits: Sequence[str]) -> None:
        """Raises RecipeError for the first class that no caption names, or none of a split."""
        self._check_named()
        for name, split in itertools.product(self._pools, splits):
            self._pool(name, split)

    def _check_named(self) -> None:
        for name, pool in self._pools.items():
            if not pool:
                words = ", ".join(self._recipe.words_of(name).words)
                count = self._recipe.classes_per_image
                beside = f" with {count - 1} other classes" if count > 1 else ""
                raise RecipeError(
                    f"{self._path}: no caption that can be used names the class {name!r}{beside} (searched for: {words}); "
                    "give more captions, or more terms of the class"
                )

    def _chosen(self, captions: Sequence[str], settings: CaptionSettings) -> Mapping[str, Sequence[str]]:
        several = [text for text in captions if len(self._named(text)) >= self._recipe.classes_per_image]
        if isinstance(settings, RetrievalPrompts):
            from diffumask_datasets.prompts.retrieval import retrieve

            return retrieve(several, self._recipe, settings)
        named = {text: self._named(text) for text in several}
        return {name: [text for text in several if name in named[text]] for name in self._recipe.classes}

    def _pool(self, name: str, split: str) -> list[str]:
        pool = self._dealt(name, split)
        if not pool:
            raise RecipeError(
                f"{self._path}: no caption of {name!r} is left for the split {split!r} (each belongs to one split, "
                "8 of 10 to train); give more captions"
            )
        return pool

    def _dealt_to(self, name: str, split: str) -> list[str]:
        return [text for text in self._pools[name] if self._splits[text] == split]

    def _named(self, text: str) -> list[str]:
        return list(dict.fromkeys(name for name, _, _ in mentions(text, self._recipe.words)))
