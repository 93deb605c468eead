"""Trains a small image-text model, transformers' ``CLIPModel``, on drawn scenes and their captions: see ``--help``."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPProcessor, CLIPTokenizer

from diffumask_datasets.models.reference import TOYBOX
from diffumask_datasets.toybox.backgrounds import draw_background
from diffumask_datasets.toybox.scene import Demand, render_with_captions
from diffumask_datasets.toybox.world import BACKGROUNDS, CLASS_NAMES
from examples.small_model.optimizers import MatrixDescent
from examples.small_model.pairs import DrawnPairs, Pair
from examples.small_model.text import caption_tokens, load_text
from examples.small_model.training import (
    Averaged,
    append_log,
    learning_rate,
    load_checkpoint,
    options_of,
    save_checkpoint,
    write_model,
)

__all__ = ["IMAGE_SIDE", "NOTHING", "new_image_text", "processor", "train"]

IMAGE_SIDE, PATCH = 64, 8
WIDTH = 96
MEAN, DEVIATION = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)

NOTHING = "background"
"""The caption of a scene without objects."""

SCENES = 8000
EMPTY_SHARE = 0.08
SINGLE_SHARE = 0.5
LEAST_CROP = 0.65
"""Images are cropped to between this share of each side and all of it."""

TEST_SCENES = 40
"""Of each class, and without any."""


@dataclass(frozen=True)
class Settings:
    """What decides a training."""

    steps: int
    batch: int = 64
    rate: float = 1e-3
    average: float = 0.99
    seed: int = 0


def new_image_text(seed: int = 0) -> tuple[CLIPTokenizer, CLIPModel]:
    """A ``CLIPModel`` that reads text as the toybox does and has never seen an image, and its tokenizer."""
    torch.manual_seed(seed)
    tokenizer, encoder = load_text(TOYBOX)
    vision = {
        "hidden_size": WIDTH,
        "intermediate_size": 4 * WIDTH,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "image_size": IMAGE_SIDE,
        "patch_size": PATCH,
    }
    text = encoder.config.to_dict()
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=WIDTH))
    model.text_model.load_state_dict(encoder.state_dict())
    return tokenizer, model


def processor(tokenizer: CLIPTokenizer) -> CLIPProcessor:
    """What gives images and texts to the model, saved beside it."""
    images = CLIPImageProcessorPil(
        size={"shortest_edge": IMAGE_SIDE},
        crop_size={"height": IMAGE_SIDE, "width": IMAGE_SIDE},
        image_mean=MEAN,
        image_std=DEVIATION,
    )
    return CLIPProcessor(images, tokenizer)


_SCENES = DrawnPairs(SCENES, pixels=IMAGE_SIDE + PATCH, single_share=SINGLE_SHARE)


@functools.cache
def _scene(index: int) -> Pair:
    return _SCENES.pair(index)


def pair(index: int) -> Pair:
    """An image (side, side, 3) and one caption: a crop of a scene, or of a background with nothing on it."""
    rng = np.random.default_rng([7, index])
    if rng.random() < EMPTY_SHARE:
        image, caption = _empty(rng, _SCENES.pixels), NOTHING
    else:
        image, captions = _scene(index % SCENES)
        caption = captions[int(rng.integers(len(captions)))]
    return _cropped(image, rng), (caption,)


def _empty(rng: np.random.Generator, side: int) -> NDArray[np.uint8]:
    """A background with nothing on it."""
    field = draw_background(str(rng.choice(BACKGROUNDS)), (side, side), rng)
    return np.clip(field + 0.5, 0, 255).astype(np.uint8)


def _cropped(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    width, height = rng.uniform(LEAST_CROP, 1.0, 2) * _SCENES.pixels
    left, top = rng.uniform(0, 1, 2) * (_SCENES.pixels - width, _SCENES.pixels - height)
    box = (float(left), float(top), float(left + width), float(top + height))
    side = (IMAGE_SIDE, IMAGE_SIDE)
    return np.asarray(Image.fromarray(image).resize(side, Image.Resampling.BICUBIC, box=box))


def pixel_values(images: Sequence[NDArray[np.uint8]]) -> Tensor:
    """uint8 images (height, width, 3) as the processor gives them, (n, 3, height, width)."""
    values = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255
    return (values - MEAN[0]) / DEVIATION[0]


def contrastive_loss(logits: Tensor, captions: Sequence[str]) -> Tensor:
    """Cross-entropy both ways of logits (texts, images); images of equal captions are each other's too."""
    same = torch.tensor([[one == other for one in captions] for other in captions], dtype=torch.float32)
    target = same / same.sum(dim=1, keepdim=True)
    return (functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)) / 2


def step_loss(model: CLIPModel, tokenizer: CLIPTokenizer, step: int, settings: Settings) -> Tensor:
    """The loss of the batch ``step``."""
    first = settings.seed * 100_000_000 + step * settings.batch
    images, texts = zip(*(pair(first + number) for number in range(settings.batch)), strict=True)
    captions = [text for (text,) in texts]
    tokens = tokenizer(captions, padding=True, truncation=True, return_tensors="pt")
    output = model(pixel_values=pixel_values(images), **tokens)
    return contrastive_loss(output.logits_per_text, captions)


@torch.no_grad()
def tested(model: CLIPModel, tokenizer: CLIPTokenizer) -> dict[str, float]:
    """Share of scenes never trained on, of one object or none, whose class or background fits best."""
    texts = [*(f"a photo of a {name}" for name in CLASS_NAMES), NOTHING]
    ids = caption_tokens(texts, tokenizer)
    right: list[list[bool]] = []
    for number in range(TEST_SCENES):
        images = [
            *(_drawn(number, name) for name in CLASS_NAMES),
            _empty(np.random.default_rng([8, number]), IMAGE_SIDE),
        ]
        best = model(pixel_values=pixel_values(images), input_ids=ids).logits_per_image.argmax(dim=1)
        right.append((best == torch.arange(len(texts))).tolist())
    shares = np.mean(right, axis=0)
    return {"accuracy_class": float(shares[:-1].mean()), "accuracy_nothing": float(shares[-1])}


def _drawn(number: int, name: str) -> NDArray[np.uint8]:
    """A scene with one object."""
    demand, side = Demand(classes=[name]), (IMAGE_SIDE, IMAGE_SIDE)
    return render_with_captions(number, size=side, split="test", demand=demand, phrasings=1)[0].image


def train(settings: Settings, output: Path) -> None:
    """Trains, goes on from the checkpoint in ``output`` where there is one, and writes ``output/model``."""
    tokenizer, model = new_image_text(settings.seed)
    optimizer, average = MatrixDescent(model.train(), matrix_share=1.0), Averaged(model, settings.average)
    checkpoint, first, losses, started = output / "checkpoint.pt", 0, [], time.monotonic()
    if checkpoint.exists():
        saved = load_checkpoint(checkpoint)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        average.values, first = saved["average"], saved["step"]
    for step in range(first, settings.steps):
        loss = step_loss(model, tokenizer, step, settings)
        optimizer.descend(loss, learning_rate(settings.rate, step=step, steps=settings.steps, warm_up=50))
        with torch.no_grad():
            model.logit_scale.clamp_(max=math.log(100))
        average.update(model, step)
        losses.append(loss.detach())
        if step % 20 == 19:
            pace = (step + 1 - first) / (time.monotonic() - started)
            append_log(output / "log.jsonl", step=step + 1, loss=torch.stack(losses).mean(), steps_per_s=pace)
            losses = []
        if step % 50 == 49 or step + 1 == settings.steps:
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step + 1}
            save_checkpoint(checkpoint, state | {"average": average.values})
            export(average, settings, step + 1, output)


def export(average: Averaged, settings: Settings, step: int, output: Path) -> None:
    """Writes the averaged weights in float16, the processor and the facts of the training to ``output/model``."""
    tokenizer, model = new_image_text(settings.seed)
    model.load_state_dict(average.values)
    figures = tested(model.eval(), tokenizer)
    append_log(output / "log.jsonl", step=step, **figures)
    write_model(output / "model", [model.half(), processor(tokenizer)], {**vars(settings), "step": step, **figures})


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point; ``arguments`` default to the command line."""
    options = options_of(arguments, name="contrastive", about=__doc__, steps=1500)
    train(Settings(options.steps), options.output)


if __name__ == "__main__":
    main()
