"""Which attention to read: layers, timesteps, contrast, competition and affinity steps, chosen by IoU on annotated images.

The measure is the IoU at the best threshold of each (image, class): what the maps know, whatever γ is chosen later.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import get_args

import numpy as np
import numpy.typing as npt

from diffumask_datasets.attention.agreement import WeighLayers
from diffumask_datasets.attention.automatic import COMPETITION, LAST_TIMESTEP
from diffumask_datasets.attention.contrast import Contrast
from diffumask_datasets.attention.fusion import fuse
from diffumask_datasets.attention.observation import LayerStep, Observation
from diffumask_datasets.errors import CaptureError, ShapeError

__all__ = ["Annotated", "AttentionChoice", "best_threshold_iou", "choice_iou", "layer_step_ious", "search_choice"]

COMPETITIONS = (0.0, 1.0, 2.0, 4.0, 8.0, COMPETITION)
POWERS = (0, 1, 2, 3, 4, 6, 8)

ENOUGH = 0.002
"""IoU that a further layer or option must bring: less is noise, and fewer layers cost less."""

_IGNORE = 255


@dataclass(frozen=True, slots=True)
class Annotated:
    """An observation and its ground truth: ``truth`` uint8 (height, width), 0 or 1 + index in ``categories``, 255 ignore."""

    observation: Observation
    truth: npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class AttentionChoice:
    """One way to read attention, in the words of the recipe."""

    layers: tuple[str, ...]
    timesteps: tuple[int, int]
    contrast: Contrast | None = None
    competition: float = 0.0
    affinity_power: int = 0
    attention: WeighLayers = "equal"


def best_threshold_iou(heat: npt.NDArray[np.floating], truth: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """The best IoU that a threshold can reach, and that threshold: a pixel is inside where its heat is at least γ.

    ``heat`` and ``truth`` have one shape. Exact: every value of ``heat`` is tried.

    Raises:
        ShapeError: the shapes differ, or ``truth`` is empty.
    """
    if heat.shape != truth.shape or not truth.any():
        raise ShapeError(f"expected a mask that is not empty, of shape {heat.shape}; got {truth.shape}")
    values = heat.ravel()
    order = np.argsort(-values, kind="stable")
    ranked = values[order]
    hits = np.cumsum(truth.ravel()[order])
    ious = hits / (np.arange(1, len(ranked) + 1) + hits[-1] - hits)
    # A threshold takes all pixels of equal heat or none.
    ends = np.append(ranked[1:] != ranked[:-1], True)
    best = int(np.argmax(np.where(ends, ious, -1)))
    return float(ious[best]), float(ranked[best])


def choice_iou(samples: Sequence[Annotated], choice: AttentionChoice) -> npt.NDArray[np.float64]:
    """Best-threshold IoU of every (image, class) that is there, in order."""
    return np.array(list(itertools.chain.from_iterable(_sample_ious(sample, choice) for sample in samples)))


def layer_step_ious(samples: Sequence[Annotated]) -> dict[LayerStep, float]:
    """Mean best-threshold IoU of each layer and timestep alone."""
    layers, timesteps = _extent(samples)
    return {
        (layer, timestep): _mean(samples, AttentionChoice((layer,), (timestep, timestep)))
        for layer in layers
        for timestep in timesteps
    }


def search_choice(
    samples: Sequence[Annotated], *, progress: Callable[[str, float], None] = lambda step, iou: None
) -> AttentionChoice:
    """The best choice that a greedy search finds, or the automatic weights of layers where it finds nothing better.

    The search goes over the range of timesteps, layers one by one, the range again, and the options. The automatic weights
    come first, wherever self-attention can be read, and what was found must beat them. ``progress`` hears the name of each
    step and the mean IoU it reached.

    Raises:
        ShapeError: no sample, or no class in any of them.
    """
    automatic = _automatic(samples)
    if automatic is not None:
        progress("automatic", _mean(samples, automatic))
    layers, timesteps = _extent(samples)
    ranges = [(first, last) for first, last in itertools.product(timesteps, timesteps) if first <= last]
    every = AttentionChoice(layers, (timesteps[0], timesteps[-1]))
    best = _better(samples, every, [replace(every, layers=(layer,)) for layer in layers])
    best = _better(samples, best, [replace(best, timesteps=extent) for extent in ranges])
    progress("one layer", _mean(samples, best))
    while True:
        grown = [replace(best, layers=_ordered({*best.layers, layer}, layers)) for layer in layers]
        larger = _better(samples, best, [choice for choice in grown if choice != best], margin=ENOUGH)
        if larger == best:
            break
        best = larger
    best = _better(samples, best, [replace(best, timesteps=extent) for extent in ranges])
    progress("layers and timesteps", _mean(samples, best))
    best = _with_options(samples, best, progress)
    return best if automatic is None else _better(samples, automatic, [best], margin=ENOUGH)


def _automatic(samples: Sequence[Annotated]) -> AttentionChoice | None:
    """The best of the automatic weights over steps of affinity and competition; None without self-attention to weigh by."""
    if not all(sample.observation.affinities for sample in samples):
        return None
    layers, timesteps = _extent(samples)
    last = max([step for step in timesteps if step <= LAST_TIMESTEP], default=timesteps[-1])
    start = AttentionChoice(layers, (timesteps[0], last), competition=COMPETITION, affinity_power=1, attention="auto")
    pairs = itertools.product((COMPETITION, *COMPETITIONS[:-1]), POWERS[1:])
    return _better(samples, start, [replace(start, competition=c, affinity_power=p) for c, p in pairs], margin=ENOUGH)


def _with_options(
    samples: Sequence[Annotated], best: AttentionChoice, progress: Callable[[str, float], None]
) -> AttentionChoice:
    if any(sample.observation.background_tokens.names for sample in samples):
        contrasts = [replace(best, contrast=contrast) for contrast in get_args(Contrast)]
        best = _better(samples, best, contrasts, margin=ENOUGH)
        progress("contrast", _mean(samples, best))
    if any(len(sample.observation.categories) > 1 for sample in samples):
        best = _better(samples, best, [replace(best, competition=c) for c in COMPETITIONS], margin=ENOUGH)
        progress("competition", _mean(samples, best))
    if all(sample.observation.affinities for sample in samples):
        pairs = itertools.product(COMPETITIONS, POWERS)
        mixed = [replace(best, competition=c, affinity_power=p) for c, p in pairs]
        best = _better(samples, best, mixed, margin=ENOUGH)
        progress("affinity", _mean(samples, best))
    return best


def _better(
    samples: Sequence[Annotated], present: AttentionChoice, others: Iterable[AttentionChoice], *, margin: float = 0.0
) -> AttentionChoice:
    """The best of ``others`` where it beats ``present`` by more than ``margin``, else ``present``."""
    best, score = present, _mean(samples, present) + margin
    for choice in others:
        found = _mean(samples, choice)
        if found > score:
            best, score = choice, found
    return best


def _mean(samples: Sequence[Annotated], choice: AttentionChoice) -> float:
    ious = choice_iou(samples, choice)
    if not len(ious):
        raise ShapeError("expected images with at least one of their classes annotated, got none")
    return float(ious.mean())


def _sample_ious(sample: Annotated, choice: AttentionChoice) -> list[float]:
    observation, truth = sample.observation, sample.truth
    present = [index for index in range(len(observation.categories)) if np.any(truth == index + 1)]
    if not present:
        return []
    first, last = choice.timesteps
    timesteps = [step for step in observation.timesteps if first <= step <= last]
    maps = observation.fused(choice.layers, timesteps, contrast=choice.contrast, attention=choice.attention)
    height, width = truth.shape
    known = truth != _IGNORE
    try:
        heat = fuse(
            maps, height=height, width=width, competition=choice.competition, affinity_power=choice.affinity_power
        ).numpy()
    except CaptureError:  # a map without any heat finds nothing
        return [0.0] * len(present)
    return [best_threshold_iou(heat[index][known], truth[known] == index + 1)[0] for index in present]


def _extent(samples: Sequence[Annotated]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    if not samples:
        raise ShapeError("expected at least one annotated image, got none")
    return samples[0].observation.layers, samples[0].observation.timesteps


def _ordered(chosen: set[str], layers: Sequence[str]) -> tuple[str, ...]:
    return tuple(layer for layer in layers if layer in chosen)
