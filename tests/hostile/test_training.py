"""Rows and files of strangers, as training and evaluation read them."""

from pathlib import Path

import datasets
import pytest
from PIL import Image

from diffumask_datasets.errors import DataError, DiffuMaskError
from diffumask_datasets.segmentation.foreign_files import own_files_only
from diffumask_datasets.segmentation.labelled import labelled_rows, undecoded
from diffumask_datasets.segmentation.settings import Source
from diffumask_datasets.segmentation.sources import open_source as open_labelled
from tests.hostile import folders as made
from tests.hostile.test_rows import FILES, ROWS

TRAINED: dict[str, tuple[made.Change, str]] = {
    "image: a path": (ROWS["image: a path"][0], "a row names the file .*secret.png.*, which is none of its dataset's"),
    "label: a path": (ROWS["label: a path"][0], "a row names the file .*secret.png.*, which is none of its dataset's"),
    "image: none": (ROWS["image: none"][0], "expected a picture as datasets.Image keeps it, got None"),
    "label: 16 bits": (ROWS["label: 16 bits"][0], "expected mask values from 0 to 255, got 25[6-9]"),
    "image: zTXt": (ROWS["image: zTXt"][0], "cannot read .*too large"),
    "label: another size": (ROWS["label: another size"][0], "the image is 64x48 pixels but its mask is 60x48"),
}
"""What training and evaluation read of a row: its picture and its mask."""


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", TRAINED)
def test_training_and_evaluation_read_rows_of_strangers_too(
    name: str, stream: bool, good: Path, tmp_path: Path, cache_dir: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache_dir)
    change, message = TRAINED[name]
    source = made.with_row(good / "ds", tmp_path / "ds", change)
    with pytest.raises(DiffuMaskError, match=message) as error:
        list(labelled_rows(open_labelled(Source(dataset=str(source), stream=stream))))
    assert "\n" not in str(error.value)


FILES_TRAINED = ("cut", "no parquet", "no label", "label as number", "features: no JSON", "features: unknown")


@pytest.mark.parametrize("name", FILES_TRAINED)
def test_training_reads_files_of_strangers_too(
    name: str, good: Path, tmp_path: Path, cache_dir: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache_dir)
    source = made.with_file(good / "ds", tmp_path / "ds", FILES[name][0])
    with pytest.raises(DataError) as error:
        list(labelled_rows(open_labelled(Source(dataset=str(source)))))
    assert "\n" not in str(error.value)


def test_a_file_beside_the_rows_may_be_named(good: Path, tmp_path: Path, cache_dir: str) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    Image.new("RGB", (4, 3), "red").save(folder / "a.png")
    Image.new("L", (4, 3), 1).save(folder / "a-label.png")
    cells = {"image": [str(folder / "a.png")], "label": [str(folder / "a-label.png")]}
    rows = undecoded(datasets.Dataset.from_dict(cells))
    assert own_files_only(rows, str(folder)) is rows
    with pytest.raises(DataError, match="a row names the file"):
        own_files_only(rows, str(tmp_path / "another"))
    with pytest.raises(DataError, match="a row names the file"):
        own_files_only(undecoded(datasets.Dataset.from_dict({**cells, "label": [f"{folder}/../x.png"]})), str(folder))
