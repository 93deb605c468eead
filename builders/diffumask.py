"""``load_dataset("diffumask", classes=[...])``: class names in, a labelled segmentation dataset out.

On datasets 3.x this file also works by its path as a loading script, with ``trust_remote_code=True``.
"""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import datasets

from diffumask_datasets.dataset.storage import place_of
from diffumask_datasets.dataset.views import VIEWS, view_features, view_row
from diffumask_datasets.errors import DiffuMaskError, RecipeError, suggestion
from diffumask_datasets.generation.sample_generator import Runtime, Synthesizer, prepare
from diffumask_datasets.recipes.recipe import Recipe, check_fields
from diffumask_datasets.recipes.shared import with_shared_recipe
from diffumask_datasets.recipes.splits import Shard, SplitPlan
from diffumask_datasets.toybox.rendered import CONFIG_NAME as RENDERED
from diffumask_datasets.toybox.rendered import DEFAULT_SIZES, RenderedScenes

__all__ = ["DiffuMask", "DiffuMaskConfig"]

HOMEPAGE = "https://arxiv.org/abs/2303.11681"
DESCRIPTION = "Synthetic images with pixel-accurate masks, made from class names by a diffusion model (DiffuMask)."


CONFIGS = (*VIEWS, RENDERED)


class DiffuMaskConfig(datasets.BuilderConfig):
    """What ``load_dataset("diffumask", **fields)`` takes, beside the fields of :class:`diffumask_datasets.Recipe`.

    ``name`` is ``default``, ``instance``, ``detection``, ``panoptic`` or ``toybox-rendered``, whose scenes are drawn, so
    that it takes ``height`` and ``width`` and no recipe. ``num_samples`` is the size of the split ``train``; ``splits``
    names several, e.g. ``{"train": 800, "validation": 200}``. Without either a stream is endless.
    ``skip`` leaves out indices, as rejected in a review. ``keep_heat_maps`` adds the column ``heat_maps``,
    ``keep_threshold_curve`` the column ``threshold_curve``. ``recipe`` is a Hub dataset or a folder whose ``recipe.yaml``
    gives every field that is not given here; local models and files that it names are followed with ``trust_recipe`` alone.
    ``batch_size``, ``device``, ``dtype``, ``store`` and ``num_shards`` change
    how the samples are made, not what they are.

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
        skip: Sequence[int] | None = None,
        keep_heat_maps: bool | None = None,
        keep_threshold_curve: bool | None = None,
        recipe: str | Path | None = None,
        trust_recipe: bool = False,
        num_shards: int | None = None,
        batch_size: int = 1,
        device: str | None = None,
        dtype: str | None = None,
        store: str | Path | None = None,
        **recipe_fields: Any,
    ) -> None:
        if name not in CONFIGS:
            legal = ", ".join(CONFIGS)
            raise RecipeError(f"unknown config {name!r}{suggestion(name, CONFIGS)}; legal configs: {legal}")
        super().__init__(name=name, version=version or DiffuMask.VERSION)
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
        self.plan = SplitPlan.of(
            num_samples=num_samples, splits=splits, num_shards=num_shards, batch_size=batch_size, skip=skip
        )
        self.runtime = Runtime(batch_size, device, dtype, place_of(store) if store else None)
        self.keep_heat_maps = bool(keep_heat_maps)
        self.keep_threshold_curve = bool(keep_threshold_curve)
        self.recipe: Recipe | RenderedScenes = (
            self._drawn(recipe_fields) if name == RENDERED else self._prepared(recipe_fields)
        )

    def _drawn(self, fields: dict[str, Any]) -> RenderedScenes:
        check_fields(fields, [field.name for field in dataclasses.fields(RenderedScenes)])
        if self.keep_heat_maps or self.keep_threshold_curve:
            asked = "keep_heat_maps" if self.keep_heat_maps else "keep_threshold_curve"
            raise RecipeError(f"{asked}: the scenes of {RENDERED} are drawn, so there are none to keep")
        return RenderedScenes(**fields)

    def _prepared(self, fields: dict[str, Any]) -> Recipe:
        check_fields(fields, [*Recipe.model_fields, *CONFIG_FIELDS])
        return prepare(Recipe.of(**fields), tuple(self.plan.sizes))

    @property
    def view(self) -> str:
        """The view whose columns the rows have."""
        return self.name if self.name in VIEWS else VIEWS[0]

    def open_source(self) -> Synthesizer | RenderedScenes:
        """What gives the ``default`` rows of a range of indices."""
        return self.recipe if isinstance(self.recipe, RenderedScenes) else Synthesizer(self.recipe, self.runtime)

    def create_config_id(self, config_kwargs: dict[str, Any], custom_features: Any = None) -> str:
        """The name, the recipe and the sizes asked for: a list and a tuple of classes share one cache."""
        shown = [self.keep_heat_maps, self.keep_threshold_curve]
        extent = json.dumps([self.plan.sizes, *shown, sorted(self.plan.skip)], sort_keys=True)
        return f"{self.name}-{self.recipe.digest}-{hashlib.sha256(extent.encode()).hexdigest()[:8]}"


CONFIG_FIELDS = tuple(inspect.signature(DiffuMaskConfig, eval_str=False).parameters)[2:-1]
"""The fields of a config that are not the recipe's."""


@contextmanager
def own_error_last() -> Iterator[None]:
    """Raises the error of ours that datasets has wrapped, so that a traceback ends with what is wrong and how to fix it."""
    try:
        yield
    except (datasets.exceptions.DatasetGenerationError, OSError) as error:
        # datasets takes every OSError, which some of ours are, for a missing file, and hides it in the context.
        own = error.__cause__ or error.__context__
        if isinstance(error, DiffuMaskError) or not isinstance(own, DiffuMaskError):
            raise
        raise own from own.__cause__


class DiffuMask(datasets.GeneratorBasedBuilder):
    """Builder of synthetic segmentation datasets, map-style and streaming."""

    VERSION = datasets.Version("1.0.0")
    BUILDER_CONFIG_CLASS = DiffuMaskConfig

    def _info(self) -> datasets.DatasetInfo:
        recipe = self.config.recipe
        return datasets.DatasetInfo(
            description=DESCRIPTION,
            homepage=HOMEPAGE,
            features=view_features(
                self.config.view,
                classes=recipe.classes,
                heat_maps=self.config.keep_heat_maps,
                threshold_curve=self.config.keep_threshold_curve,
            ),
        )

    def _split_generators(self, dl_manager: Any) -> list[datasets.SplitGenerator]:
        if not dl_manager.is_streaming:
            self.config.plan.check_finite()
        return [
            datasets.SplitGenerator(name, gen_kwargs={"shards": shards}) for name, shards in self.config.plan.shards()
        ]

    def _download_and_prepare(self, *args: Any, **kwargs: Any) -> None:
        with own_error_last():
            super()._download_and_prepare(*args, **kwargs)

    def _prepare_split_single(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        # In here too: what comes from a process of num_proc has lost its cause.
        with own_error_last():
            yield from super()._prepare_split_single(*args, **kwargs)

    def _generate_examples(self, shards: list[Shard]) -> Iterator[tuple[int, dict[str, Any]]]:
        config = self.config
        source = config.open_source()
        for start, stop in shards:
            for index, row in source.rows(start, stop):
                shown = view_row(
                    row,
                    config.view,
                    classes=config.recipe.classes,
                    heat_maps=config.keep_heat_maps,
                    threshold_curve=config.keep_threshold_curve,
                )
                yield index, shown
