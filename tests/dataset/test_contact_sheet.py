from typing import Any

import numpy as np

from diffumask_datasets.dataset.contact_sheet import class_colours, contact_sheet, overlay
from diffumask_datasets.generation.prepare import prepare
from diffumask_datasets.generation.samples import GeneratedSamples
from diffumask_datasets.recipes.recipe import Recipe


def test_colours_are_those_of_pascal_voc() -> None:
    assert class_colours()[[0, 1, 2, 15, 20, 255]].tolist() == [
        [0, 0, 0],
        [128, 0, 0],
        [0, 128, 0],
        [192, 128, 128],
        [0, 64, 128],
        [224, 224, 192],
    ]


def overlaid(row: list[int], width: int = 1) -> list[list[int]]:
    """The middle row of a grey image under three equal rows of class ids, each id ``width`` pixels wide."""
    label = np.repeat(np.array([row] * 3, np.uint8), width, axis=1)
    shown: list[list[int]] = overlay(np.full((*label.shape, 3), 200, np.uint8), label)[1].tolist()
    return shown


GREY, BLACK, WHITE = [200] * 3, [0] * 3, [255] * 3
FIRST, SECOND = [164, 100, 100], [100, 164, 100]  # half image, half the class colour: (128, 0, 0) and (0, 128, 0)


def test_overlay_frames_a_mask_and_leaves_the_background_as_it_is() -> None:
    assert overlaid([0, 0, 1, 1, 1]) == [GREY, BLACK, WHITE, FIRST, FIRST]


def test_where_masks_touch_one_has_the_black_line() -> None:
    assert overlaid([1, 1, 1, 2, 2, 2]) == [FIRST, FIRST, BLACK, WHITE, SECOND, SECOND]


def test_ignored_pixels_have_no_frame() -> None:
    assert overlaid([0, 0, 255, 255]) == [GREY, GREY, [212, 212, 196], [212, 212, 196]]


def test_lines_are_as_wide_on_the_tile_of_a_large_image() -> None:
    assert overlaid([0, 0, 1, 1], width=120) == [GREY] * 237 + [BLACK] * 3 + [WHITE] * 3 + [FIRST] * 237


def test_a_sheet_has_three_tiles_a_sample(planted: dict[str, Any]) -> None:
    recipe = prepare(Recipe.of(**planted))
    rows = [row for _, row in GeneratedSamples(recipe).rows(0, 5)]
    sheet = contact_sheet(rows, recipe.classes, columns=2)
    # 64x48 images become tiles of 160x120; a card is three tiles and a line of text, with gaps of 8.
    assert sheet.size == (2 * (3 * 160 + 8) + 8, 3 * (120 + 16 + 8) + 8)
    assert contact_sheet([{**rows[0], "heat_maps": None}], recipe.classes).size == (2 * 160 + 16, 120 + 16 + 16)
