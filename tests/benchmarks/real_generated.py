"""The part ``generated`` of bench_real: labelled images of the model itself, with what they cost."""

from __future__ import annotations

import time
from collections.abc import Iterator

from PIL import Image

from diffumask_datasets.dataset.contact_sheet import card_of, heat_tile, overlay
from diffumask_datasets.errors import ModelError
from diffumask_datasets.generation.sample_generator import GeneratedImage, SampleGenerator
from diffumask_datasets.recipes.recipe import Recipe
from diffumask_datasets.sample import Sample
from tests.benchmarks.real_memory import forget_peak, peak_megabytes
from tests.benchmarks.real_records import Record, Records, key_of


def generated(
    recipe: Recipe, records: Records, *, count: int, batch_size: int, deadline: float
) -> Iterator[tuple[Record, bool]]:
    """The records of images 0, 1, …, and whether each was made now; stops at the deadline.

    Args:
        recipe: A prepared recipe.
        records: Where finished images are.
        count: The most images.
        batch_size: How many are generated at once.
        deadline: The time of ``time.monotonic`` from which on no batch begins.

    Raises:
        ModelError: the model cannot be loaded, or cannot generate what the recipe asks for.
    """
    generator, warm = SampleGenerator(recipe, batch_size=batch_size), False
    for first in range(0, count, batch_size):
        keys = [key_of("generated", recipe.digest, batch_size, index) for index in range(first, first + batch_size)]
        known = [records.get(key) for key in keys]
        if all(record is not None for record in known):
            yield from ((record, False) for record in known if record is not None)
            continue
        if time.monotonic() >= deadline:
            return
        forget_peak()
        started = time.monotonic()
        images = generator.generate(first, range(first, first + batch_size))
        seconds, megabytes = (time.monotonic() - started) / batch_size, peak_megabytes()
        for key, image in zip(keys, images, strict=True):
            record, picture = _labelled(generator, image)
            yield records.put(key, {**record, "seconds": seconds, "megabytes": megabytes, "warm": warm}, picture), True
        warm = True  # the first batch also loads the model and lets its kernels be chosen


def _labelled(generator: SampleGenerator, image: GeneratedImage) -> tuple[Record, Image.Image]:
    started = time.monotonic()
    try:
        sample = generator.sample(image)
    except ModelError as error:
        card = card_of([image.image], caption=f"no mask · {image.prompt}")
        record = {"prompt": image.prompt, "quality": 0.0, "maskless": len(image.prompted), "error": str(error)}
        return {**record, "mask_seconds": time.monotonic() - started}, card
    seconds = time.monotonic() - started
    record = {"prompt": sample.prompt, "quality": sample.quality, "maskless": len(sample.maskless), "error": None}
    return {**record, "mask_seconds": seconds}, _card(sample)


def _card(sample: Sample) -> Image.Image:
    tiles = [sample.image, overlay(sample.image, sample.label)]
    if sample.heat_maps is not None:
        tiles.append(heat_tile(sample.heat_maps))
    return card_of(tiles, caption=f"quality {sample.quality:.2f} · {sample.prompt}")
