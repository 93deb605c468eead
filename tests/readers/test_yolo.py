"""ultralytics on what its users do with a YOLO export."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from diffumask_datasets import export
from tests.helpers.made_datasets import dataset, drawn
from tests.readers import read_yolo, stubs
from tests.readers.exported import OTHER, Export, truths, two_posts

stubs.install()


@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_dataset_of_one_split_is_taken_from_any_folder(
    split: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ultralytics.data.utils import check_det_dataset

    export(dataset([drawn(0)], split=split), tmp_path / "set", format="yolo")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    data = check_det_dataset("../set/data.yaml", autodownload=False)
    folder = (tmp_path / "set/images" / {"train": "train", "validation": "val"}[split]).resolve()
    assert [Path(data[name]).resolve() for name in ("train", "val")] == [folder, folder]
    assert data["names"] == {0: "car", 1: "potted plant", 2: "boat"}


def test_the_manifest_says_what_ultralytics_loses(tmp_path: Path) -> None:
    yolo = Export("yolo", OTHER)
    rows = {"train": dataset([drawn(0)], classes=OTHER), "validation": dataset([two_posts()], classes=OTHER)}
    manifest = export(rows, tmp_path, format="yolo")
    ((path, loss),) = manifest["losses"].items()
    assert path == "labels/val/posts-0001.txt"
    (read,) = (found for found in read_yolo.by_ultralytics(tmp_path, yolo) if found.sample_id == "posts-0001")
    number, mask = truths()["posts-0001"].objects[0]
    (polygon,) = (mask for other, mask in read.objects or () if other == number)
    # Two posts of 26 x 2 pixels; the bridge has 14 more.
    assert (loss["objects"], loss["lowest_iou"]) == (1, 104 / 118)
    assert (mask & polygon).sum() / (mask | polygon).sum() == 104 / 118
    assert np.logical_xor(mask, polygon).sum() == 14
