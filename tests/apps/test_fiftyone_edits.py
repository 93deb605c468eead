"""Labels edited in FiftyOne come back: its real datasets in a real database."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diffumask_datasets import generate, to_fiftyone
from diffumask_datasets.dataset.reader import open_dataset
from diffumask_datasets.dataset.schema import Row, label_of
from diffumask_datasets.errors import ReviewError
from diffumask_datasets.review import Decision, read_decisions
from diffumask_datasets.review.corrections import corrections_of
from diffumask_datasets.review.corrections.merging import objects_in
from tests.conftest import PLANTED
from tests.helpers.command import diffumask_here

CAR, BOAT = 1, 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("edits")
    generate(root / "ds", num_samples=6, store=root / "store", workers=1, **{**PLANTED, "classes_per_image": 2})
    return root / "ds"


@pytest.fixture
def dataset(fiftyone_home: Path, folder: Path) -> Iterator[Any]:
    dataset = to_fiftyone(folder, "edits", embeddings=False)
    yield dataset
    dataset.delete()


def rows_of(folder: Path) -> list[Row]:
    return [row for _, row in open_dataset(folder).rows()]


def sample_of(dataset: Any, row: Row) -> Any:
    return dataset.match({"sample_id": row["sample_id"]}).first()


def test_what_nobody_edited_is_no_correction(dataset: Any, folder: Path) -> None:
    dataset.tag_samples("accepted")
    assert corrections_of("edits", folder) == {}


def test_edited_masks_objects_and_polylines_come_back(dataset: Any, folder: Path, tmp_path: Path) -> None:
    import fiftyone as fo

    rows = rows_of(folder)
    cut, painted, drawn, rejected, accepted = (sample_of(dataset, row) for row in rows[:5])
    mask = cut.instances.detections[0].mask.copy()
    mask[: len(mask) // 2] = False  # the upper half of an object is gone
    cut.instances.detections[0].mask = mask
    cut.save()
    label = label_of(rows[1]).copy()
    label[:4, :5] = CAR
    painted.semantic.mask = label
    painted.save()
    drawn.instances.detections = []
    corners = [(0.25, 0.25), (0.5, 0.25), (0.5, 0.5), (0.25, 0.5)]
    drawn["by_hand"] = fo.Polylines(polylines=[fo.Polyline(label="boat", points=[corners], closed=True, filled=True)])
    drawn.save()
    rejected.instances.detections = []
    rejected.tags, rejected["reason"] = ["rejected"], "no boat"
    rejected.save()
    accepted.tags = ["accepted"]
    accepted.save()

    done = diffumask_here("review", str(folder), "--apply", "--name", "edits", "--output", "new", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "wrote new: 4 accepted (3 of them corrected), 1 rejected, 1 undecided\n"
    new = {row["sample_id"]: row for row in rows_of(tmp_path / "new")}
    ids = [row["sample_id"] for row in rows]
    assert list(new) == [*ids[:3], ids[4]]

    (category, whole), *others = objects_in(rows[0])
    left = whole.copy()
    top = int(np.flatnonzero(whole.any(axis=1))[0])
    left[: top + len(mask) // 2] = False
    assert 0 < left.sum() < whole.sum()
    found = objects_in(new[ids[0]])
    assert [number for number, _ in found] == [category, *(number for number, _ in others)]
    np.testing.assert_array_equal(found[0][1], left)
    np.testing.assert_array_equal(label_of(new[ids[0]]), np.where(whole & ~left, 0, label_of(rows[0])))
    np.testing.assert_array_equal(label_of(new[ids[1]]), label)
    expected = np.zeros((48, 64), np.uint8)
    expected[12:24, 16:32] = BOAT
    np.testing.assert_array_equal(label_of(new[ids[2]]), expected)
    assert (new[ids[2]]["objects"]["bbox"], new[ids[2]]["classes"]) == ([[16.0, 12.0, 16.0, 12.0]], [BOAT])
    assert [new[name]["quality"] for name in ids[:3]] == [1.0, 1.0, 1.0]
    np.testing.assert_array_equal(label_of(new[ids[4]]), label_of(rows[4]))
    assert read_decisions(tmp_path / "new" / "decisions.jsonl") == {
        **{name: Decision(name, "accepted", "corrected by hand", ("corrected",)) for name in ids[:3]},
        ids[3]: Decision(ids[3], "rejected", "no boat"),
        ids[4]: Decision(ids[4], "accepted"),
    }


def test_labels_that_do_not_fit_are_refused(dataset: Any, folder: Path) -> None:
    import fiftyone as fo

    row = rows_of(folder)[0]

    def refused(message: str, **fields: Any) -> None:
        sample = sample_of(dataset, row)
        before = {name: sample[name].copy() for name in fields}
        sample.update_fields(fields)
        sample.save()
        with pytest.raises(ReviewError, match=message):
            corrections_of("edits", folder)
        sample.update_fields(before)
        sample.save()

    box = {"bounding_box": [0.1, 0.1, 0.5, 0.5]}
    full = np.ones((24, 32), bool)
    refused(
        "the car .* is a box without a mask", instances=fo.Detections(detections=[fo.Detection(label="car", **box)])
    )
    refused(
        "the dataset has no class 'bot'; did you mean 'boat'|no class 'bot' .did you mean 'boat'",
        instances=fo.Detections(detections=[fo.Detection(label="bot", mask=full, **box)]),
    )
    refused("expected the size of the sample, 64x48", semantic=fo.Segmentation(mask=np.zeros((24, 32), np.uint8)))
    refused("the value 9 is none of the 3 classes", semantic=fo.Segmentation(mask=np.full((48, 64), 9, np.uint8)))
