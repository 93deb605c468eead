"""Takes edited masks back into a dataset: ``diffumask correct``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from diffumask_datasets.dataset.decisions import (
    ACCEPTED,
    BY_HAND,
    CORRECTED,
    DECISIONS_FILE,
    SHOWN,
    Decision,
    decisions_text,
)
from diffumask_datasets.dataset.reader import OpenDataset, open_dataset
from diffumask_datasets.dataset.rewrite import rewrite
from diffumask_datasets.dataset.schema import Row, label_of
from diffumask_datasets.dataset.storage import Location, fetched, parse_location, same_location
from diffumask_datasets.dataset.writer import check_target
from diffumask_datasets.errors import ReviewError, suggestion
from diffumask_datasets.review.corrections.coco import read_coco
from diffumask_datasets.review.corrections.edit import Edits
from diffumask_datasets.review.corrections.labelme import read_labelme
from diffumask_datasets.review.corrections.masks import read_imagefolder, read_voc
from diffumask_datasets.review.corrections.merging import merged_row

__all__ = ["Corrected", "correct"]

_READERS: Mapping[str, Callable[..., Edits]] = {
    "coco": read_coco,
    "imagefolder": read_imagefolder,
    "labelme": read_labelme,
    "voc": read_voc,
}


@dataclass
class Corrected:
    """What became of the samples of a dataset.

    Attributes:
        corrected: Ids of the samples whose masks were changed, in their order.
        emptied: Ids of those among them that have no object any more.
        unchanged: The number of samples that came back as they were.
        untouched: The number of samples that the folder does not have.
    """

    corrected: list[str] = field(default_factory=list)
    emptied: list[str] = field(default_factory=list)
    unchanged: int = 0
    untouched: int = 0


def correct(source: str | Path, output: str | Path, *, edits: str | Path, format: str) -> Corrected:
    """Writes a dataset with the masks that people corrected in another program.

    A corrected sample keeps its id, image and provenance; label, objects and classes are made anew, its quality is 1.0, and
    ``decisions.jsonl`` has it as accepted with the tag ``corrected``, and by whom and when where the format says so. All
    other samples stay as they are.

    Args:
        source: The dataset: a folder, a URL or ``owner/name`` on the Hub.
        output: A folder or a URL, not that of ``source``.
        edits: The folder or URL with the corrected masks; files are matched with samples by their names, classes by theirs.
        format: ``coco``, ``imagefolder``, ``labelme`` or ``voc``.

    Returns:
        What became of the samples.

    Raises:
        ReviewError: An unknown format, a file for a sample or class that the dataset does not have, a mask of another
            size, or a file that cannot be read. Nothing is written then.
        ExportError: No dataset, or ``output`` holds something else or cannot be written.
    """
    if format not in _READERS:
        raise ReviewError(f"format {format!r}{suggestion(format, _READERS)}: expected {', '.join(_READERS)}")
    opened, target = open_dataset(source), parse_location(output)
    if same_location(opened.location, target):
        raise ReviewError(f"--output {output} is the dataset itself: choose another folder")
    check_target(target)
    with fetched(parse_location(edits)) as folder:
        if not folder.is_dir():
            raise ReviewError(f"{edits} is no folder: name the one that holds the corrected masks")
        found = _READERS[format](folder, opened.classes)
        _check_known(found, opened, edits)
        return _written(opened, target, found)


def _written(opened: OpenDataset, target: Location, found: Edits) -> Corrected:
    done = Corrected()
    rows = {split: _rows(opened.split_rows(split), found, done) for split in opened.sizes}
    text = partial(_decisions, opened, found, done)
    rewrite(opened, target, rows, files={DECISIONS_FILE: lambda: text().encode()})
    return done


def _check_known(found: Edits, opened: OpenDataset, edits: str | Path) -> None:
    present = opened.split_of_ids()
    unknown = [sample_id for sample_id in found.samples if sample_id not in present]
    if unknown:
        raise ReviewError(
            f"{edits}: {len(unknown)} files are for samples that the dataset does not have ({', '.join(unknown[:SHOWN])}…); "
            "file names must be sample ids"
        )


def _rows(rows: Iterator[Row], found: Edits, done: Corrected) -> Iterator[Row]:
    for row in rows:
        read = found.samples.get(row["sample_id"])
        height, width = label_of(row).shape
        new = merged_row(row, read((height, width))) if read else None
        if read is None:
            done.untouched += 1
        elif new is None:
            done.unchanged += 1
        else:
            _note(new, done)
        yield row if new is None else new


def _note(row: Mapping[str, Any], done: Corrected) -> None:
    done.corrected.append(row["sample_id"])
    if not row["objects"]["id"]:
        done.emptied.append(row["sample_id"])


def _decisions(opened: OpenDataset, found: Edits, done: Corrected) -> str:
    decisions = dict(opened.decisions or {})
    for sample_id in done.corrected:
        tags = decisions[sample_id].tags if sample_id in decisions else ()
        origin = found.origins[sample_id]
        reason = f"{BY_HAND}: {origin}" if origin else BY_HAND
        decisions[sample_id] = Decision(sample_id, ACCEPTED, reason, tuple(dict.fromkeys((*tags, CORRECTED))))
    return decisions_text(decisions.values())
