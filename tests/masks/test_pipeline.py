from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from diffumask_datasets.errors import ModelError, ShapeError
from diffumask_datasets.masks import rle
from diffumask_datasets.masks.pipeline import Masks, make_masks
from diffumask_datasets.masks.unary import affinity_labels
from diffumask_datasets.recipes.settings import MaskSettings

EXACT = MaskSettings(threshold=0.5, heat_normalization=None, refinement=None, min_area=0.0, ignore_margin=0.0)
HEIGHT, WIDTH = 48, 80


def blocks(*boxes: tuple[int, int, int, int]) -> npt.NDArray[np.float32]:
    """Heat 1 inside boxes (top, left, bottom, right), 0 elsewhere."""
    heat = np.zeros((HEIGHT, WIDTH), np.float32)
    for top, left, bottom, right in boxes:
        heat[top:bottom, left:right] = 1.0
    return heat


def masks_of(*heat_maps: npt.NDArray[np.float32], class_ids: Any = (4, 2), settings: MaskSettings = EXACT) -> Masks:
    """Masks on a picture in which each class has its own colour."""
    colours = np.array([(40, 110, 190), (200, 40, 30), (240, 220, 60)])
    order = np.zeros((HEIGHT, WIDTH), int)
    for index, heat in enumerate(heat_maps, start=1):
        order[heat > 0.99] = index
    noise = np.random.default_rng(0).integers(0, 12, (HEIGHT, WIDTH, 3))
    image = (colours[order] + noise).astype(np.uint8)
    return make_masks(image, np.stack(heat_maps), class_ids=class_ids[: len(heat_maps)], settings=settings)


def test_planted_heat_gives_the_planted_mask() -> None:
    masks = masks_of(blocks((5, 10, 20, 30), (30, 60, 40, 70)), blocks((8, 40, 28, 50)))
    assert masks.semantic[10, 15] == masks.semantic[35, 65] == 4
    assert np.bincount(masks.semantic.ravel()).tolist() == [48 * 80 - 600, 0, 200, 0, 400]
    assert [(o.instance_id, o.category, o.bbox_xywh, o.area) for o in masks.objects] == [
        (1, 4, (10.0, 5.0, 20.0, 15.0), 300),
        (2, 4, (60.0, 30.0, 10.0, 10.0), 100),
        (3, 2, (40.0, 8.0, 10.0, 20.0), 200),
    ]
    assert masks.thresholds == (0.5, 0.5)
    assert masks.class_qualities == (1.0, 1.0)
    assert masks.quality == 1.0


def test_objects_are_the_instances() -> None:
    masks = masks_of(blocks((5, 10, 20, 30), (30, 60, 40, 70)))
    for annotation in masks.objects:
        assert np.array_equal(
            rle.decode(annotation.segmentation, masks.instances.shape), masks.instances == annotation.instance_id
        )
        # background 1 to exp(0.5 / 0.1) inside the blocks
        assert annotation.score == pytest.approx(0.9933, abs=1e-4)


@pytest.mark.parametrize("threshold", [0.5, "otsu", "adaptive"])
def test_blurred_heat_of_two_classes_becomes_the_two_objects(threshold: Any) -> None:
    first, second = blocks((8, 8, 32, 30)), blocks((14, 46, 40, 70))
    blurred = [ndimage.gaussian_filter(heat, 4) for heat in (first, second)]
    leaking = [blurred[0] + 0.35 * blurred[1], blurred[1] + 0.35 * blurred[0]]
    noise = np.random.default_rng(0).integers(0, 12, (HEIGHT, WIDTH, 3))
    image = np.full((HEIGHT, WIDTH, 3), (40, 110, 190)) + noise
    image[first > 0], image[second > 0] = (200, 40, 30), (240, 220, 60)
    heat_maps = np.stack([heat / heat.max() for heat in leaking]).astype(np.float32)
    masks = make_masks(image.astype(np.uint8), heat_maps, class_ids=[4, 2], settings=MaskSettings(threshold=threshold))
    for class_id, truth in ((4, first > 0), (2, second > 0)):
        found = masks.semantic == class_id
        assert np.count_nonzero(found & truth) / np.count_nonzero(found | truth) > 0.95
    assert [annotation.category for annotation in masks.objects] == [4, 2]
    assert np.mean(masks.semantic == 255) < 0.03
    assert 0.5 < masks.quality < 1


def test_a_class_that_comes_out_empty_is_reported() -> None:
    faint = blocks((8, 40, 28, 50)) * np.float32(0.3)
    masks = masks_of(blocks((5, 10, 20, 30)), faint)
    assert 2 not in masks.semantic
    assert masks.thresholds == (0.5, 0.5)
    assert masks.class_qualities == (1.0, 0.0)
    assert masks.quality == 0.5


def test_no_class_at_all_has_no_quality() -> None:
    masks = masks_of(blocks((5, 10, 20, 30)) * np.float32(0.3))
    assert not masks.semantic.any()
    assert (masks.objects, masks.quality) == ((), 0.0)


def test_a_class_whose_components_are_all_too_small_is_empty() -> None:
    masks = masks_of(blocks((5, 5, 7, 7)), settings=EXACT.model_copy(update={"min_area": 0.01}))
    assert (masks.objects, masks.class_qualities) == ((), (0.0,))


def test_ignored_pixels_cost_quality() -> None:
    heat = blocks((10, 10, 20, 30))
    heat[10:20, 30:35] = 0.5  # at the threshold: 50 pixels unsure beside 200 sure ones
    masks = masks_of(heat, settings=EXACT.model_copy(update={"ignore_margin": 0.1}))
    assert np.count_nonzero(masks.semantic == 255) == 50
    assert masks.objects[0].area == 200
    # 200 of 250 pixels stay when γ moves: stability 0.8, agreement 1.0; and 200 of 250 are sure
    assert masks.quality == pytest.approx((0.8 + 1.0) / 2 * 200 / 250)


def test_refined_masks_keep_a_thin_band_where_the_picture_shows_no_edge() -> None:
    heat = ndimage.gaussian_filter(blocks((8, 20, 40, 60)), 4)
    noise = np.random.default_rng(0).integers(0, 60, (HEIGHT, WIDTH, 3))
    settings = MaskSettings(threshold=0.5)
    masks = make_masks((90 + noise).astype(np.uint8), heat[None], class_ids=[4], settings=settings)
    assert 0.003 < np.mean(masks.semantic == 255) < 0.05


def test_254_classes_each_keep_their_id() -> None:
    heat_maps = np.zeros((254, 16, 32), np.float32)
    for index in range(254):
        heat_maps[index].flat[2 * index] = 1.0
    image = np.zeros((16, 32, 3), np.uint8)
    masks = make_masks(image, heat_maps, class_ids=range(1, 255), settings=EXACT)
    assert masks.semantic.ravel()[:508:2].tolist() == list(range(1, 255))
    assert [annotation.category for annotation in masks.objects] == list(range(1, 255))
    assert {annotation.area for annotation in masks.objects} == {1}


def test_inputs_are_left_alone() -> None:
    image, heat_maps = np.zeros((8, 12, 3), np.uint8), np.eye(8, 12, dtype=np.float32)[None]
    image.flags.writeable = heat_maps.flags.writeable = False
    assert make_masks(image, heat_maps, class_ids=[1], settings=MaskSettings()).semantic.shape == (8, 12)


@pytest.mark.parametrize(
    ("image", "heat_maps", "class_ids", "message"),
    [
        ((8, 6), (1, 8, 6), [1], r"image: expected uint8 \(height, width, 3\), got uint8 \(8, 6\)"),
        ((8, 6, 3), (1, 6, 8), [1], r"heat_maps: expected float32 \(1, 8, 6\), got float32 \(1, 6, 8\)"),
        ((8, 6, 3), (2, 8, 6), [1], r"heat_maps: expected float32 \(1, 8, 6\), got float32 \(2, 8, 6\)"),
        ((8, 6, 3), (0, 8, 6), [], r"class_ids: expected one or more different numbers in 1..254, got \[\]"),
        ((8, 6, 3), (2, 8, 6), [3, 3], r"class_ids: .* got \[3, 3\]"),
        ((8, 6, 3), (1, 8, 6), [255], r"class_ids: .* got \[255\]"),
        ((8, 6, 3), (1, 8, 6), [0], r"class_ids: .* got \[0\]"),
    ],
)
def test_what_does_not_fit_is_named(image: Any, heat_maps: Any, class_ids: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        make_masks(np.zeros(image, np.uint8), np.zeros(heat_maps, np.float32), class_ids=class_ids, settings=EXACT)


def test_a_heat_map_without_signal_is_an_error_that_names_its_class() -> None:
    with pytest.raises(ModelError, match="heat map of class id 2 is 0 everywhere"):
        masks_of(blocks((5, 10, 20, 30)), blocks())


def test_nan_is_an_error_that_names_its_class() -> None:
    with pytest.raises(ShapeError, match=r"heat map of class id 4: .* got NaN in 3840 of 3840 pixels"):
        masks_of(np.full((HEIGHT, WIDTH), np.nan, np.float32))


def test_the_affinity_mask_chooses_gamma() -> None:
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    heat = np.clip(1 - np.hypot(rows - 24, columns - 40) / 30, 0, 1).astype(np.float32)[None]
    image = np.full((HEIGHT, WIDTH, 3), 120, np.uint8)
    settings = EXACT.model_copy(update={"threshold": "affinity", "affinity": "self-attention"})
    chosen = [
        make_masks(
            image,
            heat,
            class_ids=[4],
            settings=settings,
            affinity_maps=np.where(heat >= gamma, 1, 0).astype(np.float32),
        )
        for gamma in (0.37, 0.53)
    ]
    assert chosen[0].thresholds[0] < chosen[1].thresholds[0]
    assert 8 <= len(chosen[0].threshold_curves[0].gammas) < 20
    with pytest.raises(ShapeError, match="the threshold 'affinity' needs the heat maps after affinity, got none"):
        make_masks(image, heat, class_ids=[4], settings=settings)


def test_affinity_labels_leave_what_is_lukewarm_to_the_background() -> None:
    maps = np.array([[[0.4, 0.5, 0.6]], [[0.1, 0.2, 0.9]]], np.float32)
    assert affinity_labels(maps).tolist() == [[0, 1, 2]]


@pytest.mark.parametrize("unary", ["soft", "hard"])
def test_both_unaries_find_the_object(unary: Any) -> None:
    heat = ndimage.gaussian_filter(blocks((8, 20, 40, 60)), 4)
    masks = masks_of(heat / heat.max(), settings=MaskSettings(threshold=0.5, unary=unary))
    assert [found.category for found in masks.objects] == [4]


@pytest.mark.parametrize(("height", "width"), [(64, 64), (64, 2048), (1, 1), (2, 300)])
def test_odd_sizes_have_a_defined_result(height: int, width: int) -> None:
    heat = np.zeros((1, height, width), np.float32)
    heat[0, : height // 2 + 1, : width // 2 + 1] = 1.0
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    if heat.min() == heat.max():
        with pytest.raises(ModelError, match="is 1 everywhere: no attention tells where the class is"):
            make_masks(image, heat, class_ids=[1], settings=MaskSettings())
        return
    masks = make_masks(image, heat, class_ids=[1], settings=MaskSettings())
    assert masks.semantic.shape == (height, width)
    assert set(np.unique(masks.semantic)) <= {0, 1, 255}


def test_a_mask_of_everything_and_a_mask_of_one_pixel() -> None:
    full = np.ones((1, 32, 32), np.float32)
    full[0, 0, 0] = 0.9
    image = np.full((32, 32, 3), 128, np.uint8)
    everything = make_masks(image, full, class_ids=[1], settings=EXACT)
    assert (everything.semantic == 1).all()
    dot = np.zeros((1, 32, 32), np.float32)
    dot[0, 3, 5] = 1.0
    one = make_masks(image, dot, class_ids=[1], settings=EXACT)
    assert [(found.area, found.bbox_xywh) for found in one.objects] == [(1, (5.0, 3.0, 1.0, 1.0))]
    none = make_masks(image, dot, class_ids=[1], settings=EXACT.model_copy(update={"min_area": 0.01}))
    assert (none.objects, none.quality) == ((), 0.0)


def _halves() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Two heat maps, hot at one end each; in the middle both are lukewarm, the first up to column 50."""
    left, right = np.full((HEIGHT, WIDTH), 0.2, np.float32), np.full((HEIGHT, WIDTH), 0.2, np.float32)
    left[:, :30], left[:, 30:50] = 1.0, 0.3
    right[:, 60:], right[:, 50:60] = 1.0, 0.3
    return left, right


def test_without_a_background_each_pixel_belongs_to_the_class_furthest_above_its_threshold() -> None:
    rest = masks_of(*_halves())
    assert rest.semantic[0].tolist() == [4] * 30 + [0] * 30 + [2] * 20
    everything = masks_of(*_halves(), settings=EXACT.model_copy(update={"background": None}))
    assert everything.semantic[0].tolist() == [4] * 50 + [2] * 30
    assert everything.thresholds == rest.thresholds


@pytest.mark.parametrize("unary", ["soft", "hard"])
def test_without_a_background_refinement_and_unsure_pixels_leave_none(unary: Any) -> None:
    settings = MaskSettings(threshold=0.5, background=None, unary=unary)
    masks = masks_of(*_halves(), settings=settings)
    assert set(np.unique(masks.semantic)) <= {2, 4, 255}
    assert (masks.semantic[:, 10] == 4).all()
    assert (masks.semantic[:, 75] == 2).all()


def test_without_a_background_components_that_are_too_small_are_ignored() -> None:
    left, right = _halves()
    right[2:5, 5:8], left[2:5, 5:8] = 1.0, 0.0
    settings = EXACT.model_copy(update={"background": None, "min_area": 0.01})
    masks = masks_of(left, right, settings=settings)
    assert (masks.semantic[2:5, 5:8] == 255).all()
    assert np.count_nonzero(masks.semantic == 255) == 9


def test_without_a_background_the_only_class_covers_the_image() -> None:
    masks = masks_of(blocks((5, 10, 20, 30)), settings=EXACT.model_copy(update={"background": None}))
    assert (masks.semantic == 4).all()
    assert masks.class_qualities == (1.0,)
