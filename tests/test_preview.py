from typing import Any

import numpy as np

from diffumask_datasets.preview import class_colours, contact_sheet, overlay
from diffumask_datasets.recipe import Recipe
from diffumask_datasets.synthesis import Synthesizer, prepare


def test_colours_are_those_of_pascal_voc() -> None:
    assert class_colours()[[0, 1, 2, 15, 20, 255]].tolist() == [
        [0, 0, 0],
        [128, 0, 0],
        [0, 128, 0],
        [192, 128, 128],
        [0, 64, 128],
        [224, 224, 192],
    ]


def test_overlay_leaves_the_background_as_it_is() -> None:
    image = np.full((4, 4, 3), 200, np.uint8)
    label = np.zeros((4, 4), np.uint8)
    label[2:, 2:] = 1
    shown = overlay(image, label)
    assert shown[0, 0].tolist() == [200, 200, 200]
    assert shown[3, 3].tolist() == [164, 100, 100]  # half image, half the class colour (128, 0, 0)
    assert shown[2, 2].tolist() == [128, 0, 0]  # the border is drawn full


def test_a_sheet_has_three_tiles_a_sample(planted: dict[str, Any]) -> None:
    recipe = prepare(Recipe.of(**planted))
    rows = [row for _, row in Synthesizer(recipe).rows(0, 5)]
    sheet = contact_sheet(rows, recipe.classes, columns=2)
    # 64x48 images become tiles of 160x120; a card is three tiles and a line of text, with gaps of 8.
    assert sheet.size == (2 * (3 * 160 + 8) + 8, 3 * (120 + 16 + 8) + 8)
    assert contact_sheet([{**rows[0], "heat_maps": None}], recipe.classes).size == (2 * 160 + 16, 120 + 16 + 16)
