"""Prompts made of heat: where their points lie, what their box and mask hold."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from diffumask_datasets.masks.sam_prompts import PromptParts, deepest_points, log_odds, prompt_of, regions_of

HEIGHT, WIDTH = 60, 80


def block(top: int, left: int, bottom: int, right: int) -> npt.NDArray[np.bool_]:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[top:bottom, left:right] = True
    return mask


def probabilities(*masks: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """0.95 for the class of each mask, else for the background."""
    share = 0.05 / len(masks)
    labels = np.zeros((HEIGHT, WIDTH), int)
    for number, mask in enumerate(masks, start=1):
        labels[mask] = number
    return np.stack([np.where(labels == number, 0.95, share) for number in range(len(masks) + 1)]).astype(np.float32)


def test_components_are_regions_and_share_the_image() -> None:
    large, small, speck = block(5, 5, 25, 25), block(30, 50, 40, 60), block(50, 5, 53, 8)
    regions = regions_of(1, large | small | speck)
    assert [int(region.mask.sum()) for region in regions] == [400, 100]
    cells = np.stack([region.cell for region in regions])
    assert (cells.sum(axis=0) == 1).all()
    assert cells[0][:30, :25].all()
    assert cells[1][25:, 55].all()
    assert regions_of(1, speck) == []
    assert regions_of(1, np.zeros((HEIGHT, WIDTH), bool)) == []


def test_the_hottest_of_the_deepest_comes_first() -> None:
    mask = block(10, 10, 20, 70)
    heat = np.where(np.arange(WIDTH) > 50, 1.0, 0.5)[None].repeat(HEIGHT, axis=0).astype(np.float32)
    found = deepest_points(mask, heat, most=3)
    assert len(found) == 3
    assert found[0][0] in (14, 15)
    assert 51 <= found[0][1] <= 65
    assert all(mask[point] for point in found)
    apart = [np.hypot(*np.subtract(one, other)) for one in found for other in found if one != other]
    assert min(apart) >= 2.5
    assert deepest_points(mask, most=0) == []


def test_a_prompt_has_hot_and_cold_points_a_box_and_the_heat() -> None:
    mine, other = block(10, 10, 30, 30), block(10, 40, 50, 75)
    given = probabilities(mine, other)
    (region,) = regions_of(1, mine)
    prompt = prompt_of(region, given, given[1], parts=PromptParts(points=2, negatives=3))
    places = [(int(row), int(column)) for column, row in prompt.points]
    assert prompt.labels.tolist() == [1, 1, 0, 0, 0]
    assert all(mine[place] for place in places[:2])
    assert other[places[2]]
    assert all(not mine[place] and not other[place] for place in places[3:])
    assert prompt.box == (9.0, 9.0, 30.0, 30.0)
    assert prompt.mask is not None
    assert prompt.mask[20, 20] > 2.5
    assert prompt.mask[20, 50] < -2.5
    bare = prompt_of(region, given, given[1], parts=PromptParts(points=1, negatives=0, box=False, mask=False))
    assert (bare.labels.tolist(), bare.box, bare.mask) == ([1], None, None)


def test_what_was_found_before_is_cold() -> None:
    found, rest = block(10, 10, 30, 30), block(10, 30, 30, 45)
    given = probabilities(found | rest)
    (region,) = regions_of(1, rest)
    prompt = prompt_of(region, given, given[1], parts=PromptParts(points=1), erased=found)
    cold = [
        (int(row), int(column)) for (column, row), label in zip(prompt.points, prompt.labels, strict=True) if not label
    ]
    assert any(found[place] for place in cold)
    assert prompt.mask is not None
    assert (prompt.mask[found] == -10).all()


def test_heat_everywhere_has_no_cold_points_and_the_whole_image_as_its_box() -> None:
    everywhere = np.ones((HEIGHT, WIDTH), bool)
    given = probabilities(everywhere)
    (region,) = regions_of(1, everywhere)
    prompt = prompt_of(region, given, given[1], parts=PromptParts())
    assert set(prompt.labels.tolist()) == {1}
    assert prompt.box == (0.0, 0.0, WIDTH - 1.0, HEIGHT - 1.0)


def test_log_odds_are_bounded() -> None:
    assert log_odds(np.array([0.0, 0.5, 1.0], np.float32)).tolist() == [-10.0, 0.0, 10.0]
