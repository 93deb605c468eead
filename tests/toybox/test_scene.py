"""The drawn world: determinism, exact masks, disjoint splits, demands."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from diffumask_datasets.toybox import BACKGROUNDS, CLASS_NAMES, COLOURS, SPLITS, Demand, render_scene
from diffumask_datasets.toybox.drawing import normalised
from diffumask_datasets.toybox.layout import MIN_VISIBLE, lay_out
from diffumask_datasets.toybox.scene import scene_generator
from diffumask_datasets.toybox.shapes import DRAW, draw_object


def test_the_world_is_the_agreed_one() -> None:
    assert CLASS_NAMES == ("car", "boat", "tree", "house", "fish", "balloon", "mushroom", "star", "cup", "flower")
    assert tuple(COLOURS) == ("red", "orange", "yellow", "green", "blue", "purple", "pink", "white")
    assert BACKGROUNDS == ("grass", "sand", "sea", "snow", "night", "sunset", "bricks", "wood")
    assert tuple(DRAW) == CLASS_NAMES


def test_a_scene_is_literally_what_its_seed_says() -> None:
    scene = render_scene(0)
    assert [(item.class_name, item.colour, item.instance_id) for item in scene.objects] == [
        ("fish", "pink", 1),
        ("car", "green", 2),
        ("boat", "yellow", 3),
    ]
    assert scene.background == "snow"
    assert scene.caption == "a photo of a fish, a boat and a car in the snow"


@pytest.mark.parametrize("seed", range(6))
def test_same_seed_same_scene(seed: int) -> None:
    first, second = render_scene(seed), render_scene(seed)
    assert np.array_equal(first.image, second.image)
    assert np.array_equal(first.instances, second.instances)
    assert replace(first, image=second.image, semantic=second.semantic, instances=second.instances) == second


@pytest.mark.parametrize("size", [(128, 128), (64, 96), (200, 120)])
def test_shapes_and_dtypes(size: tuple[int, int]) -> None:
    scene = render_scene(3, size=size)
    assert scene.image.shape == (*size, 3)
    assert scene.semantic.shape == scene.instances.shape == size
    assert {scene.image.dtype, scene.semantic.dtype, scene.instances.dtype} == {np.dtype(np.uint8)}


@pytest.mark.parametrize("seed", range(40))
def test_masks_agree_with_the_objects(seed: int) -> None:
    scene = render_scene(seed)
    assert 1 <= len(scene.objects) <= 3
    assert [item.instance_id for item in scene.objects] == list(range(1, len(scene.objects) + 1))
    assert set(np.unique(scene.instances)) == {0, *(item.instance_id for item in scene.objects)}
    for item in scene.objects:
        ids = np.unique(scene.semantic[scene.instances == item.instance_id])
        assert ids.tolist() == [CLASS_NAMES.index(item.class_name) + 1]
    assert not scene.semantic[scene.instances == 0].any()


@pytest.mark.parametrize("name", CLASS_NAMES)
def test_mask_is_where_the_picture_changes(name: str) -> None:
    """Recolouring the object changes the picture inside its mask, and nowhere else but at its very edge."""
    red, blue = (render_scene(11, demand=Demand([name], [colour], "wood")) for colour in ("red", "blue"))
    assert np.array_equal(red.instances, blue.instances)
    changed = np.abs(red.image.astype(int) - blue.image).max(axis=2) > 40
    mask = red.instances > 0
    grown = mask.copy()
    for shift in (-1, 1):
        for axis in (0, 1):
            grown |= np.roll(mask, shift, axis)
    assert not (changed & ~grown).any()
    assert (changed & mask).sum() > 0.35 * mask.sum()  # the rest is neutral: wheels, windows, stems, drinks


@pytest.mark.parametrize("name", CLASS_NAMES)
def test_single_objects_are_large_and_mostly_inside(name: str) -> None:
    areas = [(render_scene(seed, demand=Demand([name])).instances > 0).mean() for seed in range(20)]
    assert 0.08 < np.mean(areas) < 0.6
    assert min(areas) > 0.04


def test_later_objects_hide_a_limited_part_of_earlier_ones() -> None:
    shared = 0
    for seed in range(120):
        scene = render_scene(seed, demand=Demand(count=2))
        areas = [(scene.instances == item.instance_id).sum() for item in scene.objects]
        assert min(areas) > 100
        touching = np.roll(scene.instances == 1, 1, axis=1) & (scene.instances == 2)
        shared += bool(touching.any())
    assert 10 < shared < 80  # overlap happens, and is not the rule
    assert MIN_VISIBLE == 0.60


def test_splits_never_share_a_stream() -> None:
    draws = {split: {scene_generator(seed, split).integers(2**62) for seed in range(300)} for split in SPLITS}
    assert all(len(values) == 300 for values in draws.values())
    assert not draws["train"] & draws["validation"]
    assert not draws["train"] & draws["test"]
    assert not draws["validation"] & draws["test"]


def test_demands_are_met() -> None:
    scene = render_scene(5, demand=Demand(["car", "car", "fish"], ["red", None, "blue"], "night"))
    assert [item.class_name for item in scene.objects] == ["car", "car", "fish"]
    assert (scene.objects[0].colour, scene.objects[2].colour) == ("red", "blue")
    assert scene.background == "night"


@pytest.mark.parametrize(
    ("demand", "message"),
    [
        ({"classes": ["horse"]}, "unknown class 'horse'"),
        ({"classes": ["car"], "colours": ["teal"]}, "unknown colour 'teal'"),
        ({"background": "moon"}, "unknown background 'moon'"),
        ({"count": 4}, "1 to 3 objects, not 4"),
        ({"classes": ["car"], "count": 2}, "count 2 does not match 1 classes"),
        ({"classes": ["car"], "colours": ["red", "blue"]}, "2 colours for 1 classes"),
    ],
)
def test_impossible_demands_are_refused(demand: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Demand(**demand)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": 0, "split": "dev"}, "unknown split 'dev'"),
        ({"seed": -1}, "seed must be >= 0"),
        ({"seed": 0, "size": (8, 128)}, "at least 16"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        render_scene(**arguments)  # type: ignore[arg-type]


def test_objects_are_normalised() -> None:
    parts, _ = draw_object("star", "red", np.random.default_rng(0))
    points = np.concatenate([part.points for part in parts])
    assert np.isclose((points.max(axis=0) - points.min(axis=0)).max(), 2.0)
    assert np.allclose(normalised(parts)[0].points, parts[0].points)


def test_layout_of_nothing_is_nothing() -> None:
    assert lay_out([], (1.0, 1.0), np.random.default_rng(0)) == []


def test_importing_the_world_loads_no_torch() -> None:
    """Until it is asked for: the question is one that can be answered otherwise."""
    asked = "print('torch' in sys.modules)"
    code = f"import sys, diffumask_datasets.toybox as t; t.render_scene(0); {asked}; import torch; {asked}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\nTrue\n"
