from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from diffumask_datasets.augmentation.pipeline import augmented, block_of, cached_scenes, drawn_others, row_from
from diffumask_datasets.augmentation.scene import Scene, Thing, scene_of
from diffumask_datasets.dataset.schema import decode_label, png_cell
from diffumask_datasets.errors import RecipeError, ShapeError
from diffumask_datasets.recipes.augment_settings import parse_augment
from diffumask_datasets.recipes.grids import GRIDS
from tests.helpers.scenes import check_row, random_scene, row_of_scene, told_apart

ROWS = [row_of_scene(random_scene(seed, height=40, width=48), f"abc-{seed:08d}") for seed in range(6)]
APART = [
    row_of_scene(scene, f"abc-{number:08d}")
    for number, scene in enumerate(told_apart([random_scene(seed, height=40, width=48) for seed in range(6)]))
]
STEPS = st.lists(
    st.sampled_from(
        ["splice", "splice:2x2", "blur", "occlude", "perspective", {"kind": "occlude", "probability": 0.5}]
    ),
    min_size=1,
    max_size=4,
)


def made_of(position: int, steps: Any, *, seed: int = 0, rows: Sequence[dict[str, Any]] = ROWS) -> dict[str, Any]:
    row = rows[position]
    others = drawn_others(cached_scenes(rows.__getitem__), position, range(len(rows)))
    scene = augmented(scene_of(row), parse_augment(steps), seed=seed, key=row["sample_id"], others=others)
    return row_from(scene, row, "new-00000000")


@settings(max_examples=25)
@given(position=st.integers(0, 5), steps=STEPS, seed=st.integers(0, 50))
def test_every_chain_gives_a_consistent_row_and_the_same_one_again(position: int, steps: Any, seed: int) -> None:
    row = made_of(position, steps, seed=seed, rows=APART)
    check_row(row)
    assert row == made_of(position, steps, seed=seed, rows=APART)
    assert decode_label(row["label"]).shape == (40, 48)


def test_prompts_thresholds_and_quality_come_from_all_tiles() -> None:
    row = made_of(0, ["splice:2x2"])
    prompts = row["prompt"].split(" | ")
    assert len(prompts) == 4
    assert "prompt 0" in prompts
    assert row["threshold"] == pytest.approx([category / 8 for category in row["classes"]])
    assert (row["quality"], row["sample_id"]) == (0.5, "new-00000000")


def with_maps(seed: int) -> dict[str, Any]:
    """A row of an image whose soft map is smaller than it: 255 in the left half, where the class is."""
    label = np.zeros((160, 240), np.uint8)
    label[:, :120] = 1 + seed % 2
    picture = np.repeat(label[..., None] * 80, 3, axis=2)
    scene = Scene(picture, label, (label > 0).astype(np.int32), (Thing(1 + seed % 2, 0.5),))
    soft = np.zeros((85, 128), np.uint8)
    soft[:, :64] = 255
    curve = {"category": [1 + seed % 2], "gamma": [[seed / 8, 0.5]], "score": [[0.25, 0.5]]}
    maps = {"category": [1 + seed % 2], "map": [png_cell(soft)]}
    return {**row_of_scene(scene, f"m-{seed}"), "heat_maps": maps, "threshold_curve": curve}


@pytest.mark.parametrize(
    "step",
    ["splice:2x2", "splice:5x5", {"kind": "splice", "grid": "1x2", "native_size": True}, "occlude", "perspective"],
)
def test_heat_maps_follow_the_masks_and_stay_small(step: Any) -> None:
    row = made_of(0, [step], rows=[with_maps(seed) for seed in range(4)])
    label = decode_label(row["label"])
    maps = dict(zip(row["heat_maps"]["category"], map(decode_label, row["heat_maps"]["map"]), strict=True))
    assert set(maps) >= set(row["classes"])
    for category, soft in maps.items():
        assert max(soft.shape) == 128
        hot = np.asarray(Image.fromarray(soft).resize(label.shape[::-1])) > 127
        assert (hot == (label == category)).mean() > 0.95


def test_threshold_curves_of_all_origins() -> None:
    row = made_of(0, ["splice:1x2"], rows=[with_maps(0), with_maps(1)])
    assert sorted(zip(row["threshold_curve"]["category"], row["threshold_curve"]["gamma"], strict=True)) == [
        (1, [0.0, 0.5]),
        (2, [0.125, 0.5]),
    ]
    assert made_of(0, ["blur"], rows=[with_maps(1)])["threshold_curve"] == with_maps(1)["threshold_curve"]


def test_probability_leaves_the_rest_as_it_was() -> None:
    changed = [
        made_of(0, [{"kind": "blur", "probability": 0.25}], seed=seed)["image"] != ROWS[0]["image"]
        for seed in range(80)
    ]
    assert 8 <= sum(changed) <= 34


def test_a_grid_of_all_that_fit() -> None:
    sizes = {len(made_of(1, ["splice"], seed=seed)["prompt"].split(" | ")) for seed in range(12)}
    assert sizes >= {2, 4, 6}  # there are six different samples


def test_others_come_once_before_any_comes_again() -> None:
    seen: list[int] = []

    def fetch(place: int) -> Any:
        seen.append(place)
        return ROWS[place]

    drawn_others(cached_scenes(fetch), 2, range(6))(7, np.random.default_rng(0))
    assert sorted(seen) == [0, 1, 3, 4, 5]  # each is decoded once


def test_one_sample_alone_has_no_others() -> None:
    with pytest.raises(RecipeError, match="take pixels from other samples, and there is only one"):
        made_of(0, ["occlude"], rows=ROWS[:1])


@pytest.mark.parametrize(
    ("position", "steps", "total", "block"),
    [
        (37, ["splice:2x2"], None, range(32, 48)),
        (37, ["blur"], 40, range(32, 40)),
        (37, ["splice:5x5"], None, range(0, 64)),
        (90_000_005, ["splice"], None, range(90_000_000, 90_000_064)),
        (16, ["splice:3x3"], 17, range(0, 17)),
        (0, ["splice:3x3"], 1, range(0, 1)),
    ],
)
def test_blocks(position: int, steps: Any, total: int | None, block: range) -> None:
    assert block_of(position, parse_augment(steps), total=total) == block


@pytest.mark.parametrize(
    ("augment", "message"),
    [
        (
            "splise",
            r"unknown kind 'splise'; .*; legal: splice, splice:2x2 \(1x2, .*\), blur, occlude",
        ),
        ("splice:4x4", "Input should be '1x2', '2x1', '2x2'"),
        ([], "augment: name at least one augmentation"),
        (3, "augment: expected a list; legal: splice"),
        ([None], r"augment: 0: expected a text or a mapping \(given: None\)"),
        ({"kind": "blur", "kernel": [5, 2]}, "smallest <= largest"),
        ({"kind": "occlude", "size": [0.5, 2]}, "at most as large as the image"),
        ({"kind": "occlude", "patches": [0, 2]}, "0 < smallest <= largest"),
        ({"kind": "perspective", "distortion": 1}, "less than 1"),
        ({"kind": "blur", "probability": 0}, "greater than 0"),
        ({"kind": "blur", "sigma": 3}, "Extra inputs are not permitted"),
    ],
)
def test_bad_settings(augment: Any, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        parse_augment(augment)


def test_a_grid_larger_than_the_image() -> None:
    row = row_of_scene(random_scene(0, height=16, width=24), "-")
    with pytest.raises(RecipeError, match=r"the grid 5x5 is too large for an image of 16x24 .* it needs 20x20"):
        augmented(scene_of(row), parse_augment("splice:5x5"), seed=0, key="", others=lambda count, rng: [])
    tiny = random_scene(0, height=5, width=5)
    with pytest.raises(RecipeError, match="the grid 1x2 is too large for an image of 5x5"):
        augmented(tiny, parse_augment("splice"), seed=0, key="", others=lambda count, rng: [])


def test_masks_of_another_size_are_refused() -> None:
    other = row_of_scene(random_scene(0, height=20, width=24, things=1), "-")
    with pytest.raises(ShapeError, match=r"RLE: expected a mask of \[40, 48\] \[height, width\], got size \[20, 24\]"):
        scene_of({**ROWS[0], "objects": other["objects"]})


def test_every_grid_has_its_name() -> None:
    assert GRIDS == ("1x2", "2x1", "2x2", "3x3", "5x5", "8x8")
