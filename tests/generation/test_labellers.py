"""Images that are labelled by what a model finds of the names of the classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import pytest
from PIL import Image

from diffumask_datasets.dataset.reader import open_dataset
from diffumask_datasets.dataset.schema import decode_label
from diffumask_datasets.errors import RecipeError
from diffumask_datasets.generation import labellers
from diffumask_datasets.generation.label import label_folder
from diffumask_datasets.generation.remask import remask
from diffumask_datasets.masks import concepts, promptable_cost
from diffumask_datasets.masks.concepts import Concept
from diffumask_datasets.models.fingerprint import fingerprint
from diffumask_datasets.recipes.yaml_reader import read_yaml
from tests.helpers.segmenters import save_tiny_concept_segmenter

PLAIN: dict[str, Any] = {"threshold": 0.5, "refinement": None, "ignore_margin": 0.0, "min_area": 0.0}


class Bright:
    """Finds zebras in what is brighter than the middle, and no yaks."""

    def find(self, image: npt.NDArray[np.uint8], texts: Sequence[str]) -> list[Concept]:
        bright = (image.mean(axis=2) > 128).astype(np.float32)
        return [
            Concept(bright * 0.9, 0.9 if bright.any() else 0.1) if text == "zebra" else Concept(bright, 0.2)
            for text in texts
        ]


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [row for path in sorted((folder / "data").glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_concept_segmenter(tmp_path_factory.mktemp("sam3"))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """One with a bright square, and a dark one."""
    for number, level in enumerate((200, 20)):
        image = np.full((48, 64, 3), 20, np.uint8)
        image[8:40, 16:48] = level
        (tmp_path / "photos").mkdir(exist_ok=True)
        Image.fromarray(image).save(tmp_path / "photos" / f"{number}.png")
    return tmp_path / "photos"


def test_what_a_name_means_is_labelled(
    photos: Path, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(promptable_cost, "_operations_a_second", lambda: 1e5)
    monkeypatch.setattr(concepts, "load_concept_segmenter", lambda *_: Bright())
    how: dict[str, Any] = {"labeller": "sam3", "labeller_model": str(tiny), "store": tmp_path / "store", **PLAIN}
    done = label_folder(photos, tmp_path / "ds", classes=["yak", "zebra"], keep_heat_maps=True, **how)
    assert done.count == 2
    assert "and there is no GPU; labeller=attention asks less of a machine" in caplog.text
    bright, dark = rows_of(tmp_path / "ds")
    expected = np.zeros((48, 64), np.uint8)
    expected[8:40, 16:48] = 2
    np.testing.assert_array_equal(decode_label(bright["label"]), expected)
    assert (bright["classes"], bright["model"]) == ([2], str(tiny))
    assert bright["quality"] > 0.5
    assert not decode_label(dark["label"]).any()
    assert (dark["classes"], dark["objects"]["category"], dark["quality"]) == ([], [], 0.0)
    recipe = read_yaml(tmp_path / "ds" / "recipe.yaml", what="the recipe", error=RecipeError)
    assert (recipe["model"], recipe["revision"]) == (str(tiny), fingerprint(tiny))
    labelled = recipe["labelled"]
    assert labelled["labeller"] == "sam3"
    assert labelled["labeller_revision"] == fingerprint(tiny)
    remask(tmp_path / "ds", tmp_path / "again", threshold=0.25)
    assert open_dataset(tmp_path / "again").recipe.model == str(tiny)
    again, still_dark = rows_of(tmp_path / "again")
    np.testing.assert_array_equal(decode_label(again["label"]), expected)
    assert still_dark["label"] == dark["label"]


def test_the_second_labeller_says_how_good_the_masks_are(
    photos: Path, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (photos / "1.png").unlink()
    monkeypatch.setattr(labellers, "PRESENT", 0.0)
    how: dict[str, Any] = {
        "labeller_model": str(tiny),
        "store": tmp_path / "store",
        "classes": ["car"],
        "timesteps": [250],
        **PLAIN,
    }
    found = {}
    for labeller in ("attention", "sam3", "sam3,attention"):
        label_folder(photos, tmp_path / labeller, labeller=labeller, **how)
        (found[labeller],) = rows_of(tmp_path / labeller)
        asked = str(tiny) if labeller == "sam3" else "toybox"
        assert open_dataset(tmp_path / labeller).recipe.model == asked
    assert found["sam3,attention"]["label"]["bytes"] == found["sam3"]["label"]["bytes"]
    one, other = (decode_label(found[labeller]["label"]) for labeller in ("attention", "sam3"))
    known = (one != 255) & (other != 255)
    both, either = ((one == 1) & (other == 1) & known).sum(), (((one == 1) | (other == 1)) & known).sum()
    assert found["sam3,attention"]["quality"] == pytest.approx(both / either)
    assert len({row["sample_id"] for row in found.values()}) == 3


def test_labellers_that_there_are_not(photos: Path, tmp_path: Path) -> None:
    how: dict[str, Any] = {"classes": ["car"]}
    with pytest.raises(RecipeError, match=r"unknown labeller 'sam'.*; expected attention, sam3 or both"):
        label_folder(photos, tmp_path / "ds", labeller="sam", **how)
    with pytest.raises(RecipeError, match="labeller 'sam3,sam3': each only once"):
        label_folder(photos, tmp_path / "ds", labeller="sam3,sam3", **how)
