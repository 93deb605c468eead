"""One image of the toybox, looked at by the judge: whether this installation generates what it is asked for."""

from __future__ import annotations

from dataclasses import dataclass

from diffumask_datasets.errors import ModelError
from diffumask_datasets.generation.prepare import prepare
from diffumask_datasets.generation.sample_generator import SampleGenerator
from diffumask_datasets.masks.quality import iou
from diffumask_datasets.recipes.recipe import Recipe

__all__ = ["Trial", "generate_trial"]

CLASS = "car"

LEAST_OVERLAP = 0.5
"""Intersection over union of our mask and the judge's below which one of them is wrong; 0.9 is usual."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What came out: the prompt, the class that the judge saw, the mask's quality, and its IoU with the judge's mask."""

    prompt: str
    seen: str
    quality: float
    overlap: float

    @property
    def report(self) -> str:
        """One line about it."""
        return (
            f"generated {self.prompt!r}: the judge sees {self.seen}, mask quality {self.quality:.2f}, "
            f"IoU with the judge's mask {self.overlap:.2f}"
        )


def generate_trial() -> Trial:
    """Generates a car on the best device there is; nothing is stored.

    Raises:
        ModelError: the toybox cannot be loaded, the judge sees something else, or masks where it does not.
    """
    from diffumask_datasets.toybox.judge import load_judge
    from diffumask_datasets.toybox.world import CLASS_NAMES

    recipe = prepare(Recipe.of(classes=[CLASS]))
    generator = SampleGenerator(recipe)
    (generated,) = generator.generate(0, [0])
    sample = generator.sample(generated)
    (verdict,) = load_judge().look([generated.image])
    ours, its = sample.label == 1, verdict.label == 1 + CLASS_NAMES.index(CLASS)
    trial = Trial(generated.prompt, verdict.best_class, sample.quality, iou(ours, its))
    if trial.seen != CLASS or trial.overlap < LEAST_OVERLAP:
        raise ModelError(
            f"{trial.report}; that is no {CLASS} with its mask: install other versions of torch, "
            "diffusers and transformers, as README.md names them"
        )
    return trial
