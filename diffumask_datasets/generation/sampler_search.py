"""The cheapest sampler that is as good as a model's own: schedulers and numbers of steps, tried on the same samples."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from diffumask_datasets.diffusion.samplers import sampler_of, samplers_beside, steps_below
from diffumask_datasets.errors import ModelError, RecipeError
from diffumask_datasets.generation import tuning_report
from diffumask_datasets.generation.model import load_recipe_model
from diffumask_datasets.generation.sample_generator import SampleGenerator
from diffumask_datasets.generation.tuning_report import Cell, table_picture
from diffumask_datasets.recipes.recipe import Recipe

__all__ = ["Sampler", "SamplerTuning", "Trial", "cheapest", "tune_sampler", "write_report"]

CLOSE = 0.02
"""How much lower quality and presence may be, in the mean, to count as equal."""


@dataclass(frozen=True, slots=True)
class Sampler:
    """A scheduler, by the name of its class (None: the one the model is loaded with), and a number of steps."""

    scheduler: str | None
    steps: int


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """What a sampler gave.

    ``qualities`` are those of each sample's masks in [0, 1], 0.0 where there is none; ``present`` says of each sample what
    share of the classes in its prompt has a mask; ``seconds`` is the median of an image, capture included. ``failure`` says
    why a sampler cannot be used, and the rest is then empty.
    """

    sampler: Sampler
    qualities: npt.NDArray[np.float64]
    present: npt.NDArray[np.float64]
    seconds: float
    failure: str | None = None

    @property
    def quality(self) -> float:
        """The mean quality."""
        return float(self.qualities.mean()) if len(self.qualities) else 0.0

    @property
    def presence(self) -> float:
        """The share of the classes in prompts that have a mask."""
        return float(self.present.mean()) if len(self.present) else 0.0


@dataclass(frozen=True, slots=True)
class SamplerTuning:
    """All trials, the model's own sampler first, the class of its scheduler, and the trial that is recommended."""

    own_scheduler: str
    trials: tuple[Trial, ...]
    chosen: Trial

    @property
    def recipe_fields(self) -> dict[str, Any]:
        """The recommendation as fields of a recipe."""
        sampler = self.chosen.sampler
        fields = {} if sampler.scheduler is None else {"scheduler": sampler.scheduler}
        return {**fields, "num_inference_steps": sampler.steps}


def tune_sampler(
    recipe: Recipe,
    *,
    images: int,
    schedulers: Sequence[str] | None = None,
    steps: Sequence[int] | None = None,
    device: str | None = None,
    progress: Callable[[str], None] = lambda message: None,
) -> SamplerTuning:
    """Generates the first samples of a recipe with each sampler and recommends the cheapest of those that are as good.

    Args:
        recipe: A prepared recipe; its own sampler is what the others are compared with.
        images: Samples for each sampler; they have the same prompts and the same noise.
        schedulers: Classes of diffusers to try beside the model's own; None for the common ones that fit the model.
        steps: Numbers of steps to try; None for five shares of the recipe's.
        device: torch's name of the device, None for the best there is.
        progress: Called with one line about each sampler.

    Returns:
        All trials and the recommendation.

    Raises:
        ModelError: the model has no scheduler, or its own sampler gives nothing.
        RecipeError: numbers that are not positive.
    """
    if images < 1 or any(number < 1 for number in steps or ()):
        raise RecipeError("images and steps: expected numbers from 1 up")
    model = load_recipe_model(recipe, device, None)
    own_name = sampler_of(model)
    others = samplers_beside(model) if schedulers is None else tuple(schedulers)
    own = Sampler(recipe.scheduler, recipe.num_inference_steps)
    counts = steps_below(own.steps) if steps is None else sorted(set(steps))
    # One scheduler after the other: each is loaded with the model once.
    wanted = [Sampler(name, count) for name in (own.scheduler, *others) for count in counts]
    trials = []
    for sampler in [own, *(one for one in wanted if one != own)]:
        trials.append(_tried(recipe, sampler, images=images, device=device))
        progress(_line(trials[-1], own_name))
    if trials[0].failure is not None:
        raise ModelError(f"the model's own sampler gives nothing to compare with: {trials[0].failure}")
    return SamplerTuning(own_name, tuple(trials), cheapest(trials))


def cheapest(trials: Sequence[Trial]) -> Trial:
    """The fastest trial whose quality and presence are within :data:`CLOSE` of the first's."""
    own = trials[0]
    equal = [
        trial
        for trial in trials
        if trial.failure is None and trial.quality >= own.quality - CLOSE and trial.presence >= own.presence - CLOSE
    ]
    return min(equal, key=lambda trial: trial.seconds)


def write_report(tuning: SamplerTuning, folder: Path) -> None:
    """``sampler.json`` and ``sampler.png`` in ``folder``.

    Raises:
        ExportError: they cannot be written.
    """
    report = {
        "recipe": tuning.recipe_fields,
        "images": len(tuning.trials[0].qualities),
        "speedup": round(tuning.trials[0].seconds / tuning.chosen.seconds, 2),
        "own": _figures(tuning.trials[0], tuning.own_scheduler),
        "samplers": [_figures(trial, tuning.own_scheduler) for trial in tuning.trials],
    }
    tuning_report.write_report(folder, "sampler", report=report, picture=_picture(tuning))


def _tried(recipe: Recipe, sampler: Sampler, *, images: int, device: str | None) -> Trial:
    changed = recipe.model_copy(update={"scheduler": sampler.scheduler, "num_inference_steps": sampler.steps})
    try:
        found = list(_samples(changed, images, device))
    except (ModelError, RecipeError) as error:
        empty = np.zeros(0)
        return Trial(sampler, empty, empty, float("inf"), str(error))
    qualities, present, seconds = np.array(found, dtype=np.float64).T
    return Trial(sampler, qualities, present, float(np.median(seconds)))


def _samples(recipe: Recipe, images: int, device: str | None) -> Iterator[tuple[float, float, float]]:
    """Quality, share of the prompt's classes that have a mask, and seconds, of each sample."""
    generator = SampleGenerator(recipe, device=device)
    for index in range(images):
        started = time.perf_counter()
        (image,) = generator.generate(index, [index])
        seconds = time.perf_counter() - started
        labelled = generator.label(image)
        yield labelled.quality, 1 - len(labelled.maskless) / len(image.prompted), seconds


def _line(trial: Trial, own: str) -> str:
    name = f"{trial.sampler.scheduler or own}, {trial.sampler.steps} steps"
    if trial.failure is not None:
        return f"{name}: {trial.failure}"
    return f"{name}: quality {trial.quality:.3f}, presence {trial.presence:.3f}, {trial.seconds:.2f} s an image"


def _figures(trial: Trial, own: str) -> Mapping[str, Any]:
    names = {"scheduler": trial.sampler.scheduler or own, "num_inference_steps": trial.sampler.steps}
    if trial.failure is not None:
        return {**names, "failure": trial.failure}
    rounded = {"quality": trial.quality, "presence": trial.presence, "seconds": trial.seconds}
    return {**names, **{name: round(value, 4) for name, value in rounded.items()}}


def _picture(tuning: SamplerTuning) -> Image.Image:
    """Quality of every scheduler (rows) at every number of steps (columns), the recommended one framed."""
    by_place = {trial.sampler: trial for trial in tuning.trials if trial.failure is None}
    schedulers = list(dict.fromkeys(trial.sampler.scheduler for trial in tuning.trials))
    steps = sorted({trial.sampler.steps for trial in tuning.trials})
    top = max(trial.quality for trial in by_place.values()) or 1.0

    def cell_at(row: int, column: int) -> Cell | None:
        trial = by_place.get(Sampler(schedulers[row], steps[column]))
        return None if trial is None else Cell(f"{trial.quality:.2f}", trial.quality / top, trial is tuning.chosen)

    own, chosen = tuning.trials[0], tuning.chosen
    caption = f"mask quality by steps; {own.seconds:.2f} s an image become {chosen.seconds:.2f} s"
    names = [name or tuning.own_scheduler for name in schedulers]
    return table_picture(names, list(map(str, steps)), cell_at, caption=caption)
