"""Whatever our exports write, ``evaluate`` and ``train`` read back: the right names, and the very same pixels."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diffumask_datasets import export
from diffumask_datasets.dataset.schema import decode_label
from diffumask_datasets.segmentation.evaluation import match_classes
from diffumask_datasets.segmentation.labelled import labelled_rows, translated
from diffumask_datasets.segmentation.layouts import read_layout
from tests.helpers.made_datasets import dataset, drawn

VOC = "VOCdevkit/VOC2012"
ADE = "ADEChallengeData2016"


@pytest.mark.parametrize(
    ("format", "layout", "root", "classes", "options"),
    [
        pytest.param("voc", "voc", VOC, ("car", "potted plant", "boat"), {}, id="voc"),
        pytest.param("voc", "voc", VOC, ("car", "potted plant", "boat"), {"ids": "own"}, id="voc, own ids"),
        pytest.param("voc", "voc", VOC, ("car", "tree", "boat"), {}, id="voc, other classes"),
        pytest.param("voc", "voc", VOC, ("船", "a b, c", "bird"), {"ring": 0}, id="voc, other scripts"),
        pytest.param("ade20k", "ade20k", ADE, ("car", "tree, oak", "boat"), {}, id="ade20k"),
        pytest.param("cityscapes", "cityscapes", ".", ("car", "vegetation", "bus"), {}, id="cityscapes"),
        pytest.param("cityscapes", "cityscapes", ".", ("car", "tree", "boat"), {"labels": "own"}, id="cityscapes, own"),
        pytest.param("imagefolder", "folder", ".", ("car", "tree", "boat"), {}, id="image folder"),
    ],
)
@pytest.mark.parametrize("split", ["train", "validation"])
def test_what_is_exported_is_read(
    format: str, layout: str, root: str, classes: tuple[str, ...], options: dict[str, Any], split: str, tmp_path: Path
) -> None:
    rows = {"train": [drawn(0), drawn(3)], "validation": [drawn(1)]}
    source = {name: dataset(part, classes=classes, split=name) for name, part in rows.items()}
    export(source, tmp_path, format=format, **options)
    short = "val" if split == "validation" and layout != "folder" else split
    data = read_layout(layout, tmp_path / root, split=short)
    matching = match_classes(("background", *classes), data)
    read = list(labelled_rows(data))
    assert len(read) == len(rows[split])
    assert matching.counted == ((1, 2, 3) if data.background is None else (0, 1, 2, 3))
    for example, row in zip(read, rows[split], strict=True):
        expected = decode_label(row["label"])
        if data.background is None:  # of no class: what these layouts leave out of every figure
            expected = np.where(expected == 0, 255, expected)
        np.testing.assert_array_equal(translated(example, matching.truth), expected)
