"""``load_dataset("diffumask", classes=[...])``: class names in, a labelled segmentation dataset out.

On datasets 3.x this file also works by its path as a loading script, with ``trust_remote_code=True``.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import datasets

from diffumask_datasets.errors import RecipeError, suggestion
from diffumask_datasets.plan import Shard, SplitPlan
from diffumask_datasets.recipe import Recipe, check_fields
from diffumask_datasets.synthesis import Runtime, Synthesizer, prepare
from diffumask_datasets.views import VIEWS, view_features, view_row

__all__ = ["DiffuMask", "DiffuMaskConfig"]

HOMEPAGE = "https://arxiv.org/abs/2303.11681"
DESCRIPTION = "Synthetic images with pixel-accurate masks, made from class names by a diffusion model (DiffuMask)."


class DiffuMaskConfig(datasets.BuilderConfig):
    """What ``load_dataset("diffumask", **fields)`` takes, beside the fields of :class:`diffumask_datasets.Recipe`.

    ``name`` is ``default``, ``instance``, ``detection`` or ``panoptic``. ``num_samples`` is the size of the split
    ``train``; ``splits`` names several, e.g. ``{"train": 800, "validation": 200}``. Without either a stream is endless.
    ``keep_heat_maps`` adds the column ``heat_maps``. ``batch_size``, ``device``, ``dtype``, ``store`` and
    ``num_shards`` change how the samples are made, not what they are.

    Raises:
        RecipeError: an unknown field, an illegal value, or an unknown config name.
    """

    def __init__(
        self,
        name: str = "default",
        version: Any = None,
        *,
        num_samples: int | None = None,
        splits: Mapping[str, int] | None = None,
        keep_heat_maps: bool = False,
        num_shards: int | None = None,
        batch_size: int = 1,
        device: str | None = None,
        dtype: str | None = None,
        store: str | Path | None = None,
        **recipe_fields: Any,
    ) -> None:
        if name not in VIEWS:
            raise RecipeError(f"unknown config {name!r}{suggestion(name, VIEWS)}; legal configs: {', '.join(VIEWS)}")
        check_fields(recipe_fields, [*Recipe.model_fields, *CONFIG_FIELDS])
        super().__init__(name=name, version=version or DiffuMask.VERSION)
        self.plan = SplitPlan.of(num_samples=num_samples, splits=splits, num_shards=num_shards, batch_size=batch_size)
        self.runtime = Runtime(batch_size, device, dtype, Path(store).expanduser() if store else None)
        self.keep_heat_maps = keep_heat_maps
        self.recipe: Recipe = prepare(Recipe.of(**recipe_fields), tuple(self.plan.sizes))

    def create_config_id(self, config_kwargs: dict[str, Any], custom_features: Any = None) -> str:
        """The name, the recipe and the sizes asked for: a list and a tuple of classes share one cache."""
        extent = json.dumps([self.plan.sizes, self.keep_heat_maps], sort_keys=True)
        return f"{self.name}-{self.recipe.digest}-{hashlib.sha256(extent.encode()).hexdigest()[:8]}"


CONFIG_FIELDS = tuple(inspect.signature(DiffuMaskConfig, eval_str=False).parameters)[2:-1]
"""The fields of a config that are not the recipe's."""


class DiffuMask(datasets.GeneratorBasedBuilder):
    """Builder of synthetic segmentation datasets, map-style and streaming."""

    VERSION = datasets.Version("1.0.0")
    BUILDER_CONFIG_CLASS = DiffuMaskConfig

    def _info(self) -> datasets.DatasetInfo:
        recipe = self.config.recipe
        return datasets.DatasetInfo(
            description=DESCRIPTION,
            homepage=HOMEPAGE,
            features=view_features(self.config.name, classes=recipe.classes, heat_maps=self.config.keep_heat_maps),
        )

    def _split_generators(self, dl_manager: Any) -> list[datasets.SplitGenerator]:
        if not dl_manager.is_streaming:
            self.config.plan.check_finite()
        return [
            datasets.SplitGenerator(name, gen_kwargs={"shards": shards}) for name, shards in self.config.plan.shards()
        ]

    def _generate_examples(self, shards: list[Shard]) -> Iterator[tuple[int, dict[str, Any]]]:
        config = self.config
        synthesizer = Synthesizer(config.recipe, config.runtime)
        for start, stop in shards:
            for index, row in synthesizer.rows(start, stop):
                yield (
                    index,
                    view_row(row, config.name, classes=config.recipe.classes, heat_maps=config.keep_heat_maps),
                )
