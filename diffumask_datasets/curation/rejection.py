"""A sample that is rejected, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from diffumask_datasets.dataset.schema import label_of
from diffumask_datasets.masks.quality import FLOODED_SHARE
from diffumask_datasets.sample import BACKGROUND, IGNORE

__all__ = ["Rejection", "reject_by_itself"]

Label = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Rejection:
    """``reason`` is for people; ``filter`` is ``empty``, ``full``, ``quality``, ``noise`` or an
    opinion's; ``score`` is what it saw."""

    sample_id: str
    filter: str
    reason: str
    score: float


def reject_by_itself(row: Mapping[str, Any], *, min_quality: float, fills: bool = False) -> Rejection | None:
    """Judges a ``default`` row without looking at any other.

    Args:
        row: The row.
        min_quality: The least quality.
        fills: Whether a class may fill the image, as it may where there is no background.

    Returns:
        Why it is rejected, or None.
    """
    largest = _largest_share(label_of(row))
    if largest == 0:
        return Rejection(row["sample_id"], "empty", "no object has a mask", 0.0)
    if largest > FLOODED_SHARE and not fills:
        return Rejection(row["sample_id"], "full", f"the mask of a class covers {largest:.0%} of the image", largest)
    if row["quality"] < min_quality:
        reason = f"quality {row['quality']:.2f} is under {min_quality:.2f}"
        return Rejection(row["sample_id"], "quality", reason, row["quality"])
    return None


def _largest_share(label: Label) -> float:
    """The share of the image that its largest class covers: several classes may well share all of it, as in a street."""
    shares = np.bincount(label.ravel(), minlength=IGNORE + 1) / label.size
    return float(np.delete(shares, [BACKGROUND, IGNORE]).max())
