"""How varied prompts and images are, what splicing costs, and what augmentation brings. Run by ``make bench-diversity``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from diffumask_datasets.augmentation.pipeline import augmented, drawn_others
from diffumask_datasets.augmentation.scene import Scene, annotate, scene_of, tidied
from diffumask_datasets.augmentation.splicing import spliced
from diffumask_datasets.dataset.schema import Row, decode_image, decode_label
from diffumask_datasets.generation.prepare import prepare
from diffumask_datasets.generation.samples import GeneratedSamples, Runtime
from diffumask_datasets.prompts.sources import prompt_for
from diffumask_datasets.prompts.wording import fill, noun
from diffumask_datasets.recipes.augment_settings import parse_augment
from diffumask_datasets.recipes.recipe import Recipe
from diffumask_datasets.recipes.vocabulary import VOCABULARIES, load_vocabulary
from diffumask_datasets.toybox.captions import PLACES
from diffumask_datasets.toybox.scene import Demand, render_scene
from diffumask_datasets.toybox.world import BACKGROUNDS, CLASS_NAMES, COLOURS
from tests.benchmarks.diversity_compositions import composition_faults, compositions_per_second, save_compositions
from tests.benchmarks.diversity_harmonize import harmonized
from tests.benchmarks.diversity_networks import segmenter_miou, trained_judge
from tests.benchmarks.harness import ROOT, run
from tests.helpers.byte_pairs import byte_pair_tokenizer
from tests.helpers.scenes import random_scene
from tests.helpers.sentence_pieces import sentence_piece_tokenizer
from tests.helpers.spans import TEMPLATES, known_words, missed

TOYBOX = {
    name: {
        "terms": [name],
        "sub_classes": list(COLOURS),
        "contexts": [text for texts in PLACES.values() for text in texts],
    }
    for name in CLASS_NAMES
}
"""The toybox's classes with the colours and places that it knows, as sub-classes and contexts."""

SOURCE = {"kind": "sub_classes", "styles": ["a photo of {classes}", "a picture of {classes}", "an image of {classes}"]}
RECIPES: Mapping[str, Mapping[str, Any]] = {
    "plain": {"classes": list(CLASS_NAMES)},
    "varied": {"classes": TOYBOX, "prompt_source": SOURCE},
}
COMPOSE = {"kind": "compose", "objects": [3, 5], "scale": [0.4, 0.7]}
"""About as many objects, of about the sizes, as the held-out scenes have."""
AUGMENTATIONS = {
    "splice": ["splice:2x2"],  # a grid of the tiles that give about as many objects as the held-out scenes have
    "splice_any_grid": ["splice"],
    "blur": [{"kind": "blur", "kernel": [2, 5]}],  # the paper's 6 to 22 pixels are for 512x512
    "occlude": ["occlude"],
    "perspective": ["perspective"],
    "compose": [COMPOSE],
    "compose_hard": [{**COMPOSE, "blend": "hard"}],
    "compose_matched": [{**COMPOSE, "blend": "matched"}],
    "compose_lifted": [{**COMPOSE, "lift": True}],
    "compose_dense": [{**COMPOSE, "objects": [6, 9]}],
}

LENDERS = 16
"""Generated images of the sheet of compositions: those that lend each other objects."""


@dataclass(frozen=True)
class Sizes:
    """How much is done. A training of the segmenter takes ``segmenter_steps`` whatever the number of its images."""

    prompts: int
    generated: int
    scenes: int
    judge_steps: int
    segmenter_steps: int
    seeds: int
    compositions: int
    harmonized: int


QUICK = Sizes(
    prompts=200, generated=24, scenes=80, judge_steps=150, segmenter_steps=60, seeds=2, compositions=200, harmonized=3
)
FULL = Sizes(
    prompts=1000,
    generated=300,
    scenes=600,
    judge_steps=1200,
    segmenter_steps=500,
    seeds=3,
    compositions=10_000,
    harmonized=24,
)
"""About twenty minutes of one core, two thirds of them for the images."""

Figures = Iterator[tuple[str, float]]
PARTS = ("prompts", "splicing", "spread", "gains", "compose", "harmonize")


def measure(quick: bool, parts: Sequence[str]) -> Mapping[str, float]:
    sizes = QUICK if quick else FULL
    with TemporaryDirectory() as folder:
        generated = _Generated(sizes.generated, folder)
        measures: Mapping[str, Callable[[], Figures]] = {
            "prompts": lambda: _prompts(sizes.prompts),
            "splicing": _splices_per_second,
            "spread": lambda: _spread(generated, sizes),
            "gains": lambda: _gains(generated["plain"], sizes),
            "harmonize": lambda: harmonized(sizes.harmonized, Path(folder), _docs(quick) / "harmonized.png"),
            "compose": lambda: _compose(_Generated(LENDERS, folder)["plain"], sizes, quick=quick),
        }
        figures = {}
        for part in parts:
            for name, number in measures[part]():
                # As they come: whoever waits sees how far it is, and what is there if it is stopped.
                print(f"{name}  {number:.4g}", flush=True)
                figures[name] = number
    return figures


class _Generated:
    """The samples of a recipe, generated when first asked for."""

    def __init__(self, count: int, folder: str) -> None:
        self._count, self._folder = count, Path(folder)
        self._rows: dict[str, list[Row]] = {}

    def __getitem__(self, name: str) -> list[Row]:
        if name not in self._rows:
            recipe = Recipe.of(**RECIPES[name])
            generator = GeneratedSamples(prepare(recipe), Runtime(batch_size=4, store=self._folder))
            self._rows[name] = [row for _, row in generator.rows(0, self._count)]
        return self._rows[name]


def _prompts(count: int) -> Figures:
    recipes = {
        "": Recipe.of(classes="voc", model="me/sd"),
        "_template": Recipe.of(classes="voc", model="me/sd", prompts="a photo of {classes}"),
        "_coco": Recipe.of(classes="coco", model="me/sd"),
    }
    for name, recipe in recipes.items():
        texts = {prompt_for(recipe, index).text for index in range(count)}
        yield f"distinct_prompts_per_1000{name}", 1000 * len(texts) / count
    yield "span_misses", _span_misses(count)


def _span_misses(count: int) -> int:
    """Over every built-in class and template, and drawn prompts of two classes, for both kinds of tokenizer."""
    words = known_words()
    tokenizers = (
        byte_pair_tokenizer(tuple(f"{word}</w>" for word in words), model_max_length=512),
        sentence_piece_tokenizer(words, model_max_length=512),
    )
    prompts = [
        fill(template, [noun(entry.words, term=term)])
        for name in VOCABULARIES
        for entry in load_vocabulary(name).classes
        for term in entry.words.terms
        for template in TEMPLATES
    ]
    for name in VOCABULARIES:
        recipe = Recipe.of(classes=name, model="me/sd", classes_per_image=2)
        prompts += [prompt_for(recipe, index) for index in range(count // 4)]
    return sum(bool(missed(prompt, tokenizer)) for tokenizer in tokenizers for prompt in prompts)


def _splices_per_second() -> Figures:
    """Images a second of one core at 512x512, from decoded tiles to pixels, masks and objects."""
    tiles = [random_scene(seed, height=512, width=512, things=4) for seed in range(4)]

    def once() -> None:
        annotate(tidied(spliced(tiles, 2, 2, size=(512, 512))))

    once()
    seconds = []
    for _ in range(50):
        # The time of this core: other work on the machine is none of ours.
        started = time.process_time()
        once()
        seconds.append(time.process_time() - started)
    # The fastest: what makes the others slower is other work on the machine, which shares its caches.
    yield "splice_2x2_per_second", 1 / min(seconds)


def _spread(generated: _Generated, sizes: Sizes) -> Figures:
    """Entropy in bits of what a judge sees in the images: background and colour (of 8, so at most 3), cell of a 3x3 grid."""
    judge = trained_judge(scenes=4 * sizes.scenes, steps=sizes.judge_steps)
    drawn = [render_scene(seed, split="test", demand=Demand(count=1)) for seed in range(sizes.scenes // 2)]
    ground, colour = judge([scene.image for scene in drawn])
    right_ground = ground == [BACKGROUNDS.index(scene.background) for scene in drawn]
    right_colour = colour == [list(COLOURS).index(scene.objects[0].colour) for scene in drawn]
    yield "judge_background_accuracy", float(np.mean(right_ground))
    yield "judge_colour_accuracy", float(np.mean(right_colour))
    for name in RECIPES:
        rows = generated[name]
        ground, colour = judge([decode_image(row["image"]) for row in rows])
        cells = [cell for row in rows for cell in [_cell(decode_label(row["label"]))] if cell is not None]
        yield f"background_entropy_{name}", _entropy(ground, len(BACKGROUNDS))
        yield f"colour_entropy_{name}", _entropy(colour, len(COLOURS))
        yield f"position_entropy_{name}", _entropy(np.array(cells, int), 9)


def _cell(label: np.ndarray) -> int | None:
    """In which cell of a 3x3 grid the centre of the classes lies."""
    places = np.argwhere((label > 0) & (label < 255))
    if not len(places):
        return None
    row, column = (places.mean(axis=0) * 3 / label.shape).astype(int)
    return int(row * 3 + column)


def _entropy(values: np.ndarray, kinds: int) -> float:
    shares = np.bincount(values, minlength=kinds) / max(1, len(values))
    return float(sum(share * np.log2(1 / share) for share in shares if share))


def _compose(rows: Sequence[Row], sizes: Sizes, *, quick: bool) -> Figures:
    """What compositions cost and whether they are consistent, with a sheet of them; ``gains`` says what they bring."""
    save_compositions([scene_of(row) for row in rows], _docs(quick) / "compositions.png")
    yield from compositions_per_second()
    yield from composition_faults(sizes.compositions)


def _docs(quick: bool) -> Path:
    """Where pictures go."""
    return ROOT / ("build" if quick else "docs")


def _gains(rows: Sequence[Row], sizes: Sizes) -> Figures:
    """mIoU on held-out drawn scenes of several objects: trained on generated samples, alone and with each augmentation.

    A gain is the mean over seeds of mIoU with the augmented samples minus mIoU without, both trained from the same first
    weights; its deviation is that of one seed's gain.
    """
    held_out = [render_scene(seed, split="test", demand=Demand(count=2 + seed % 2)) for seed in range(sizes.scenes)]
    plain = [scene_of(row) for row in rows]

    def mious(steps: Any) -> np.ndarray:
        found = []
        for seed in range(sizes.seeds):
            scenes = [*plain, *_varied(plain, steps, seed)] if steps else plain
            found.append(segmenter_miou(scenes, held_out, steps=sizes.segmenter_steps, seed=seed))
        return np.array(found)

    base = mious(None)
    yield "plain_miou", float(base.mean())
    yield "plain_miou_deviation", float(base.std(ddof=1))
    for name, steps in AUGMENTATIONS.items():
        gains = mious(steps) - base
        yield f"{name}_gain_miou", float(gains.mean())
        yield f"{name}_gain_miou_deviation", float(gains.std(ddof=1))


def _varied(plain: Sequence[Scene], steps: Any, seed: int) -> list[Scene]:
    parsed = parse_augment(steps)
    made = []
    for position, scene in enumerate(plain):
        others = drawn_others(plain.__getitem__, position, range(len(plain)))
        made.append(augmented(scene, parsed, seed=seed, key=str(position), others=others))
    return made


if __name__ == "__main__":
    run("diversity", measure, parts=PARTS, keeps=True)
