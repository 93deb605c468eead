"""A sample that is not believed, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from diffumask_datasets.columns import label_of
from diffumask_datasets.masks.quality import FLOODED_SHARE, covered_share

__all__ = ["Rejection", "reject_by_itself"]


@dataclass(frozen=True, slots=True)
class Rejection:
    """``reason`` is for people; ``filter`` is ``empty``, ``full``, ``quality`` or ``noise``; ``score`` is what it saw."""

    sample_id: str
    filter: str
    reason: str
    score: float


def reject_by_itself(row: Mapping[str, Any], *, min_quality: float) -> Rejection | None:
    """Why a ``default`` row is not believed without looking at any other, or None."""
    label = label_of(row)
    covered = covered_share(label)
    if covered == 0:
        return Rejection(row["sample_id"], "empty", "no object has a mask", 0.0)
    if covered > FLOODED_SHARE:
        return Rejection(row["sample_id"], "full", f"the masks cover {covered:.0%} of the image", covered)
    if row["quality"] < min_quality:
        reason = f"quality {row['quality']:.2f} is under {min_quality:.2f}"
        return Rejection(row["sample_id"], "quality", reason, row["quality"])
    return None
