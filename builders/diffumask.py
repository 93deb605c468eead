"""``load_dataset("diffumask", classes=[...])``: class names in, a labelled segmentation dataset out.

On datasets 3.x this file also works by its path as a loading script, with ``trust_remote_code=True``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import datasets

from diffumask_datasets.dataset.views import view_features, view_row
from diffumask_datasets.errors import DiffuMaskError
from diffumask_datasets.generation.config import VERSION, DiffuMaskConfig
from diffumask_datasets.generation.engines.local import fill_at_best
from diffumask_datasets.recipes.recipe import Recipe
from diffumask_datasets.recipes.splits import Shard

__all__ = ["DiffuMask"]

HOMEPAGE = "https://arxiv.org/abs/2303.11681"
DESCRIPTION = "Synthetic images with pixel-accurate masks, made from class names by a diffusion model (DiffuMask)."


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

    VERSION = VERSION
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
            if kwargs.get("num_proc") is None:
                self._fill_store()
            super()._download_and_prepare(*args, **kwargs)

    def _fill_store(self) -> None:
        """Makes the samples in as many processes as the machine carries; the rows are then read from the store."""
        config = self.config
        config.plan.check_finite()
        if not isinstance(config.recipe, Recipe):
            return
        shards = [shard for _, shards in config.plan.shards() for shard in shards]
        total = sum(stop - start for start, stop in shards)
        # The delay: where one process does it best, nothing is ever shown.
        with datasets.utils.tqdm(total=total, unit="image", desc="Making samples", delay=0.1) as progress:
            fill_at_best(config.recipe, config.runtime, shards, made=lambda _: progress.update())

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
