"""Export → one object edited as the program would → correct: that sample alone changes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from diffumask_datasets import export
from diffumask_datasets.dataset.reader import open_dataset
from diffumask_datasets.dataset.schema import decode_label
from diffumask_datasets.errors import ReviewError
from diffumask_datasets.masks.rle import decode
from diffumask_datasets.review.corrections import Corrected, correct
from tests.helpers.made_datasets import tree

FORMATS = ("coco", "imagefolder", "labelme", "voc")
VOC = Path("VOCdevkit/VOC2012")
EDITED = "made-0001"


def rows_of(folder: Path) -> dict[str, Any]:
    return {row["sample_id"]: row for _, row in open_dataset(folder).rows()}


def shorten_in_coco(folder: Path) -> None:
    path = folder / "annotations/instances_train2017.json"
    document = json.loads(path.read_text())
    (image,) = (image for image in document["images"] if image["file_name"] == f"{EDITED}.png")
    bar = [found for found in document["annotations"] if found["image_id"] == image["id"]][1]
    bar["segmentation"] = [[5, 24, 30, 24, 30, 30, 5, 30]]
    document["info"] |= {"contributor": "Anna", "date_created": "2026-11-02"}
    path.write_text(json.dumps(document))


def shorten_in_labelme(folder: Path) -> None:
    path = folder / f"train/{EDITED}.json"
    document = json.loads(path.read_text())
    bar = document["shapes"][1]
    bar["points"] = [[min(x, 29.2), y] for x, y in bar["points"]]
    path.write_text(json.dumps(document))


def shorten_in_voc(folder: Path) -> None:
    for kind in ("SegmentationClass", "SegmentationObject"):
        erase(folder / VOC / kind / f"{EDITED}.png")


def erase(path: Path) -> None:
    picture = Image.open(path)
    picture.paste(0, (30, 24, 40, 30))
    picture.save(path)


EDITS: dict[str, Callable[[Path], None]] = {
    "coco": shorten_in_coco,
    "imagefolder": lambda folder: erase(folder / f"train/labels/{EDITED}.png"),
    "labelme": shorten_in_labelme,
    "voc": shorten_in_voc,
}
"""The bar of 35 columns and 6 rows becomes one of 25 columns."""


@pytest.mark.parametrize("format", FORMATS)
def test_one_changed_object_comes_back(format: str, ds: Path, tmp_path: Path) -> None:
    export(ds, tmp_path / "edits", format=format)
    EDITS[format](tmp_path / "edits")
    done = correct(ds, tmp_path / "out", edits=tmp_path / "edits", format=format)
    assert done == Corrected(corrected=[EDITED], emptied=[], unchanged=3, untouched=0)
    before, after = rows_of(ds), rows_of(tmp_path / "out")
    old, new = before.pop(EDITED), after.pop(EDITED)
    assert after == before
    assert new["objects"]["category"] == [2, 3, 1]
    assert new["objects"]["id"] == [1, 2, 3]
    assert new["objects"]["area"] == [old["objects"]["area"][0], 150, 1]
    assert new["objects"]["bbox"][1] == [5, 24, 25, 6]
    assert new["objects"]["score"] == [1.0, 1.0, 1.0]
    assert (new["quality"], new["classes"], new["threshold"]) == (1.0, [1, 2, 3], [0.5, 0.5, 0.5])
    expected = decode_label(old["label"]).copy()
    expected[24:30, 30:40] = 0
    np.testing.assert_array_equal(decode_label(new["label"]), expected)
    bar = np.zeros((40, 56), dtype=bool)
    bar[24:30, 5:30] = True
    np.testing.assert_array_equal(decode(new["objects"]["segmentation"][1], (40, 56)), bar)
    kept = ("sample_id", "image", "prompt", "seed", "model")
    assert {name: new[name] for name in kept} == {name: old[name] for name in kept}


@pytest.mark.parametrize("format", FORMATS)
def test_corrected_samples_are_marked_and_no_others(format: str, ds: Path, tmp_path: Path) -> None:
    (ds / "decisions.jsonl").write_text(
        f'{{"sample_id": "{EDITED}", "verdict": "rejected", "reason": "too long", "tags": ["edge"]}}\n'
        '{"sample_id": "made-0009", "verdict": "accepted"}\n'
    )
    export(ds, tmp_path / "edits", format=format)
    EDITS[format](tmp_path / "edits")
    correct(ds, tmp_path / "out", edits=tmp_path / "edits", format=format)
    origin = {"coco": ": Anna, 2026-11-02"}.get(format, "")
    lines = [json.loads(line) for line in (tmp_path / "out/decisions.jsonl").read_text().splitlines()]
    assert lines == [
        {
            "sample_id": EDITED,
            "verdict": "accepted",
            "reason": f"corrected by hand{origin}",
            "tags": ["edge", "corrected"],
        },
        {"sample_id": "made-0009", "verdict": "accepted", "reason": "", "tags": []},
    ]


@pytest.mark.parametrize(
    ("format", "options"), [*((name, {}) for name in FORMATS), ("coco", {"polygons": True, "images": "jpeg"})]
)
def test_an_export_that_nobody_edited_changes_nothing(
    format: str, options: dict[str, Any], ds: Path, tmp_path: Path
) -> None:
    export(ds, tmp_path / "edits", format=format, **options)
    done = correct(ds, tmp_path / "out", edits=tmp_path / "edits", format=format)
    assert done == Corrected(unchanged=4)
    written = tree(tmp_path / "out")
    assert written.pop("decisions.jsonl") == b""
    assert written == tree(ds)


def test_samples_without_a_file_stay(ds: Path, tmp_path: Path) -> None:
    export(ds, tmp_path / "edits", format="labelme")
    for path in (tmp_path / "edits").rglob("*.json"):
        if path.stem != "made-0009":
            path.unlink()
    document = json.loads((tmp_path / "edits/validation/made-0009.json").read_text())
    document["shapes"] = []
    (tmp_path / "edits/validation/made-0009.json").write_text(json.dumps(document))
    done = correct(ds, tmp_path / "out", edits=tmp_path / "edits", format="labelme")
    assert done == Corrected(corrected=["made-0009"], emptied=["made-0009"], untouched=3)
    row = rows_of(tmp_path / "out")["made-0009"]
    # The unsure band, which LabelMe has no place for, is still there.
    assert np.unique(decode_label(row["label"]), return_counts=True)[1].tolist() == [40 * 56 - 70, 70]
    assert (row["objects"]["id"], row["classes"], row["threshold"]) == ([], [], [])


def test_a_corrected_dataset_can_be_corrected_again_and_reviewed(ds: Path, tmp_path: Path) -> None:
    from diffumask_datasets.review import apply_decisions

    export(ds, tmp_path / "edits", format="voc")
    shorten_in_voc(tmp_path / "edits")
    correct(ds, tmp_path / "out", edits=tmp_path / "edits", format="voc")
    assert correct(tmp_path / "out", tmp_path / "again", edits=tmp_path / "edits", format="voc").unchanged == 4
    apply_decisions(tmp_path / "again", {}, tmp_path / "accepted")
    assert list(rows_of(tmp_path / "accepted")) == [EDITED]


def test_neither_the_dataset_nor_a_foreign_folder_is_overwritten(ds: Path, tmp_path: Path) -> None:
    export(ds, tmp_path / "edits", format="voc")
    with pytest.raises(ReviewError, match="is the dataset itself: choose another folder"):
        correct(ds, ds, edits=tmp_path / "edits", format="voc")
    with pytest.raises(
        ReviewError, match=r"format 'coc' \(did you mean 'coco'\?\): expected coco, imagefolder, labelme, voc"
    ):
        correct(ds, tmp_path / "out", edits=tmp_path / "edits", format="coc")
    assert not (tmp_path / "out").exists()
