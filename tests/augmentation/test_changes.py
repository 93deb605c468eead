import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffumask_datasets.augmentation.changes import blurred, occluded, seen_from_elsewhere, warped
from diffumask_datasets.augmentation.scene import Scene, tidied
from diffumask_datasets.recipes.augment_settings import Blur, Occlude, Perspective
from tests.helpers.scenes import check_row, random_scene, row_of_scene, scenes, told_apart


@settings(max_examples=25)
@given(scene=scenes, other=scenes, seed=st.integers(0, 99))
def test_masks_and_objects_agree_after_occlusion(scene: Scene, other: Scene, seed: int) -> None:
    scene, other = told_apart([scene, other])
    made = tidied(occluded(scene, other, Occlude(), np.random.default_rng(seed)))
    assert made.size == scene.size
    check_row(row_of_scene(made, "-"))


def test_a_patch_brings_image_and_masks_of_the_other() -> None:
    scene, other = random_scene(1), random_scene(2)
    whole = Occlude(patches=(1, 1), size=(1.0, 1.0))
    made = tidied(occluded(scene, other, whole, np.random.default_rng(0)))
    np.testing.assert_array_equal(made.image, other.image)
    np.testing.assert_array_equal(made.label, other.label)
    assert made.things == tidied(other).things
    assert scene.label.max() > 0  # the scene itself is as it was


@settings(max_examples=25)
@given(scene=scenes, seed=st.integers(0, 99))
def test_masks_and_objects_agree_after_perspective(scene: Scene, seed: int) -> None:
    (scene,) = told_apart([scene])
    made = tidied(seen_from_elsewhere(scene, Perspective(), np.random.default_rng(seed)))
    check_row(row_of_scene(made, "-"))


def test_where_perspective_leaves_no_data_is_255_and_black() -> None:
    scene = Scene(np.full((40, 60, 3), 200, np.uint8), np.zeros((40, 60), np.uint8), np.zeros((40, 60), np.int32))
    made = seen_from_elsewhere(scene, Perspective(distortion=0.5), np.random.default_rng(3))
    outside = made.label == 255
    assert 0.05 < outside.mean() < 0.7
    assert (made.image[outside] == 0).all()
    assert (made.image[~outside] == 200).all()


def test_a_shift_by_whole_pixels_moves_everything_alike() -> None:
    scene = random_scene(4)
    made = warped(scene, np.array([1, 0, 3, 0, 1, -2, 0, 0], float))  # (x, y) from (x + 3, y - 2)
    np.testing.assert_array_equal(made.image[2:, :-3], scene.image[:-2, 3:])
    np.testing.assert_array_equal(made.label[2:, :-3], scene.label[:-2, 3:])
    np.testing.assert_array_equal(made.instances[2:, :-3], scene.instances[:-2, 3:])
    assert (made.label[:2] == 255).all()
    assert (made.label[:, -3:] == 255).all()


def test_blur_smooths_the_image_and_leaves_the_masks() -> None:
    scene = random_scene(5)
    soft = blurred(scene, Blur(), np.random.default_rng(0))
    assert soft.label is scene.label
    assert soft.instances is scene.instances
    assert soft.image.std() < scene.image.std() / 2
    assert abs(soft.image.mean() - scene.image.mean()) < 4
    stronger = blurred(scene, Blur(kernel=(22, 22)), np.random.default_rng(0))
    weaker = blurred(scene, Blur(kernel=(6, 6)), np.random.default_rng(0))
    assert stronger.image.std() < weaker.image.std()


@pytest.mark.parametrize("seed", range(3))
def test_the_same_generator_gives_the_same_scene(seed: int) -> None:
    one, two = (seen_from_elsewhere(random_scene(1), Perspective(), np.random.default_rng(seed)) for _ in range(2))
    np.testing.assert_array_equal(one.image, two.image)
