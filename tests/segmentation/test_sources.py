"""Sources and mixtures: folders, layouts, streams that generate, weights, class names."""

import itertools
import json
from collections import Counter
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest

from diffumask_datasets.errors import DataError, RecipeError, UnknownClassError
from diffumask_datasets.segmentation.labelled import labelled_rows, read_example, translated
from diffumask_datasets.segmentation.settings import Source
from diffumask_datasets.segmentation.sources import labelled_of, mix, open_source
from diffumask_datasets.toybox.rendered import DEFAULT_SIZES
from tests.segmentation.conftest import shapes
from tests.segmentation.test_layouts import cityscapes, voc


def two(**changes: Any) -> tuple[Source, Source]:
    return Source(dataset="one"), Source(dataset="two", **changes)


def test_a_dataset_folder(shapes_folder: Path) -> None:
    data = open_source(Source(dataset=str(shapes_folder), first=2, limit=3))
    assert data.rows["sample_id"][:] == ["shapes-2", "shapes-3", "shapes-4"]
    assert data.classes == ("car", "boat")


def test_images_that_are_generated_while_they_are_read(planted: dict[str, Any], generated: Any) -> None:
    data = open_source(Source(generate=planted, stream=True))
    rows = mix([Source(generate=planted, stream=True)], [data], classes=None, seed=0).rows
    first = list(itertools.islice(rows, 2))
    assert [row["sample_id"][-8:] for row in first] == ["00000000", "00000001"]
    assert generated() <= 3
    assert read_example(first[0]).label.max() >= 1


def test_the_drawn_scenes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The user's own cache may hold what other versions of datasets have written.
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path)
    data = open_source(Source(dataset="toybox-rendered", stream=True, limit=2), split="test")
    assert len(list(labelled_rows(data))) == 2
    assert len(data.classes) == 10


def test_of_the_drawn_scenes_only_the_split_that_is_read_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path)
    monkeypatch.setitem(DEFAULT_SIZES, "test", 3)
    data = open_source(Source(dataset="toybox-rendered"), split="test")
    assert len(data.rows) == 3
    assert set(data.rows.info.splits) == {"test"}


def test_a_mixture_has_the_shares_of_its_weights() -> None:
    data = [labelled_of(shapes(60)), labelled_of(shapes(60, first=100))]
    mixture = mix(two(weight=3), data, classes=None, seed=0)
    counts = Counter(mixture.rows["source"][:])
    assert counts[1] / counts.total() == pytest.approx(0.75, abs=0.1)
    assert len({name for name in mixture.rows["sample_id"] if name in set(data[0].rows["sample_id"])}) >= 1
    again = mix(two(weight=3), data, classes=None, seed=0)
    assert again.rows["sample_id"][:] == mixture.rows["sample_id"][:]
    assert again.fingerprint == mixture.fingerprint
    other = mix(two(weight=3), data, classes=None, seed=1)
    assert other.rows["sample_id"][:] != mixture.rows["sample_id"][:]


def test_a_stream_and_a_folder_mix() -> None:
    data = [labelled_of(shapes(8)), labelled_of(shapes(8, first=100).to_iterable_dataset())]
    mixture = mix(two(), data, classes=None, seed=0)
    names = [row["sample_id"] for row in mixture.rows.take(12)]
    assert {int(name.split("-")[1]) >= 100 for name in names} == {True, False}


def test_class_ids_meet_by_name() -> None:
    data = [labelled_of(shapes(2)), labelled_of(shapes(2, classes=("boat", "ship")))]
    mixture = mix(two(rename={"ship": "tanker"}), data, classes=None, seed=0)
    assert mixture.classes == ("background", "car", "boat", "tanker")
    assert mixture.tables[:, [0, 1, 2, 255]].tolist() == [[0, 1, 2, 255], [0, 2, 3, 255]]


@pytest.mark.parametrize(("others", "value"), [("background", 0), ("ignore", 255)])
def test_classes_that_the_model_does_not_have(others: Any, value: int) -> None:
    data = [labelled_of(shapes(2)), labelled_of(shapes(2, classes=("boat", "ship")))]
    with pytest.raises(UnknownClassError, match="the class 'ship' is none of the model's: car, boat; rename it"):
        mix(two(), data, classes=("car", "boat"), seed=0)
    mixture = mix(two(others=others), data, classes=("car", "boat"), seed=0)
    assert mixture.tables[1, [1, 2]].tolist() == [2, value]
    label = translated(read_example(data[1].rows[0]), mixture.tables[1])
    assert set(np.unique(label)) == {0, 2, value}


def test_real_images_of_a_layout(tmp_path: Path) -> None:
    cityscapes(tmp_path / "city")
    voc(tmp_path / "VOC2012")
    sources = (
        Source(layout="cityscapes", root=str(tmp_path / "city"), split="val", others="background"),
        Source(layout="voc", root=str(tmp_path / "VOC2012"), split="val", others="background"),
    )
    data = [open_source(source) for source in sources]
    mixture = mix(sources, data, classes=("car", "tv monitor"), seed=0)
    assert mixture.tables[0, [7, 26, 1]].tolist() == [0, 1, 255]
    assert mixture.tables[1, [0, 7, 20]].tolist() == [0, 1, 2]
    assert len(mixture.rows) >= 4
    no_background = mix(sources[:1], data[:1], classes=None, seed=0)
    assert no_background.classes == ("background", *data[0].classes)
    everything = (Source(layout="cityscapes", root=str(tmp_path / "city")),)
    assert mix(everything, data[:1], classes=None, seed=0).classes == data[0].classes


def test_class_names_beside_the_data(shapes_folder: Path) -> None:
    bare = shapes(3).remove_columns(["classes", "sample_id"])
    bare.to_parquet(shapes_folder / "data" / "train-00000-of-00001.parquet")
    with pytest.raises(DataError, match="no class names; put an id2label"):
        open_source(Source(dataset=str(shapes_folder)))
    (shapes_folder / "id2label.json").write_text(json.dumps({"0": "background", "1": "car", "2": "boat"}))
    data = open_source(Source(dataset=str(shapes_folder)))
    assert (data.classes, data.rows["sample_id"][:]) == (("car", "boat"), ["row 0", "row 1", "row 2"])


def test_what_cannot_be_read(shapes_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no column 'label' among image"):
        labelled_of(datasets.Dataset.from_dict({"image": []}))
    with pytest.raises(DataError, match=r"there is no dataset .*none': give a folder, a URL, or a dataset of the Hub"):
        open_source(Source(dataset=str(tmp_path / "none")))
    # A dataset that was once loaded by this name would come from datasets' cache.
    with pytest.raises(DataError, match="there is no dataset 'shapes'"):
        open_source(Source(dataset="shapes"))
    with pytest.raises(DataError, match=r"cannot read the dataset .*Unknown split"):
        open_source(Source(dataset=str(shapes_folder), split="test"))
    with pytest.raises(DataError, match="no rows from 8 on; the split is empty or shorter"):
        open_source(Source(dataset=str(shapes_folder), first=8))
    (shapes_folder / "data" / "train-00000-of-00001.parquet").write_bytes(b"cut off")
    with pytest.raises(DataError, match="cannot read the dataset"):
        open_source(Source(dataset=str(shapes_folder)))
    with pytest.raises(RecipeError, match="unknown field 'hight'"):
        open_source(Source(generate={"classes": ["car"], "hight": 3}))
