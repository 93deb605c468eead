"""The config ``toybox-rendered``: exact masks, splits that never meet, the columns of ``default``."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import load_dataset

from diffumask_datasets.dataset.schema import element_of
from diffumask_datasets.errors import RecipeError
from diffumask_datasets.generation.generate import generate
from diffumask_datasets.masks.rle import decode
from diffumask_datasets.sample import IGNORE
from diffumask_datasets.toybox import CLASS_NAMES, render_scene
from diffumask_datasets.toybox.rendered import RenderedScenes


def load(folder: Path, **fields: Any) -> Any:
    return load_dataset("diffumask", "toybox-rendered", cache_dir=str(folder), **fields)


def test_the_rows_are_the_scenes_of_the_split(tmp_path: Path) -> None:
    dataset = load(tmp_path, splits={"train": 3, "validation": 4, "test": 2})
    assert {name: part.num_rows for name, part in dataset.items()} == {"train": 3, "validation": 4, "test": 2}
    assert element_of(dataset["train"].features["classes"]).names == ["background", *CLASS_NAMES]
    for split in ("train", "validation", "test"):
        for seed, row in enumerate(dataset[split]):
            scene = render_scene(seed, split=split)
            np.testing.assert_array_equal(np.asarray(row["image"]), scene.image)
            np.testing.assert_array_equal(np.asarray(row["label"]), scene.semantic)
            assert (row["prompt"], row["seed"], row["model"]) == (scene.caption, seed, "toybox-rendered")


def test_objects_add_up_to_the_label() -> None:
    scenes = [(render_scene(seed), row) for seed, (_, row) in enumerate(RenderedScenes().rows(0, 30))]
    assert max(len(row["objects"]["id"]) for _, row in scenes) > 1
    for scene, row in scenes:
        label = np.zeros_like(scene.semantic)
        for category, segmentation in zip(row["objects"]["category"], row["objects"]["segmentation"], strict=True):
            label[decode(segmentation, label.shape)] = category
        np.testing.assert_array_equal(label, scene.semantic)
        assert IGNORE not in label
        assert sum(row["objects"]["area"]) == (label > 0).sum()


def test_one_scene_a_seed_and_split() -> None:
    rows = RenderedScenes()
    first = [next(iter(rows.rows(start, start + 1)))[1] for start in (0, 90_000_000, 95_000_000)]
    assert len({row["image"]["bytes"] for row in first}) == len({row["sample_id"] for row in first}) == 3
    assert [row["seed"] for row in first] == [0, 0, 0]


def test_sizes_and_stream(tmp_path: Path) -> None:
    stream = load(tmp_path, split="validation", streaming=True, height=96, width=160)
    row = next(iter(stream))
    assert row["image"].size == (160, 96)
    assert len({row["sample_id"] for row in stream.take(5)}) == 5


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"height": 8}, "height: expected a number of pixels from 16 to 4096, got 8"),
        ({"classes": ["car"]}, "unknown field 'classes'; legal fields: height, width"),
        ({"keep_heat_maps": True}, "the scenes of toybox-rendered are drawn"),
    ],
)
def test_what_it_does_not_take(tmp_path: Path, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load(tmp_path, split="test", **fields)


def test_generate_says_where_the_scenes_are(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="drawn, not generated"):
        generate(tmp_path / "out", name="toybox-rendered")
