"""The part ``generate`` of bench_streets: street pictures that the trained model makes, with their masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from diffumask_datasets.dataset.contact_sheet import contact_sheet
from diffumask_datasets.dataset.reader import open_dataset
from diffumask_datasets.dataset.schema import Row
from diffumask_datasets.generation.generate import generate
from diffumask_datasets.recipes.captions import mentions
from diffumask_datasets.recipes.recipe import Recipe
from tests.benchmarks.photos_data import street_classes
from tests.benchmarks.streets_label import CHOSEN, COVERED
from tests.benchmarks.streets_pairs import street_vocabulary
from tests.benchmarks.streets_sizes import Sizes

__all__ = ["generate_figures", "generated", "save_sheet"]

UNIT = 32
"""Sides that a network with two downsamplings of latents takes are multiples of this."""

STEPS, GUIDANCE = 12, 3.5
"""Those of the sample sheets of the training suffice a small model."""

LEAST_NAMED = 4
"""Prompts are captions that name so many classes, as those of whole streets do."""

ON_A_SHEET = 12


def generated(folder: Path, sizes: Sizes, *, model: Path) -> Path:
    """The dataset folder of the pictures, as wide as street photos are; made where it is missing."""
    output = folder / "generated"
    if not (output / "recipe.yaml").exists():
        generate(
            output,
            num_samples=sizes.generated,
            classes=street_vocabulary(street_classes()),
            prompts=_prompts(folder / "pairs"),
            model=str(model),
            height=sizes.shown,
            width=round(sizes.shown * 4 / 3 / UNIT) * UNIT,
            num_inference_steps=STEPS,
            guidance_scale=GUIDANCE,
            store=str(folder / "store"),
            **CHOSEN.fields,
            **COVERED,
        )
    return output


def generate_figures(folder: Path, sizes: Sizes, *, model: Path) -> dict[str, float]:
    """How many pictures there are, how good they are believed to be, and how many of the classes asked for have a mask."""
    rows = _rows(generated(folder, sizes, model=model))
    words = Recipe.of(classes=street_vocabulary(street_classes())).words
    asked = sum(len({name for name, _, _ in mentions(row["prompt"], words)}) for row in rows)
    return {
        "generated_pictures": float(len(rows)),
        "generated_quality": float(np.mean([row["quality"] for row in rows])),
        "generated_masks_of_prompted": sum(len(row["classes"]) for row in rows) / asked,
    }


def save_sheet(folder: Path, sizes: Sizes, path: Path, *, model: Path) -> None:
    """A contact sheet of the first pictures."""
    path.parent.mkdir(parents=True, exist_ok=True)
    contact_sheet(_rows(generated(folder, sizes, model=model))[:ON_A_SHEET], street_classes()).save(path)


def _rows(folder: Path) -> list[Row]:
    return [row for _, row in open_dataset(folder).rows()]


def _prompts(pairs: Path) -> list[str]:
    """First captions of pairs, each once: what the model was taught, in the words that label photos too."""
    texts = [path.read_text(encoding="utf-8").splitlines()[0] for path in sorted(pairs.glob("*.txt"))]
    words = Recipe.of(classes=street_vocabulary(street_classes())).words
    several = [text for text in texts if len({name for name, _, _ in mentions(text, words)}) >= LEAST_NAMED]
    return list(dict.fromkeys(several or texts))
