"""Compositions: exact instances, masks and boxes; what is pasted where; what is refused."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffumask_datasets.augmentation.backgrounds import pin_backgrounds
from diffumask_datasets.augmentation.composition import composed
from diffumask_datasets.augmentation.scene import Origin, Others, Scene, Thing, tidied
from diffumask_datasets.errors import RecipeError
from diffumask_datasets.recipes.augment_settings import Compose
from diffumask_datasets.recipes.recipe import Recipe
from tests.helpers.scenes import check_composition

CLASSES = ("car", "boat", "tree")


def square(
    side: int,
    *,
    at: tuple[int, int] = (8, 8),
    category: int = 1,
    size: tuple[int, int] = (32, 32),
    quality: float = 1.0,
) -> Scene:
    """A square of the grey 60 * category on grey 10; what is 255 in the mask is a pixel wide around it."""
    image = np.full((*size, 3), 10, np.uint8)
    label, instances = np.zeros(size, np.uint8), np.zeros(size, np.int32)
    top, left = at
    around = (slice(max(0, top - 1), top + side + 1), slice(max(0, left - 1), left + side + 1))
    inside = (slice(top, top + side), slice(left, left + side))
    image[around], label[around] = 60 * category, 255
    label[inside], instances[inside] = category, 1
    origin = Origin(f"square {category}", {category: 0.5}, quality)
    return Scene(image, label, instances, (Thing(category, 0.5),), (origin,))


def empty(size: tuple[int, int] = (32, 32)) -> Scene:
    return Scene(np.full((*size, 3), 10, np.uint8), np.zeros(size, np.uint8), np.zeros(size, np.int32))


def lending(*scenes: Scene) -> Others:
    def draw(count: int, rng: np.random.Generator) -> Sequence[Scene]:
        return [scenes[index % len(scenes)] for index in range(count)]

    return draw


def compose(scene: Scene, *lenders: Scene, seed: int = 0, classes: Sequence[str] = CLASSES, **fields: Any) -> Scene:
    (step,) = pin_backgrounds([Compose(**fields)], tuple((name, name) for name in classes))
    assert isinstance(step, Compose)
    return composed(scene, lending(*lenders), step, np.random.default_rng(seed), classes=classes)


@settings(max_examples=60)
@given(seed=st.integers(0, 10**6))
def test_random_compositions_are_consistent(seed: int) -> None:
    check_composition(seed)


def test_a_whole_object_arrives_with_its_pixels() -> None:
    made = compose(empty(), square(10), objects=(1, 1), scale=(1, 1), blend="hard")
    mask = made.instances == 1
    assert mask.sum() == 100
    assert (made.label[mask] == 1).all()
    assert (made.image[mask] == 60).all()
    assert (made.image[~mask] == 10).all()
    assert not (made.label[~mask]).any()
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    assert (len(rows), len(columns)) == (10, 10)
    assert (made.things, made.origins[1].prompt) == ((Thing(1, 0.5),), "square 1")


def test_what_refinement_left_open_stays_255_and_half_transparent() -> None:
    made = compose(empty(), square(10), objects=(1, 1), scale=(1, 1), blend="soft")
    undecided = made.label == 255
    assert (made.instances == 1).sum() == 100
    assert undecided.sum() == 12 * 12 - 10 * 10
    assert ((made.image[undecided] > 20) & (made.image[undecided] < 50)).all()
    assert (made.image[made.label == 0] < 25).all()


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize(
    ("at", "sides"), [((0, 8), "top"), ((22, 8), "bottom"), ((8, 0), "left"), ((22, 22), "corner")]
)
def test_an_object_that_a_border_cut_off_stays_at_that_border(at: tuple[int, int], sides: str, mirror: bool) -> None:
    found = set()
    for seed in range(12):
        fields = {"objects": (1, 1), "scale": (0.5, 1), "mirror": mirror}
        made = compose(empty((48, 64)), square(10, at=at), seed=seed, **fields)
        mask = made.instances == 1
        edges = {"top": mask[0], "bottom": mask[-1], "left": mask[:, 0], "right": mask[:, -1]}
        found.add(frozenset(name for name, line in edges.items() if line.any()))
    expected = {"corner": [{"bottom", "right"}, {"bottom", "left"}], "left": [{"left"}, {"right"}]}.get(
        sides, [{sides}]
    )
    assert found == {frozenset(names) for names in (expected if mirror else expected[:1])}


def test_enough_of_each_object_stays_visible() -> None:
    for seed in range(20):
        base = square(16, category=2)
        made = tidied(compose(base, square(14), seed=seed, objects=(6, 6), scale=(1, 1), min_visible=0.7, blend="hard"))
        areas = np.bincount(made.instances.ravel())[1:]
        assert areas[0] >= 0.7 * 16 * 16
        assert (areas[1:] >= 0.7 * 14 * 14).all()


def test_the_number_of_objects_counts_those_that_are_there() -> None:
    lenders = [square(8, category=category, at=(4, 4)) for category in (1, 2, 3)]
    wide = square(8, size=(96, 96))
    made = compose(wide, *lenders, objects=(5, 5), scale=(0.5, 0.5))
    assert len(made.things) == 5
    assert compose(wide, *lenders, objects=(1, 1)).things == wide.things


def test_one_class_alone_gives_several_objects_of_it() -> None:
    made = compose(square(8, size=(96, 96)), square(8, at=(3, 5)), square(6), objects=(6, 6), scale=(0.8, 1))
    assert [thing.category for thing in made.things] == [1] * 6


def test_sizes_by_class() -> None:
    sizes = {"car": [0.5, 0.5], "*": [0.25, 0.25]}
    for category, side in ((1, 32), (2, 16)):
        lender = square(10, category=category)
        made = compose(empty((64, 64)), lender, objects=(1, 1), sizes=sizes, blend="hard")
        assert abs(np.sqrt((made.instances == 1).sum()) - side) <= 2


def test_classes_that_do_not_occur_together_are_not_composed() -> None:
    lenders = [square(8, category=category) for category in (1, 2, 3)]
    together = [("car", "tree", 1.0), ("tree", "car", 1.0)]
    wide = square(8, size=(96, 96))
    seen = {
        thing.category
        for seed in range(10)
        for thing in compose(wide, *lenders, seed=seed, objects=(3, 3), scale=(0.3, 0.3), co_occurrence=together).things
    }
    assert seen == {1, 3}
    alone = compose(wide, lenders[1], objects=(4, 4), co_occurrence=together)
    assert alone.things == wide.things


def test_heat_goes_with_its_object() -> None:
    lender = square(10, category=2)
    lender = lender.replaced(heat_maps={2: np.where(lender.label == 2, 200, 7).astype(np.uint8)})
    base = square(8, at=(2, 2), size=(32, 32))
    base = base.replaced(heat_maps={1: np.full((32, 32), 90, np.uint8)})
    made = compose(base, lender, objects=(2, 2), scale=(1, 1), blend="hard")
    pasted = made.instances == 2
    assert (made.heat_maps[2][pasted] == 200).all()
    assert (made.heat_maps[1][pasted] == 0).all()
    assert (made.heat_maps[1][~pasted] == 90).all()
    assert (made.heat_maps[2][~pasted] == 0).all()


def test_light_and_sharpness_are_matched() -> None:
    noise = np.random.default_rng(0).integers(60, 140, (32, 32, 3), dtype=np.uint8)
    lender = square(16)
    lender = lender.replaced(image=np.where((lender.label == 1)[..., None], noise, lender.image))

    def contrast(blend: str) -> tuple[float, float]:
        made = compose(empty(), lender, objects=(1, 1), scale=(1, 1), mirror=False, blend=blend)
        inside = made.image[made.instances == 1].astype(float)
        return float(inside.mean()), float(inside.std())

    (soft_light, soft_detail), (light, detail) = contrast("soft"), contrast("matched")
    assert light == pytest.approx(soft_light - 0.3 * (soft_light - 10), abs=3)
    assert detail < 0.7 * soft_detail


def test_labels_without_instances_lend_connected_regions() -> None:
    lender = square(8).replaced(instances=np.zeros((32, 32), np.int32), things=())
    assert compose(empty(), lender, objects=(1, 1)).things == (Thing(1, 1.0),)


def on_a_road(scene: Scene) -> Scene:
    """The scene with what was background as one region of class 3."""
    ground = scene.instances == 0
    things = (*scene.things, Thing(3, 1.0))
    return scene.replaced(
        label=np.where(scene.label == 0, 3, scene.label).astype(np.uint8),
        instances=np.where(ground & (scene.label == 0), len(things), scene.instances),
        things=things,
    )


def test_stuff_is_neither_cut_out_nor_counted_and_may_be_covered() -> None:
    road = on_a_road(empty((48, 48)))
    fields = {"objects": (4, 4), "scale": (0.5, 0.7), "min_visible": 1.0}
    with pytest.raises(RecipeError, match="no sample is good enough to cut an object from"):
        compose(road, on_a_road(square(10)), **fields)  # taken for an object, a road hides what stands on it
    made = compose(road, on_a_road(square(10)), **fields, stuff=("tree",))
    assert [thing.category for thing in made.things] == [3, 1, 1, 1, 1]
    assert (made.label[made.instances == 1] == 3).all()
    covered = compose(road, square(40, at=(4, 4), size=(48, 48)), objects=(1, 1), scale=(1, 1), stuff=("tree",))
    assert (covered.instances == 2).sum() == 1600
    lifted = compose(on_a_road(square(10)), square(10), objects=(1, 1), scale=(1, 1), lift=True, stuff=("tree",))
    assert set(np.unique(lifted.label)) == {1, 3, 255}  # which stuff was behind the object is not known


def hidden_by_another() -> Scene:
    scene = square(10)
    label, instances = scene.label.copy(), scene.instances.copy()
    label[8:18, 18:28], instances[8:18, 18:28] = 2, 2
    return scene.replaced(label=label, instances=instances, things=(*scene.things, Thing(2, 1.0)))


def with_parts(second: int) -> Scene:
    """A square of 10 pixels a side, and a second part of its instance in a corner."""
    scene = square(10, at=(16, 16))
    label, instances = scene.label.copy(), scene.instances.copy()
    label[1 : 1 + second, 1 : 1 + second], instances[1 : 1 + second, 1 : 1 + second] = 1, 1
    return scene.replaced(label=label, instances=instances)


def test_crumbs_are_left_behind() -> None:
    made = compose(empty(), with_parts(3), objects=(1, 1), scale=(1, 1))
    assert (made.instances == 1).sum() == 100


@pytest.mark.parametrize(
    "lender",
    [with_parts(6), square(10, quality=0.4), square(32, at=(0, 0)), square(3), hidden_by_another(), empty()],
    ids=["two parts", "quality", "cut off on all sides", "tiny", "touching", "empty"],
)
def test_no_sample_good_enough_to_cut_from(lender: Scene) -> None:
    with pytest.raises(
        RecipeError, match=r"no sample is good enough to cut an object from: it takes a quality of 0\.5"
    ):
        compose(empty(), lender.replaced(origins=(Origin("", {}, lender.origins[0].quality or 1.0),)), objects=(2, 2))


def test_one_good_sample_within_reach_is_found() -> None:
    poor, good = square(10, quality=0.2), square(10, category=2)
    made = compose(empty(), *[poor] * 20, good, objects=(3, 3), scale=(0.3, 0.5))
    assert {thing.category for thing in made.things} == {2}
    assert len(made.things) == 3


def test_cutouts_larger_than_the_background_are_made_smaller() -> None:
    made = compose(empty((16, 24)), square(200, at=(20, 20), size=(240, 240)), objects=(1, 1), scale=(3, 3))
    assert made.size == (16, 24)
    assert 100 <= (made.instances == 1).sum() <= 16 * 16


def test_an_image_too_small_to_paste_on() -> None:
    with pytest.raises(
        RecipeError, match=r"cannot be composed on an image of 6x40 pixels \(height x width\); expected 8"
    ):
        compose(empty((6, 40)), square(10), objects=(1, 1))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("compose:0", "augment: 0.compose.objects: give .smallest, largest. with 0 < smallest"),
        ("compose:many", "valid integer"),
        ({"kind": "compose", "objects": [6, 3]}, "0 < smallest <= largest"),
        ({"kind": "compose", "min_visible": 0}, "greater than 0"),
        ({"kind": "compose", "sizes": {"car": [0.5, 2]}}, "car: give .smallest, largest. with .* <= 1"),
        (
            {"kind": "compose", "objects": [40, 40], "sizes": {"*": [0.5, 0.6]}},
            "40 objects of at least 0.5 .* do not fit",
        ),
        ({"kind": "compose", "sizes": {"caar": [0.1, 0.2]}}, "compose names the class 'caar' .did you mean 'car'"),
        ({"kind": "compose", "blend": "poisson"}, "'hard', 'soft' or 'matched'"),
    ],
)
def test_bad_settings(fields: Any, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Recipe.of(classes=CLASSES, augment=fields)


def test_a_target_of_density_is_the_last_step() -> None:
    dense = Recipe.of(classes=CLASSES, augment="blur", objects_per_image=8)
    assert dense == Recipe.of(classes=CLASSES, augment=["blur", "compose:8"])
    assert Recipe.of(classes=CLASSES, objects_per_image=[2, 4]) == Recipe.of(classes=CLASSES, augment="compose:2-4")
    with pytest.raises(RecipeError, match="0 < smallest <= largest"):
        Recipe.of(classes=CLASSES, objects_per_image=0)


def test_a_number_of_objects_as_text() -> None:
    recipe = Recipe.of(classes=CLASSES, augment=["compose:8", "compose:2-4"])
    assert [step.objects for step in recipe.augment if isinstance(step, Compose)] == [(8, 8), (2, 4)]
    assert Recipe.of(**recipe.model_dump(mode="json")) == recipe


def mask_of(scene: Scene, number: int) -> Any:
    region, inside = scene.amodal[number - 1]
    mask = np.zeros(scene.size, bool)
    mask[region] = inside
    return mask


def test_amodal_masks_are_those_from_before_anything_was_pasted_over() -> None:
    base = square(16, category=2)
    for seed in range(6):
        made = tidied(compose(base, square(14), seed=seed, objects=(5, 5), scale=(1, 1), min_visible=0.3, blend="hard"))
        assert len(made.amodal) == len(made.things)
        own, *pasted = (mask_of(made, number) for number in range(1, len(made.things) + 1))
        assert (own == (base.instances == 1)).all()
        assert [int(mask.sum()) for mask in pasted] == [14 * 14] * len(pasted)
        hidden = 0
        for number in range(1, len(made.things) + 1):
            mask = mask_of(made, number)
            assert mask[made.instances == number].all()
            covered = made.instances[mask & (made.instances != number)]
            assert (covered > number).all()  # by what was pasted later
            hidden += covered.size
        assert hidden > 0
    again = tidied(compose(made, square(12), objects=(7, 7), scale=(1, 1), min_visible=0.1, blend="hard"))
    assert len(again.amodal) > len(made.amodal)
    assert (mask_of(again, 1) == mask_of(made, 1)).all()
