from typing import Any

import numpy as np
import pytest

from diffumask_datasets.dataset.density import Density, ImageDensity, image_density, object_sizes
from diffumask_datasets.masks.rle import area, encode


def row_of(*boxes: tuple[int, int, int, int], size: tuple[int, int] = (64, 64)) -> dict[str, Any]:
    """A row of rectangles (top, left, bottom, right), of classes 1, 2, 1, …, the earlier in front."""
    taken = np.zeros(size, bool)
    masks = []
    for top, left, bottom, right in boxes:
        mask = np.zeros(size, bool)
        mask[top:bottom, left:right] = True
        masks.append(mask & ~taken)
        taken |= mask
    categories = [1 + number % 2 for number in range(len(masks))]
    return {"objects": {"category": categories, "segmentation": [encode(mask) for mask in masks]}}


@pytest.mark.parametrize(
    ("boxes", "density"),
    [
        ([], ImageDensity(0, 0, 0, 0)),
        ([(0, 0, 8, 8)], ImageDensity(1, 1, 0, 0)),
        ([(0, 0, 8, 8), (0, 11, 8, 19)], ImageDensity(2, 2, 0, 0)),
        ([(0, 0, 8, 8), (0, 9, 8, 19)], ImageDensity(2, 2, 2, 0)),
        ([(0, 0, 8, 8), (0, 9, 8, 19), (40, 40, 50, 50)], ImageDensity(3, 2, 2, 0)),
        # The first covers a corner of the second, or a bay in it of 8 % or 25 % of its hull.
        ([(0, 0, 20, 20), (10, 10, 50, 50)], ImageDensity(2, 2, 2, 0)),
        ([(10, 0, 30, 20), (0, 10, 60, 50)], ImageDensity(2, 2, 2, 0)),
        ([(10, 0, 30, 40), (0, 10, 60, 50)], ImageDensity(2, 2, 2, 1)),
        # A bar across another one parts it in two.
        ([(0, 20, 50, 30), (20, 0, 24, 50)], ImageDensity(2, 2, 2, 1)),
    ],
)
def test_density_of_an_image(boxes: list[tuple[int, int, int, int]], density: ImageDensity) -> None:
    assert image_density(row_of(*boxes)) == density


def test_regions_of_stuff_are_no_objects() -> None:
    row = row_of((0, 0, 8, 8), (8, 0, 64, 64), (0, 9, 8, 19))
    assert image_density(row) == ImageDensity(3, 2, 3, 0)
    assert image_density(row, stuff=[2]) == ImageDensity(2, 1, 2, 0)


def test_density_of_a_dataset() -> None:
    total = Density()
    for boxes in ([(0, 0, 8, 8), (0, 9, 8, 19), (40, 40, 50, 50)], [(0, 0, 8, 8)], []):
        total.add(image_density(row_of(*boxes)))
    assert str(total) == (
        "1.3 objects and 1.0 classes an image; 50 % of the objects touch another one, 0 % look partly hidden"
    )
    assert str(Density()) == (
        "0.0 objects and 0.0 classes an image; 0 % of the objects touch another one, 0 % look partly hidden"
    )


def test_images_with_fewer_objects_than_asked_for_are_counted() -> None:
    total = Density(fewest=2)
    for boxes in ([(0, 0, 8, 8), (0, 9, 8, 19), (40, 40, 50, 50)], [(0, 0, 8, 8), (40, 40, 50, 50)], [(0, 0, 8, 8)]):
        total.add(image_density(row_of(*boxes)))
    assert str(total).endswith("look partly hidden; 1 of 3 images hold fewer than 2, as no more fit")


def test_sizes_of_objects_by_class() -> None:
    rows = [row_of((0, 0, side, side), (40, 0, 48, 8)) for side in range(8, 29)]
    for row in rows:
        row["objects"]["area"] = [int(area(rle)) for rle in row["objects"]["segmentation"]]
    # Sides of 8 to 28 pixels on an image of 64: the twenty steps between them lie evenly.
    assert object_sizes(rows, ["car", "boat", "tree"]) == {
        "car": (round(9 / 64, 4), round(27 / 64, 4)),
        "boat": (8 / 64, 8 / 64),
    }
