"""Whether the masks show the classes that a model is to learn: found out before it is trained on nothing."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence

import numpy as np

from diffumask_datasets.errors import DataError
from diffumask_datasets.sample import BACKGROUND_NAME, IGNORE
from diffumask_datasets.segmentation.labelled import read_mask
from diffumask_datasets.segmentation.sources import SOURCE, Mixture

__all__ = ["check_classes", "class_ids", "refuse_empty_masks", "warn_of_unseen"]

logger = logging.getLogger(__name__)


def check_classes(mixture: Mixture) -> None:
    """Warns of each class without a pixel in any mask. Reads masks until every class was seen, and none of a stream.

    Raises:
        DataError: no mask shows any class, or one cannot be read.
    """
    if not hasattr(mixture.rows, "__len__"):
        return
    unseen, values = set(class_ids(mixture.classes)), set[int]()
    for row in mixture.rows.select_columns(["sample_id", "label", SOURCE]):
        mask = read_mask(row, mixture.colours[row[SOURCE]])
        present = np.flatnonzero(np.bincount(mask.ravel(), minlength=256))
        values |= set(present.tolist())
        unseen -= set(mixture.tables[row[SOURCE]][present].tolist())
        if not unseen:
            return
    if len(unseen) == len(class_ids(mixture.classes)):
        refuse_empty_masks(mixture.classes, values)
    warn_of_unseen(mixture.classes, unseen)


def warn_of_unseen(classes: Sequence[str], unseen: Collection[int]) -> None:
    """One warning that names the classes without a pixel; nothing where each has one."""
    if unseen:
        names = ", ".join(classes[number] for number in sorted(unseen))
        logger.warning("no mask shows a pixel of these classes, so they cannot be learned: %s", names)


def refuse_empty_masks(classes: Sequence[str], values: Collection[int]) -> None:
    """Says that masks with these values show no class.

    Raises:
        DataError: always.
    """
    names = [classes[number] for number in class_ids(classes)]
    found = ", ".join(map(str, sorted(values))) or "none"
    advice = "check the names of the mask values and what is renamed"
    if IGNORE in values:
        labels = f'{{"0": "background", "{IGNORE}": "{names[0]}"}}'
        advice = f"{IGNORE} counts as unsure unless id2label.json names it, e.g. {labels}"
    raise DataError(f"no mask shows a pixel of {', '.join(names)}: the values in the masks are {found}; {advice}")


def class_ids(classes: Sequence[str]) -> list[int]:
    """The ids of a model's classes without the background."""
    return [number for number, name in enumerate(classes) if name != BACKGROUND_NAME]
