"""A class without a pixel is told of before a training, and masks without any class are refused."""

import dataclasses
import itertools
from collections.abc import Callable
from pathlib import Path

import datasets
import numpy as np
import pytest

from diffumask_datasets.dataset.schema import png_cell
from diffumask_datasets.errors import DataError
from diffumask_datasets.segmentation.class_check import check_classes
from diffumask_datasets.segmentation.evaluation import evaluate
from diffumask_datasets.segmentation.labelled import LabelledImages, rows_of_paths
from diffumask_datasets.segmentation.settings import Source, TrainingSettings
from diffumask_datasets.segmentation.sources import Mixture, mix
from diffumask_datasets.segmentation.training import train
from tests.segmentation.test_evaluation import untrained
from tests.segmentation.test_layouts import save

NAMES = {1: ("car",), 2: ("boat",)}


def masks(*values: int, streamed: bool = False) -> LabelledImages:
    """One image a value, whose mask is half that value."""
    rows = []
    for number, value in enumerate(values):
        label = np.zeros((32, 32), np.uint8)
        label[:16] = value
        image = png_cell(np.full((32, 32, 3), 99, np.uint8))
        rows.append({"sample_id": f"mask {number}", "image": image, "label": png_cell(label)})
    made = datasets.Dataset.from_list(rows)
    for column in ("image", "label"):
        made = made.cast_column(column, datasets.Image(decode=False))
    return LabelledImages(made.to_iterable_dataset() if streamed else made, NAMES)


def mixture(data: LabelledImages) -> Mixture:
    return mix([Source(dataset="masks")], [data], classes=None, seed=0)


def test_classes_that_are_shown_say_nothing(caplog: pytest.LogCaptureFixture) -> None:
    check_classes(mixture(masks(0, 1, 2)))
    assert caplog.text == ""


def test_a_class_without_a_pixel_is_named(caplog: pytest.LogCaptureFixture) -> None:
    check_classes(mixture(masks(0, 1, 255)))
    assert "no mask shows a pixel of these classes, so they cannot be learned: boat" in caplog.text


def test_masks_are_read_until_every_class_was_seen(tmp_path: Path) -> None:
    for name, value in (("a", 1), ("b", 2)):
        save(np.full((8, 8), value), tmp_path / f"{name}.png")
    (tmp_path / "c.png").write_bytes(b"never read")
    paths = [str(tmp_path / f"{name}.png") for name in "abc"]
    check_classes(mixture(LabelledImages(rows_of_paths("abc", paths, paths), NAMES)))
    with pytest.raises(DataError, match=r"cannot read .*c\.png: its content"):
        check_classes(mixture(LabelledImages(rows_of_paths("acb", [*paths], [paths[0], paths[2], paths[1]]), NAMES)))


def test_binary_masks_are_not_trained_on_in_silence(tiny: Callable[..., TrainingSettings], tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"no mask shows a pixel of car, boat: the values in the masks are 0, 255; 255 cou"
    ):
        train(tiny(), tmp_path / "model", data=[masks(255, 255)])
    assert not (tmp_path / "model").exists()
    with pytest.raises(DataError, match="the values in the masks are 0; check the names of the mask values"):
        train(tiny(), tmp_path / "model", data=[masks(0)])


def test_a_stream_tells_afterwards(
    tiny: Callable[..., TrainingSettings], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = masks(*itertools.repeat(1, 8), streamed=True)
    train(tiny(steps=1, batch_size=2), tmp_path / "model", data=[data])
    assert "no mask shows a pixel of these classes, so they cannot be learned: boat" in caplog.text


def test_an_evaluation_on_masks_without_a_class_is_refused() -> None:
    with pytest.raises(DataError, match="no mask shows a pixel of car, boat: the values in the masks are 0, 255"):
        evaluate(untrained(("background", "car", "boat")), masks(255, 255))


def test_what_was_left_out_is_told_at_the_end(
    tiny: Callable[..., TrainingSettings], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = dataclasses.replace(masks(1, 2), left_out={"image without a mask": ("x.jpg",)})
    segmenter = train(tiny(steps=1, batch_size=2), tmp_path / "model", data=[data])
    assert caplog.messages[-1] == "left out: 1 image without a mask (x.jpg)"
    caplog.clear()
    evaluate(segmenter, data)
    assert caplog.messages[-1] == "left out: 1 image without a mask (x.jpg)"


def test_other_names_of_the_values_are_another_training() -> None:
    """So that a finished model of the old names is not taken for one of the new."""
    first = masks(1, 2)
    other = LabelledImages(first.rows, {1: ("boat",), 2: ("car",)})
    classes = ["car", "boat"]
    one, two = (mix([Source(dataset="x")], [data], classes=classes, seed=0).fingerprint for data in (first, other))
    assert one != two
