"""Compositions in the benchmark of diversity: their speed, whether they are consistent, and a sheet of them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from diffumask_datasets.augmentation.composition import composed
from diffumask_datasets.augmentation.pipeline import augmented, drawn_others
from diffumask_datasets.augmentation.scene import Origin, Scene, Thing, annotate, tidied
from diffumask_datasets.augmentation.splicing import resized
from diffumask_datasets.dataset.contact_sheet import card_of, overlay, sheet_of
from diffumask_datasets.recipes.augment_settings import Compose, parse_augment
from diffumask_datasets.toybox.scene import Demand, render_scene
from diffumask_datasets.toybox.world import class_id
from tests.helpers.scenes import check_composition

SIDE = 512
ROUNDS = 60

SHEET = {
    "image": None,
    "compose:3": {"kind": "compose", "objects": [3, 3], "scale": [0.4, 0.7]},
    "compose:6": {"kind": "compose", "objects": [6, 6], "scale": [0.3, 0.6]},
    "compose:10": {"kind": "compose", "objects": [10, 10], "scale": [0.2, 0.5]},
}


def drawn_scene(seed: int, *, count: int = 1) -> Scene:
    """A drawn scene of the toybox with exact instances."""
    drawn = render_scene(seed, demand=Demand(count=count))
    numbers = {item.instance_id: class_id(item.class_name) for item in drawn.objects}
    table = np.zeros(256, np.uint8)
    table[list(numbers)] = list(numbers.values())
    instances = drawn.instances.astype(np.int32)
    things = tuple(Thing(numbers[number], 1.0) for number in sorted(numbers))
    origin = Origin(f"scene {seed}", quality=1.0)
    return Scene(np.ascontiguousarray(drawn.image), table[drawn.instances], instances, things, (origin,))


def compositions_per_second() -> Iterator[tuple[str, float]]:
    """Images a second of one core with six objects at 512x512, from decoded samples to pixels, masks and objects."""
    scenes = [resized(drawn_scene(seed), height=SIDE, width=SIDE) for seed in range(8)]
    for blend in ("hard", "soft", "matched"):
        settings = Compose.model_validate({"objects": [6, 6], "scale": [0.3, 0.7], "blend": blend})
        rng, seconds = np.random.default_rng(0), []
        for _ in range(ROUNDS):
            started = time.process_time()
            made = tidied(composed(scenes[0], lambda count, _: scenes[1 : count + 1], settings, rng))
            annotate(made)
            # The time of this core, and of whole scenes only: rarely one of the six finds no place.
            seconds += [time.process_time() - started] if len(made.things) == 6 else []
        yield f"compositions_{blend}_per_second", 1 / float(np.median(seconds))
        yield f"compositions_{blend}_per_second_best", 1 / min(seconds)


def composition_faults(count: int) -> Iterator[tuple[str, float]]:
    """How many of ``count`` random compositions are not consistent."""
    faults = 0
    for seed in range(count):
        try:
            check_composition(seed)
        except AssertionError as fault:
            print(f"composition {seed}: {fault}", flush=True)
            faults += 1
    yield "compositions_checked", count
    yield "composition_faults", faults


def save_compositions(plain: Sequence[Scene], path: Path, *, lines: int = 8) -> None:
    """A line for each of the first images: as it was generated, and composed more and more densely, with the masks."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet_of([_card(plain, position) for position in range(min(lines, len(plain)))], columns=1).save(path)


def _card(plain: Sequence[Scene], position: int) -> Any:
    others = drawn_others(plain.__getitem__, position, range(len(plain)))
    scenes = [
        augmented(plain[position], parse_augment(step), seed=0, key=str(position), others=others)
        if step
        else plain[position]
        for step in SHEET.values()
    ]
    tiles = [tile for scene in scenes for tile in (scene.image, overlay(scene.image, scene.label))]
    return card_of(tiles, caption=" · ".join(SHEET))
