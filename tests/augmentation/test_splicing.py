from bisect import bisect_right

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffumask_datasets.augmentation.scene import Scene, scene_of, tidied
from diffumask_datasets.augmentation.splicing import resized, spliced
from diffumask_datasets.recipes.grids import GRIDS, grid_size
from tests.helpers.scenes import check_row, random_scene, row_of_scene, scenes, told_apart


def splice(tiles: list[Scene], grid: str, **options: bool) -> Scene:
    rows, columns = grid_size(grid)
    return spliced(tiles, rows, columns, size=tiles[0].size, **options)


@settings(max_examples=25)
@given(tiles=st.lists(scenes, min_size=2, max_size=5), grid=st.sampled_from(GRIDS), native_size=st.booleans())
def test_mask_objects_and_rle_agree_and_ids_stay_in_their_tile(
    tiles: list[Scene], grid: str, native_size: bool
) -> None:
    rows, columns = grid_size(grid)
    many = (told_apart(tiles) * rows * columns)[: rows * columns]
    made = tidied(splice(many, grid, native_size=native_size))
    row = row_of_scene(made, "-")
    check_row(row)
    if native_size:
        assert made.size == (rows * max(tile.size[0] for tile in many), columns * max(tile.size[1] for tile in many))
        assert len(made.things) == sum(len(tidied(tile).things) for tile in many)
    else:
        assert made.size == many[0].size
    down, across = (
        [side * edge // count for edge in range(1, count)]
        for side, count in zip(made.size, (rows, columns), strict=True)
    )
    for left, top, width, height in row["objects"]["bbox"]:
        assert bisect_right(down, top) == bisect_right(down, top + height - 1)
        assert bisect_right(across, left) == bisect_right(across, left + width - 1)


@given(tiles=st.lists(st.builds(random_scene, st.integers(0, 999)), min_size=4, max_size=4))
def test_native_tiles_stand_as_they_are_and_areas_add_up(tiles: list[Scene]) -> None:
    made = splice(tiles, "2x2", native_size=True)
    height, width = tiles[0].size
    for number, tile in enumerate(tiles):
        row, column = divmod(number, 2)
        part = (slice(row * height, (row + 1) * height), slice(column * width, (column + 1) * width))
        np.testing.assert_array_equal(made.image[part], tile.image)
        np.testing.assert_array_equal(made.label[part], tile.label)
    assert (made.instances > 0).sum() == sum((tile.instances > 0).sum() for tile in tiles)
    assert len(made.things) == sum(len(tile.things) for tile in tiles)


def test_what_smaller_tiles_leave_over_is_255() -> None:
    large, small = random_scene(1, height=20, width=30), random_scene(2, height=16, width=16)
    made = splice([large, small], "1x2", native_size=True)
    assert made.size == (20, 60)
    assert (made.label[16:, 30:] == 255).all()
    assert (made.label[:, 46:] == 255).all()
    assert (made.image[16:, 30:] == 0).all()
    assert not made.instances[16:, 30:].any()


def test_ids_do_not_leak_between_tiles() -> None:
    one = random_scene(3, things=1)
    made = splice([one] * 4, "2x2", native_size=True)
    assert sorted(np.unique(made.instances).tolist()) == [0, 1, 2, 3, 4]
    height, width = one.size
    assert set(np.unique(made.instances[:height, width:]).tolist()) <= {0, 2}


@pytest.mark.parametrize(("height", "width"), [(8, 8), (24, 5), (48, 64), (24, 32)])
def test_resizing_keeps_masks_together(height: int, width: int) -> None:
    scene = random_scene(5)
    small = resized(scene, height=height, width=width)
    assert small.image.shape == (height, width, 3)
    check_row(row_of_scene(tidied(small), "-"))
    assert set(np.unique(small.label)) <= set(np.unique(scene.label))


def test_an_image_shrinks_by_area() -> None:
    scene = random_scene(6, height=16, width=16)
    half = resized(scene, height=8, width=8)
    mean = scene.image.reshape(8, 2, 8, 2, 3).astype(float).mean(axis=(1, 3))
    assert np.abs(half.image - mean).max() <= 1


def test_a_row_becomes_a_scene_and_a_row_again() -> None:
    scene = tidied(random_scene(7))
    row = row_of_scene(scene, "a-1")
    back = scene_of(row)
    np.testing.assert_array_equal(back.instances, scene.instances)
    assert back.things == scene.things
    assert row_of_scene(back, "a-1") == row
