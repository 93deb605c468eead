"""Other masks for a finished dataset that kept its heat maps, without generating its images again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

from diffumask_datasets.dataset.reader import open_source
from diffumask_datasets.dataset.schema import Row, image_of, row_of, soft_maps_of, without_threshold_curve
from diffumask_datasets.dataset.writer import check_target, write_folder
from diffumask_datasets.errors import ExportError, RecipeError
from diffumask_datasets.generation.masks import label_image, warn_of_missing_masks
from diffumask_datasets.recipes.recipe import Recipe, check_fields
from diffumask_datasets.recipes.settings import MaskSettings
from diffumask_datasets.recipes.shared import stored_recipe

__all__ = ["remask"]


def remask(dataset: str | Path, output: str | Path, *, trust_recipe: bool = False, **changes: Any) -> Recipe:
    """Makes the masks of the folder ``dataset`` again, from its kept heat maps, into the folder ``output``.

    ``changes`` are fields of :class:`MaskSettings`; the others stay. An affinity net that the
    dataset's recipe names is only followed with ``trust_recipe``. The result is, to the byte,
    what generating with the changed recipe would have given, as long as every sample was painted once (``max_attempts``
    1); that recipe is returned.

    Raises:
        RecipeError: an unknown or illegal field, or one that needs attention that was not kept.
        ExportError: ``dataset`` is no dataset folder or kept no heat maps, or ``output`` cannot be written.
        ModelError: an affinity net that cannot be read.
    """
    dataset, output = Path(dataset), Path(output)
    check_fields(changes, MaskSettings.model_fields)
    stored = stored_recipe(dataset, needs_heat_maps=True)
    if (
        not trust_recipe
        and {**stored.fields, **changes}.get("affinity") == "affinitynet"
        and "affinity_net" not in changes
    ):
        stored.check_trust("affinity_net")
    new = _changed(stored.recipe, changes)
    if output.resolve() == dataset.resolve():
        raise ExportError(f"--output {output} is the dataset itself: choose another folder, so that its masks are kept")
    check_target(output)
    source = open_source(dataset)
    with tqdm(total=sum(source.sizes.values()), unit="image", disable=None) as progress:
        rows = {split: _remasked(source.split_rows(split), new, stored.shown, progress) for split in source.sizes}
        write_folder(
            output,
            rows,
            recipe=new,
            sizes=source.sizes,
            **stored.shown,
            extra_fields=stored.history,
        )
    return new


def _changed(old: Recipe, changes: Mapping[str, Any]) -> Recipe:
    if "affinity_net" in changes:
        changes = {"affinity_net_revision": None, **changes}
    new = Recipe.of(**{**old.model_dump(), **changes})
    if _spread(old) != _spread(new) or (new.affinity == "self-attention" and new.threshold == "affinity"):
        raise RecipeError(
            "self-attention was used while the images were painted and is not kept: leave affinity and threshold='affinity' "
            "as they are, or generate again with the recipe you want"
        )
    return new.model_copy(update=dict(MaskSettings.subset_of(new).pinned()))


def _spread(recipe: Recipe) -> bool:
    """Whether the kept maps have taken their steps along self-attention."""
    return recipe.affinity == "self-attention" and recipe.threshold != "affinity"


def _remasked(rows: Iterator[Row], recipe: Recipe, shown: Mapping[str, bool], progress: tqdm[Any]) -> Iterator[Row]:
    for row in rows:
        prompted, soft_maps = soft_maps_of(row)
        sample = label_image(
            image_of(row),
            soft_maps,
            recipe=recipe,
            sample_id=f"{recipe.digest}-{row['sample_id'].rpartition('-')[2]}",
            prompted=prompted,
            prompt=row["prompt"],
            seed=row["seed"],
        )
        warn_of_missing_masks(sample.sample_id, sample.maskless, recipe)
        made = {**row_of(sample), "image": row["image"], "model": row["model"]}
        yield made if shown["keep_threshold_curve"] else without_threshold_curve(made)
        progress.update()
