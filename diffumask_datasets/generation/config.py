"""The fields of ``load_dataset("diffumask", ...)`` and ``generate``, checked and resolved."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets

from diffumask_datasets.dataset.shared_recipe import with_shared_recipe
from diffumask_datasets.dataset.storage import parse_location
from diffumask_datasets.dataset.views import VIEWS
from diffumask_datasets.errors import RecipeError, suggestion
from diffumask_datasets.generation.batch_size import best_batch_size
from diffumask_datasets.generation.prepare import prepare
from diffumask_datasets.generation.samples import GeneratedSamples, Runtime
from diffumask_datasets.recipes.base import check_fields
from diffumask_datasets.recipes.recipe import FIELDS, Recipe
from diffumask_datasets.recipes.splits import SplitPlan
from diffumask_datasets.toybox.rendered import CONFIG_NAME as RENDERED
from diffumask_datasets.toybox.rendered import DEFAULT_SIZES, RenderedScenes

__all__ = ["CONFIGS", "CONFIG_FIELDS", "DiffuMaskConfig"]

CONFIGS = (*VIEWS, RENDERED)

VERSION = datasets.Version("1.0.0")


class DiffuMaskConfig(datasets.BuilderConfig):
    """What ``load_dataset("diffumask", **fields)`` takes, beside the fields of :class:`diffumask_datasets.Recipe`.

    ``batch_size``, ``device``, ``dtype``, ``store`` and ``num_shards`` change how samples are generated, not what they are.

    Args:
        name: ``default``, ``instance``, ``detection``, ``panoptic`` or ``toybox-rendered``, whose scenes are drawn: it takes
            ``height`` and ``width`` and no recipe.
        version: The version of the dataset's format.
        num_samples: The size of the split ``train``. Without it and ``splits`` a stream is endless.
        splits: The sizes of several splits, such as ``{"train": 800, "validation": 200}``.
        skip: Indices that are left out, as rejected in a review.
        keep_heat_maps: Add the column ``heat_maps``.
        keep_threshold_curve: Add the column ``threshold_curve``.
        recipe: A dataset (a folder, a URL or ``owner/name`` on the Hub) or a ``recipe.yaml`` that gives every field that is
            not given here.
        trust_recipe: Follow the local models and files that ``recipe`` names.
        num_shards: Parts of a stream, for loaders with several workers.
        batch_size: Images generated at once; default: 1 on the CPU, and on a GPU the largest power of two that fits.
        device: torch's name of the device; default: the best there is.
        dtype: torch's name of the dtype; default: that of the device.
        store: The folder or URL of the sample store.
        **recipe_fields: Those of the recipe.

    Raises:
        RecipeError: An unknown field, an illegal value, or an unknown config name.
    """

    def __init__(
        self,
        name: str = "default",
        version: Any = None,
        *,
        num_samples: int | None = None,
        splits: Mapping[str, int] | None = None,
        skip: Sequence[int] | None = None,
        keep_heat_maps: bool | None = None,
        keep_threshold_curve: bool | None = None,
        recipe: str | Path | None = None,
        trust_recipe: bool = False,
        num_shards: int | None = None,
        batch_size: int | None = None,
        device: str | None = None,
        dtype: str | None = None,
        store: str | Path | None = None,
        **recipe_fields: Any,
    ) -> None:
        if name not in CONFIGS:
            legal = ", ".join(CONFIGS)
            raise RecipeError(f"unknown config {name!r}{suggestion(name, CONFIGS)}; legal configs: {legal}")
        super().__init__(name=name, version=version or VERSION)
        if recipe is not None:
            extent = {
                "num_samples": num_samples,
                "splits": splits,
                "skip": skip,
                "keep_heat_maps": keep_heat_maps,
                "keep_threshold_curve": keep_threshold_curve,
            }
            fields = with_shared_recipe(recipe, {**extent, **recipe_fields}, trust=trust_recipe)
            num_samples, splits, skip, keep_heat_maps, keep_threshold_curve = (fields.pop(name) for name in extent)
            recipe_fields = fields
        if name == RENDERED and num_samples is None and splits is None:
            splits = DEFAULT_SIZES
        self.plan = SplitPlan.of(num_samples=num_samples, splits=splits, num_shards=num_shards, skip=skip)
        self.runtime = Runtime(
            1 if batch_size is None else batch_size, device, dtype, parse_location(store) if store else None
        )
        self.keep_heat_maps = bool(keep_heat_maps)
        self.keep_threshold_curve = bool(keep_threshold_curve)
        self.recipe: Recipe | RenderedScenes = (
            self._drawn(recipe_fields) if name == RENDERED else self._prepared(recipe_fields)
        )
        if batch_size is None and isinstance(self.recipe, Recipe):
            self.runtime = dataclasses.replace(self.runtime, batch_size=self._best_batch_size(self.recipe))
        self.plan = dataclasses.replace(self.plan, batch_size=self.runtime.batch_size)

    def _drawn(self, fields: dict[str, Any]) -> RenderedScenes:
        check_fields(fields, [field.name for field in dataclasses.fields(RenderedScenes)])
        if self.keep_heat_maps or self.keep_threshold_curve:
            asked = "keep_heat_maps" if self.keep_heat_maps else "keep_threshold_curve"
            raise RecipeError(f"{asked}: the scenes of {RENDERED} are drawn, so there are none to keep")
        return RenderedScenes(**fields)

    def _prepared(self, fields: dict[str, Any]) -> Recipe:
        check_fields(fields, [*FIELDS, *CONFIG_FIELDS])
        return prepare(Recipe.of(**fields), tuple(self.plan.sizes))

    def _best_batch_size(self, recipe: Recipe) -> int:
        sizes = self.plan.sizes.values()
        largest = None if None in sizes else max(size or 0 for size in sizes)
        return best_batch_size(recipe, device=self.runtime.device, dtype=self.runtime.dtype, samples=largest)

    @property
    def view(self) -> str:
        """The view whose columns the rows have."""
        return self.name if self.name in VIEWS else VIEWS[0]

    def open_source(self) -> GeneratedSamples | RenderedScenes:
        """What gives the ``default`` rows of a range of indices."""
        return self.recipe if isinstance(self.recipe, RenderedScenes) else GeneratedSamples(self.recipe, self.runtime)

    def create_config_id(self, config_kwargs: dict[str, Any], custom_features: Any = None) -> str:
        """The name, the recipe and the sizes asked for: a list and a tuple of classes share one cache."""
        shown = [self.keep_heat_maps, self.keep_threshold_curve]
        extent = json.dumps([self.plan.sizes, *shown, sorted(self.plan.skip)], sort_keys=True)
        return f"{self.name}-{self.recipe.digest}-{hashlib.sha256(extent.encode()).hexdigest()[:8]}"


CONFIG_FIELDS = tuple(inspect.signature(DiffuMaskConfig, eval_str=False).parameters)[2:-1]
"""The fields of a config that are not the recipe's."""
