"""From the records of bench_real to its figures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tests.benchmarks.real_data import KINDS
from tests.benchmarks.real_records import Record
from tests.benchmarks.real_shown import iou_of


def shown_figures(records: Sequence[Record]) -> dict[str, float]:
    """Mean IoU over all (image, class) of each kind and method, and mIoU over the classes; failed images count as 0."""
    figures: dict[str, float] = {"shown_images": len(records)}
    methods = list(records[0]["counts"]) if records else []
    for kind in KINDS:
        some = [record for record in records if record["kind"] == kind]
        figures[f"shown_images_{kind}"] = len(some)
        for method in methods:
            figures[f"iou_{method}_{kind}"] = _mean([iou for record in some for iou in iou_of(record, method)])
        for attention in ("auto", "equal"):
            figures[f"heat_{attention}_{kind}"] = _mean([iou for record in some for iou in _heat(record, attention)])
    figures |= {f"miou_{method}": miou(records, method) for method in methods}
    figures["shown_images_failed"] = sum("auto" in record["errors"] for record in records)
    figures["shown_seconds"] = _median([record["seconds"] for record in records])
    figures["shown_megabytes"] = max((record["megabytes"] for record in records), default=0.0)
    return _finite(figures)


def miou(records: Sequence[Record], method: str) -> float:
    """Mean over the classes, background included, of IoU over all pixels of all images."""
    both: dict[int, int] = {}
    either: dict[int, int] = {}
    for record in records:
        for class_id, inside, around in record["counts"][method]:
            both[class_id] = both.get(class_id, 0) + inside
            either[class_id] = either.get(class_id, 0) + around
    return _mean([both[class_id] / either[class_id] for class_id in both if either[class_id]])


def generated_figures(records: Sequence[Record]) -> dict[str, float]:
    """What a labelled image costs, and how good its mask is by the product's own estimate."""
    warm = [record for record in records if record["warm"]] or list(records)
    generating, masks = (_mean([record[name] for record in warm]) for name in ("seconds", "mask_seconds"))
    return _finite(
        {
            "generated_images": len(records),
            "generated_seconds": generating,
            "generated_mask_seconds": masks,
            "labelled_images_per_hour": 3600 / (generating + masks) if records else float("nan"),
            "generated_megabytes": max((record["megabytes"] for record in records), default=0.0),
            "generated_quality": _mean([record["quality"] for record in records]),
            "generated_without_mask": sum(record["maskless"] > 0 for record in records),
        }
    )


def _heat(record: Record, attention: str) -> list[float]:
    found: list[float] = record["heat"].get(attention, [0.0] * len(record["classes"]))
    return found


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")


def _median(values: Sequence[float]) -> float:
    return float(np.median(values)) if values else float("nan")


def _finite(figures: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in figures.items() if np.isfinite(value)}
