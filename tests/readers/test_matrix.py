"""Every format, read by every program that reads it; the table in docs/exports.md is what comes out.

make test-readers            compares the table with what is read
make test-readers WRITE=1    writes it
"""

from __future__ import annotations

import functools
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.readers import read_by_datumaro, read_coco, read_columns, read_masks, read_yolo, stubs
from tests.readers.exported import EXPORTS, Export
from tests.readers.reading import Reading, judged

stubs.install()

PAGE = Path(__file__).parents[2] / "docs" / "exports.md"
BEGIN, END = "<!-- readers: begin -->\n", "<!-- readers: end -->\n"
WRITE = "DIFFUMASK_WRITE_TABLE"

Reader = Callable[[Path, Export], Iterator[Reading]]
COCO, PANOPTIC = ("coco", "coco-stuff", "coco-captions"), "coco-panoptic"
MASKS = ("voc", "cityscapes", "ade20k", "imagefolder")

READERS: dict[str, dict[str, Reader]] = {
    "evaluate, train": dict.fromkeys(MASKS, read_masks.by_ours),
    "pycocotools": dict.fromkeys(COCO, read_coco.by_pycocotools),
    "cityscapesscripts": {"cityscapes": read_masks.by_cityscapesscripts},
    "datasets": dict.fromkeys(("imagefolder", "webdataset"), read_columns.by_datasets),
    "webdataset": {"webdataset": read_columns.by_webdataset},
    "supervision": {"coco": read_coco.by_supervision, "yolo": read_yolo.by_supervision},
    "torchvision": dict.fromkeys(COCO, read_coco.by_torchvision)
    | dict.fromkeys(("voc", "cityscapes"), read_masks.by_torchvision),
    "mmsegmentation": dict.fromkeys(MASKS, read_masks.by_mmsegmentation),
    "ultralytics": {"yolo": read_yolo.by_ultralytics, "yolo-semantic": read_yolo.by_ultralytics_semantic},
    "datumaro": dict.fromkeys((*COCO, PANOPTIC, "voc", "cityscapes"), read_by_datumaro.by_datumaro),
    "detectron2 (its rule)": {PANOPTIC: read_coco.by_detectron2s_rule},
}
"""Reader → format → how it is read."""

OFFICIAL_ONLY = ("cityscapesscripts", "torchvision", "mmsegmentation", "datumaro")
"""Readers that know Cityscapes' own labels and no others."""


def cell_is_read(export: Export, reader: str) -> bool:
    """Whether the reader knows the format, and can know the classes."""
    own_labels = export.options.get("labels") == "own"
    return export.format in READERS[reader] and not (own_labels and reader in OFFICIAL_ONLY)


@functools.cache
def cell(export: Export, reader: str) -> str:
    """What a reader reads of an export: see :func:`judged`; a dash where it does not read the format."""
    if not cell_is_read(export, reader):
        return "–"
    read = READERS[reader][export.format]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "export"
        export.write(folder)
        if read is read_coco.by_detectron2s_rule and "images" not in export.options:
            with pytest.raises(FileNotFoundError, match=r"made-0000\.jpg"):
                list(read(folder, export))
            return "wants `.jpg`"
        return judged(read(folder, export), export)


def table() -> str:
    """The matrix in Markdown."""
    rows = [["export", *READERS], ["---"] * (len(READERS) + 1)]
    rows += [[export.title, *(cell(export, reader) for reader in READERS)] for export in EXPORTS]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def documented() -> str:
    """The matrix as the documentation has it."""
    return PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]


def test_the_documentation_has_the_whole_table() -> None:
    if os.environ.get(WRITE):
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        PAGE.write_text(before + BEGIN + table() + END + rest.partition(END)[2], encoding="utf-8")
    assert documented() == table()


READ = [
    pytest.param(export, reader, id=f"{export.title} {reader}")
    for export in EXPORTS
    for reader in READERS
    if cell_is_read(export, reader)
]


@pytest.mark.parametrize(("export", "reader"), READ)
def test_a_reader_reads_what_was_exported(export: Export, reader: str) -> None:
    lines = [[text.strip() for text in line.split("|")[1:-1]] for line in documented().splitlines()]
    rows = {line[0]: dict(zip(lines[0][1:], line[1:], strict=True)) for line in lines}
    assert cell(export, reader) == rows[export.title][reader]
