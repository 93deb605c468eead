"""How varied prompts and images are, what splicing costs, and what augmentation brings. Run by ``make bench-diversity``."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import nn

from diffumask_datasets.augment_settings import parse_augment
from diffumask_datasets.augmentation.pipeline import augmented, drawn_others
from diffumask_datasets.augmentation.scene import Scene, annotate, scene_of, tidied
from diffumask_datasets.augmentation.splicing import spliced
from diffumask_datasets.columns import Row, decode_image
from diffumask_datasets.prompts.sources import prompt_for
from diffumask_datasets.prompts.wording import fill, noun
from diffumask_datasets.recipe import Recipe
from diffumask_datasets.synthesis import Runtime, Synthesizer, prepare
from diffumask_datasets.toybox.captions import PLACES
from diffumask_datasets.toybox.scene import Demand, render_scene
from diffumask_datasets.toybox.world import BACKGROUNDS, CLASS_NAMES, COLOURS, class_id
from diffumask_datasets.vocabulary import VOCABULARIES, load_vocabulary
from tests.attention.byte_pairs import byte_pair_tokenizer
from tests.attention.sentence_pieces import sentence_piece_tokenizer
from tests.augmentation.scenes import random_scene
from tests.benchmarks.harness import run
from tests.prompts.spans import TEMPLATES, known_words, missed

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
AUGMENTATIONS = {
    "splice": ["splice"],
    "splice_2x2": ["splice:2x2"],
    "blur": [{"kind": "blur", "kernel": [2, 5]}],  # the paper's 6 to 22 pixels are for 512x512
    "occlude": ["occlude"],
    "perspective": ["perspective"],
}


@dataclass(frozen=True)
class Sizes:
    """How much is done."""

    prompts: int
    painted: int
    scenes: int
    judge_steps: int
    segmenter_steps: int
    seeds: int
    side: int = 64


QUICK = Sizes(prompts=200, painted=24, scenes=80, judge_steps=150, segmenter_steps=150, seeds=1)
FULL = Sizes(prompts=1000, painted=600, scenes=600, judge_steps=1500, segmenter_steps=2000, seeds=3)


def measure(quick: bool) -> Mapping[str, float]:
    return figures(QUICK if quick else FULL)


def figures(sizes: Sizes) -> dict[str, float]:
    with TemporaryDirectory() as folder:
        plain = _painted(Recipe.of(classes=list(CLASS_NAMES)), sizes.painted, folder)
        varied = _painted(Recipe.of(classes=TOYBOX, prompt_source=SOURCE), sizes.painted, folder)
    return {
        **_prompts(sizes.prompts),
        "span_misses": _span_misses(sizes.prompts),
        "splice_2x2_per_second": _splices_per_second(),
        **_spread({"plain": plain, "varied": varied}, sizes),
        **_gains(plain, sizes),
    }


def _painted(recipe: Recipe, count: int, folder: str) -> list[Row]:
    synthesizer = Synthesizer(prepare(recipe), Runtime(batch_size=4, store=Path(folder)))
    return [row for _, row in synthesizer.rows(0, count)]


def _prompts(count: int) -> dict[str, float]:
    recipes = {
        "": Recipe.of(classes="voc", model="me/sd"),
        "_template": Recipe.of(classes="voc", model="me/sd", prompts="a photo of {classes}"),
        "_coco": Recipe.of(classes="coco", model="me/sd"),
    }
    distinct = {name: {prompt_for(recipe, index).text for index in range(count)} for name, recipe in recipes.items()}
    return {f"distinct_prompts_per_1000{name}": 1000 * len(texts) / count for name, texts in distinct.items()}


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


def _splices_per_second() -> float:
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
    return 1 / float(np.median(seconds))


def _spread(painted: Mapping[str, Sequence[Row]], sizes: Sizes) -> dict[str, float]:
    """Entropy in bits of what a judge sees in the images: background and colour (of 8, so at most 3), cell of a 3x3 grid."""
    judge = _judge(sizes)
    drawn = [render_scene(seed, split="test", demand=Demand(count=1)) for seed in range(sizes.scenes // 2)]
    ground, colour = judge([scene.image for scene in drawn])
    right_ground = np.mean(ground == [BACKGROUNDS.index(scene.background) for scene in drawn])
    right_colour = np.mean(colour == [list(COLOURS).index(scene.objects[0].colour) for scene in drawn])
    spread = {"judge_background_accuracy": float(right_ground), "judge_colour_accuracy": float(right_colour)}
    for name, rows in painted.items():
        ground, colour = judge([decode_image(row["image"]) for row in rows])
        cells = [cell for row in rows for cell in [_cell(decode_image(row["label"]))] if cell is not None]
        spread |= {
            f"background_entropy_{name}": _entropy(ground, len(BACKGROUNDS)),
            f"colour_entropy_{name}": _entropy(colour, len(COLOURS)),
            f"position_entropy_{name}": _entropy(np.array(cells, int), 9),
        }
    return spread


def _judge(sizes: Sizes) -> Any:
    """A classifier of background and colour, trained on drawn scenes of one object."""
    scenes = [render_scene(seed, demand=Demand(count=1)) for seed in range(4 * sizes.scenes)]
    images = _images([scene.image for scene in scenes], sizes.side)
    grounds = torch.tensor([BACKGROUNDS.index(scene.background) for scene in scenes])
    colours = torch.tensor([list(COLOURS).index(scene.objects[0].colour) for scene in scenes])
    torch.manual_seed(0)
    parts: list[nn.Module] = []
    for inside, outside in ((3, 16), (16, 32), (32, 64), (64, 64)):
        parts += [nn.Conv2d(inside, outside, 3, stride=2, padding=1), nn.BatchNorm2d(outside), nn.ReLU()]
    network = nn.Sequential(
        *parts, nn.Flatten(), nn.Linear(64 * (sizes.side // 16) ** 2, len(BACKGROUNDS) + len(COLOURS))
    )
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    for _ in range(sizes.judge_steps):
        chosen = torch.randint(len(scenes), (32,))
        scores = network(images[chosen])
        loss = nn.functional.cross_entropy(scores[:, : len(BACKGROUNDS)], grounds[chosen])
        loss += nn.functional.cross_entropy(scores[:, len(BACKGROUNDS) :], colours[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    network.eval()

    def judge(pictures: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        with torch.no_grad():
            scores = network(_images(pictures, sizes.side))
        return scores[:, : len(BACKGROUNDS)].argmax(1).numpy(), scores[:, len(BACKGROUNDS) :].argmax(1).numpy()

    return judge


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


def _gains(rows: Sequence[Row], sizes: Sizes) -> dict[str, float]:
    """mIoU on held-out drawn scenes of several objects: trained on painted samples, alone and with each augmentation."""
    plain = [scene_of(row) for row in rows]
    held_out = [render_scene(seed, split="test", demand=Demand(count=2 + seed % 2)) for seed in range(sizes.scenes)]
    base = _miou_of(plain, held_out, sizes)
    gains = {"plain_miou": base}
    for name, steps in AUGMENTATIONS.items():
        gains[f"{name}_gain_miou"] = _miou_of([*plain, *_varied(rows, steps)], held_out, sizes) - base
    gains["splice_gain_miou"] = max(gains["splice_gain_miou"], gains["splice_2x2_gain_miou"])
    return gains


def _varied(rows: Sequence[Row], steps: Any) -> list[Scene]:
    parsed = parse_augment(steps)
    made = []
    for position, row in enumerate(rows):
        others = drawn_others(rows.__getitem__, position, range(len(rows)))
        made.append(augmented(scene_of(row), parsed, seed=0, key=str(position), others=others))
    return made


def _miou_of(scenes: Sequence[Scene], held_out: Sequence[Any], sizes: Sizes) -> float:
    """Mean over seeds; every training takes the same number of steps, whatever the number of scenes."""
    return float(np.mean([_miou(_segmenter(scenes, sizes, seed), held_out, sizes) for seed in range(sizes.seeds)]))


def _segmenter(scenes: Sequence[Scene], sizes: Sizes, seed: int) -> nn.Module:
    images = _images([scene.image for scene in scenes], sizes.side)
    labels = _labels([scene.label for scene in scenes], sizes.side)
    torch.manual_seed(seed)
    network = _Segmenter(len(CLASS_NAMES) + 1)
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    for _ in range(sizes.segmenter_steps):
        chosen = torch.randint(len(scenes), (16,))
        loss = nn.functional.cross_entropy(network(images[chosen]), labels[chosen], ignore_index=255)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.eval()


class _Segmenter(nn.Module):
    """Three scales down and up again, with the finer features beside the coarser ones."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.down = nn.ModuleList([_convolutions(3, 16), _convolutions(16, 32), _convolutions(32, 64)])
        self.up = nn.ModuleList([_convolutions(64 + 32, 32), _convolutions(32 + 16, 16)])
        self.head = nn.Conv2d(16, classes, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        fine = self.down[0](images)
        middle = self.down[1](nn.functional.max_pool2d(fine, 2))
        features = self.down[2](nn.functional.max_pool2d(middle, 2))
        for layer, finer in zip(self.up, (middle, fine), strict=True):
            features = layer(torch.cat([nn.functional.interpolate(features, scale_factor=2), finer], dim=1))
        return self.head(features)


def _convolutions(inside: int, outside: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for count in (inside, outside):
        layers += [nn.Conv2d(count, outside, 3, padding=1), nn.BatchNorm2d(outside), nn.ReLU()]
    return nn.Sequential(*layers)


def _miou(network: nn.Module, held_out: Sequence[Any], sizes: Sizes) -> float:
    truth = _labels([_class_mask(scene) for scene in held_out], sizes.side)
    with torch.no_grad():
        found = network(_images([scene.image for scene in held_out], sizes.side)).argmax(1)
    ious = []
    for value in range(1, len(CLASS_NAMES) + 1):
        both, either = ((found == value) & (truth == value)).sum(), ((found == value) | (truth == value)).sum()
        ious.append(float(both / either.clamp(min=1)))
    return float(np.mean(ious))


def _class_mask(scene: Any) -> np.ndarray:
    numbers = np.zeros(256, np.uint8)
    for item in scene.objects:
        numbers[item.instance_id] = class_id(item.class_name)
    return numbers[scene.instances]


def _images(pictures: Sequence[np.ndarray], side: int) -> torch.Tensor:
    tensor = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1  # (images, 3, height, width)
    return nn.functional.interpolate(tensor, size=(side, side), mode="area")


def _labels(masks: Sequence[np.ndarray], side: int) -> torch.Tensor:
    tensor = torch.from_numpy(np.stack(masks)).float()[:, None]  # (images, 1, height, width)
    return nn.functional.interpolate(tensor, size=(side, side), mode="nearest")[:, 0].long()


if __name__ == "__main__":
    run("diversity", measure)
