"""Other masks for a finished dataset that kept its heat maps, without generating its images again."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

from diffumask_datasets.dataset.decisions import CORRECTED
from diffumask_datasets.dataset.reader import OpenDataset, open_dataset
from diffumask_datasets.dataset.rewrite import rewrite
from diffumask_datasets.dataset.schema import HEAT_MAPS, Row, image_of, row_of, soft_maps_of
from diffumask_datasets.dataset.storage import parse_location, same_location
from diffumask_datasets.dataset.writer import check_target
from diffumask_datasets.errors import ExportError
from diffumask_datasets.generation.heat_maps import HeatMaps, check_kept
from diffumask_datasets.generation.masks import label_image, warn_of_missing_masks
from diffumask_datasets.masks.pipeline import check_mask_settings
from diffumask_datasets.recipes.base import check_fields
from diffumask_datasets.recipes.recipe import Recipe
from diffumask_datasets.recipes.settings import MaskSettings

__all__ = ["remask"]

logger = logging.getLogger(__name__)


def remask(dataset: str | Path, output: str | Path, *, trust_recipe: bool = False, **changes: Any) -> Recipe:
    """Makes the masks of a dataset again from its kept heat maps, without generating its images again.

    The result is, to the byte, what generating with the changed recipe would have given, as long as every sample was
    generated once (``max_attempts`` 1).

    Args:
        dataset: A folder, a URL or a Hub dataset ``owner/name`` with the column ``heat_maps``.
        output: A folder or a URL.
        trust_recipe: Follow an affinity net, or a local segmenter, that the recipe of ``dataset`` names.
        **changes: Fields of :class:`~diffumask_datasets.recipes.settings.MaskSettings`; the others stay.

    Returns:
        The changed recipe.

    Raises:
        RecipeError: An unknown or illegal field, or one that needs attention that was not kept.
        ExportError: ``dataset`` is no dataset or kept no heat maps, or ``output`` cannot be written.
        ModelError: An affinity net or segmenter that cannot be read.
    """
    target = parse_location(output)
    check_fields(changes, MaskSettings.model_fields)
    source = open_dataset(dataset)
    new = _changed(source, changes, trust=trust_recipe)
    source.check_heat_maps()
    if same_location(source.location, target):
        raise ExportError(f"--output {output} is the dataset itself: choose another folder, so that its masks are kept")
    check_target(target)
    _warn_of_corrections(source)
    with tqdm(total=source.total, unit="image", disable=None) as progress:
        rows = {split: _remasked(source.split_rows(split), new, progress) for split in source.counts}
        rewrite(source, target, rows, recipe=new, keeps_ids=False)
    return new


def _warn_of_corrections(source: OpenDataset) -> None:
    corrected = [found for found in (source.decisions or {}).values() if CORRECTED in found.tags]
    if corrected:
        logger.warning(
            "%d samples were corrected by hand, %s among them: the new masks do not have the corrections",
            len(corrected),
            corrected[0].sample_id,
        )


def _changed(source: OpenDataset, changes: Mapping[str, Any], *, trust: bool) -> Recipe:
    old = source.recipe
    if not trust and {**old.model_dump(), **changes}["affinity"] == "affinitynet" and "affinity_net" not in changes:
        source.check_trust("affinity_net")
    if not trust and "refinement" not in changes:
        source.check_trust("refinement")
    if "affinity_net" in changes:
        changes = {"affinity_net_revision": None, **changes}
    new = Recipe.of(**{**old.model_dump(), **changes})
    check_kept(old, new)
    check_mask_settings(MaskSettings.subset_of(new))
    return new.model_copy(update=dict(MaskSettings.subset_of(new).pinned()))


def _remasked(rows: Iterator[Row], recipe: Recipe, progress: tqdm[Any]) -> Iterator[Row]:
    for row in rows:
        sample_id = f"{recipe.digest}-{row['sample_id'].rpartition('-')[2]}"
        if row[HEAT_MAPS] and not row[HEAT_MAPS]["map"]:  # its labeller saw none of the classes
            yield {**row, "sample_id": sample_id}
            continue
        prompted, soft_maps = soft_maps_of(row)
        sample = label_image(
            image_of(row),
            HeatMaps(soft_maps),
            recipe=recipe,
            sample_id=sample_id,
            prompted=prompted,
            prompt=row["prompt"],
            seed=row["seed"],
        )
        warn_of_missing_masks(sample.sample_id, sample.maskless, recipe)
        yield {**row_of(sample), "image": row["image"], "model": row["model"]}
        progress.update()
