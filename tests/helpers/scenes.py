"""Scenes and rows for the tests of augmentation, and what must hold of every one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from hypothesis import strategies as st
from scipy import ndimage

from diffumask_datasets.augmentation.composition import composed
from diffumask_datasets.augmentation.scene import Origin, Scene, Thing, annotate, tidied
from diffumask_datasets.dataset.schema import decode_image, decode_label, png_cell
from diffumask_datasets.errors import RecipeError
from diffumask_datasets.masks.rle import decode
from diffumask_datasets.recipes.augment_settings import Compose

CLASSES = ("car", "boat", "tree")
BLENDS: Sequence[Literal["hard", "soft", "matched"]] = ("hard", "soft", "matched")


def random_scene(seed: int, *, height: int = 24, width: int = 32, things: int = 3) -> Scene:
    """Rectangles on noise; every class pixel belongs to an instance, a border of the first is 255."""
    rng = np.random.default_rng(seed)
    label, instances = np.zeros((height, width), np.uint8), np.zeros((height, width), np.int32)
    known = []
    for number in range(1, things + 1):
        top, left = int(rng.integers(0, height - 1)), int(rng.integers(0, width - 1))
        box = (slice(top, top + int(rng.integers(1, height))), slice(left, left + int(rng.integers(1, width))))
        category = int(rng.integers(1, len(CLASSES) + 1))
        label[box], instances[box] = category, number
        known.append(Thing(category, float(np.float32(rng.random()))))
    if things:
        label[0], instances[0] = 255, 0
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    origin = Origin(f"prompt {seed}", {category: category / 8 for category in range(1, 4)}, 0.5)
    return Scene(image, label, instances, tuple(known), (origin,))


def told_apart(scenes: Sequence[Scene]) -> list[Scene]:
    """The scenes with a class of its own for every instance of them all: each pixel then says whose it is."""
    made, first = [], 0
    for scene in scenes:
        classes = np.array([0, *range(first + 1, first + 1 + len(scene.things))], np.uint8)
        label = np.where(scene.label == 255, np.uint8(255), classes[scene.instances])
        things = tuple(Thing(int(own), thing.score) for own, thing in zip(classes[1:], scene.things, strict=True))
        made.append(scene.replaced(label=label, things=things))
        first += len(scene.things)
    return made


def row_of_scene(scene: Scene, sample_id: str) -> dict[str, Any]:
    """The ``default`` row of a scene."""
    rest = {"sample_id": sample_id, "seed": 1, "model": "planted"}
    return {**rest, "image": png_cell(scene.image), "label": png_cell(scene.label), **annotate(scene)}


def check_row(row: dict[str, Any]) -> None:
    """Image, mask and objects say the same: RLE, area, box, classes; ids never leak from one object to another."""
    label, objects = decode_label(row["label"]), row["objects"]
    assert decode_image(row["image"]).shape == (*label.shape, 3)
    covered = np.zeros(label.shape, int)
    assert objects["id"] == list(range(1, len(objects["id"]) + 1))
    for position, category in enumerate(objects["category"]):
        mask = decode(objects["segmentation"][position], label.shape)
        assert mask.shape == label.shape
        assert mask.any()
        assert set(np.unique(label[mask]).tolist()) == {category}
        assert objects["area"][position] == mask.sum()
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        box = [columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1]
        assert objects["bbox"][position] == [float(edge) for edge in box]
        covered += mask
    assert covered.max(initial=0) <= 1
    visible = sorted(set(np.unique(label).tolist()) - {0, 255})
    assert row["classes"] == visible
    assert len(row["threshold"]) == len(visible)
    # In these scenes every class pixel belongs to an object.
    assert ((covered > 0) == np.isin(label, visible)).all()
    assert sum(objects["area"]) == int(np.isin(label, visible).sum())


scenes = st.builds(
    random_scene,
    st.integers(0, 10**6),
    height=st.integers(16, 40),
    width=st.integers(16, 40),
    things=st.integers(0, 4),
)


def check_composition(seed: int) -> None:
    """A random composition of scenes and settings is consistent, and says whose each pixel is."""
    rng = np.random.default_rng(seed)
    size = {"height": int(rng.integers(24, 80)), "width": int(rng.integers(24, 80))}
    made = [random_scene(int(rng.integers(10**6)), things=int(rng.integers(1, 5)), **size) for _ in range(6)]
    base, *lenders = told_apart(made)
    least, scale = int(rng.integers(1, 6)), float(rng.uniform(0.1, 1.2))
    step = Compose(
        objects=(least, least + int(rng.integers(0, 4))),
        scale=(scale, scale * 1.5),
        min_visible=float(rng.uniform(0.1, 1)),
        blend=BLENDS[int(rng.integers(3))],
    )
    try:
        scene = composed(base, lambda count, _: [lenders[n % 5] for n in range(count)], step, rng)
    except RecipeError:  # rectangles that hide each other lend nothing
        return
    before, after = (np.bincount(one.instances.ravel(), minlength=len(base.things) + 1) for one in (base, scene))
    own = len(base.things) + 1
    assert (after[1:own] >= step.min_visible * before[1:own]).all()
    assert (after[own:] > 0).all()
    assert len(after) - 1 <= max(step.objects[1], np.count_nonzero(before[1:])) + np.count_nonzero(before[1:own] == 0)
    unchanged = (scene.instances > 0) & (scene.instances < own)
    assert (scene.instances[unchanged] == base.instances[unchanged]).all()
    pasted = (scene.instances != base.instances) | (scene.label != base.label)
    away = ~ndimage.binary_dilation(pasted, np.ones((15, 15)))  # beyond every soft edge
    assert (scene.image[away] == base.image[away]).all()
    assert scene.label[scene.instances == 0].max(initial=0) in (0, 255)
    check_row(row_of_scene(tidied(scene), "-"))
