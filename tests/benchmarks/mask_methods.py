"""The mask methods that bench_masks compares: every one from one observation of an image to one label per pixel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from diffumask_datasets.attention.affinity import affinity_grid, propagate
from diffumask_datasets.attention.fusion import fuse
from diffumask_datasets.attention.maps import AttentionMaps
from diffumask_datasets.attention.observation import Observation
from diffumask_datasets.attention.search import best_threshold_iou
from diffumask_datasets.diffusion.protocol import Observer
from diffumask_datasets.masks.affinity_net import AffinityNet, spread_heat
from diffumask_datasets.masks.densecrf import DenseCrf
from diffumask_datasets.masks.normalization import normalize_locally
from diffumask_datasets.masks.pipeline import Masks, make_masks
from diffumask_datasets.masks.quantization import dequantize, quantize, soft_size
from diffumask_datasets.masks.unary import best_labels, label_probabilities
from diffumask_datasets.prompts.phrases import attended
from diffumask_datasets.prompts.prompt import Prompt
from diffumask_datasets.prompts.wording import find_terms
from diffumask_datasets.recipes.recipe import Recipe
from diffumask_datasets.recipes.settings import MaskSettings
from diffumask_datasets.toybox import CLASS_NAMES, Demand, Scene, render_scene

Labels = npt.NDArray[np.intp]
Heat = npt.NDArray[np.float32]

PAPER = MaskSettings(
    threshold="affinity",
    affinity="self-attention",
    heat_normalization=None,
    refinement="densecrf-paper",
    unary="hard",
    ignore_margin=0.0,
)
"""DiffuMask's way from heat maps and an affinity to a mask."""

OBSERVED_STEPS = 4
"""Timesteps at which a scene is shown to the model, spread over the range that the recipe reads."""


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """A scene, what the model attended to in it, and its truth: 0 or 1 + index of the prompt's class."""

    scene: Scene
    observation: Observation
    truth: npt.NDArray[np.uint8]

    @property
    def image(self) -> npt.NDArray[np.uint8]:
        return self.scene.image


def show(model: Observer, seed: int, *, demand: Demand, recipe: Recipe, split: str = "test") -> Shown:
    """Renders a scene and pushes it through the model, described by its own caption."""
    scene = render_scene(seed, split=split, demand=demand)
    prompt = Prompt(scene.caption, find_terms(scene.caption, tuple((name, name) for name in CLASS_NAMES)))
    prompt = attended(prompt, recipe.attention_words)
    first, last = recipe.attention_timesteps
    steps = np.linspace(max(first, 1), min(last, 999), OBSERVED_STEPS).round().astype(int).tolist()
    table = np.zeros(256, np.uint8)
    for index, name in enumerate(prompt.categories, start=1):
        table[CLASS_NAMES.index(name) + 1] = index
    return Shown(scene, model.observe(scene.image, prompt, timesteps=steps, seed=seed), table[scene.semantic])


def different_classes(seed: int) -> Demand:
    """Two or three objects of different classes."""
    rng = np.random.default_rng([7, seed])
    return Demand(classes=[str(name) for name in rng.choice(CLASS_NAMES, int(rng.integers(2, 4)), replace=False)])


def our_heat(shown: Shown, recipe: Recipe) -> Heat:
    """Heat maps as synthesis makes them, with the recipe's layers, contrast, competition and affinity."""
    power = recipe.affinity_power if recipe.affinity == "self-attention" else 0
    maps = our_maps(shown, recipe)
    height, width = shown.truth.shape
    soft_height, soft_width = soft_size(height, width)
    heat = fuse(maps, height=soft_height, width=soft_width, competition=recipe.competition, affinity_power=power)
    return dequantize(quantize(heat.numpy()), height=height, width=width)


def our_maps(shown: Shown, recipe: Recipe) -> AttentionMaps:
    from diffumask_datasets.attention.recorder import select_layers

    observation = shown.observation
    grids = {layer: (maps.shape[1], maps.shape[2]) for (layer, _), maps in observation.maps.items()}
    layers = select_layers(grids, recipe.attention_grids, recipe.attention_layers)
    return observation.fused(
        layers,
        observation.timesteps,
        contrast=recipe.contrast,
        affinity_grids=recipe.affinity_grids,
        attention=recipe.attention,
    )


def all_layers_heat(shown: Shown) -> Heat:
    """DiffuMask's fusion: every layer and step, each map divided by its maximum."""
    observation = shown.observation
    height, width = shown.truth.shape
    return fuse(observation.fused(observation.layers, observation.timesteps), height=height, width=width).numpy()


def daam_heat(shown: Shown) -> Heat:
    """DAAM's aggregation (Tang et al., ACL 2023): all maps upsampled and added as they are, then divided by the maximum."""
    height, width = shown.truth.shape
    classes = len(shown.observation.categories)
    total = torch.zeros(classes, height, width)
    for maps in shown.observation.maps.values():
        total += F.interpolate(maps[None, :classes], size=(height, width), mode="bicubic")[0].clamp_min(0)
    return np.asarray((total / total.amax(dim=(1, 2), keepdim=True).clamp_min(1e-12)).numpy(), dtype=np.float32)


def dataset_diffusion_heat(shown: Shown, power: int = 4) -> Heat:
    """Dataset Diffusion (Nguyen et al., NeurIPS 2023): cross-attention times self-attention to the fourth power."""
    maps = shown.observation.fused(shown.observation.layers, shown.observation.timesteps)
    ((grid, affinity),) = maps.affinities.items()
    height, width = affinity_grid(grid)
    spread = propagate(fuse(maps, height=height, width=width), affinity, power)
    size = shown.truth.shape
    return np.asarray(F.interpolate(spread[None], size=size, mode="bicubic")[0].clamp(0, 1).numpy(), dtype=np.float32)


def fixed(heat: Heat, gamma: float) -> Labels:
    """The hottest class where it reaches γ, else background."""
    return np.where(heat.max(axis=0) >= gamma, heat.argmax(axis=0) + 1, 0)


def refined(image: npt.NDArray[np.uint8], heat: Heat, gammas: Sequence[float]) -> Labels:
    """Local normalization, soft unary and DenseCRF held to the heat, at the given γ."""
    heat = np.stack([normalize_locally(one) for one in heat])
    return best_labels(DenseCrf(image, 1 + len(heat)).refine(label_probabilities(heat, gammas), heat))


def through_pipeline(shown: Shown, heat: Heat, settings: MaskSettings, spread: Heat | None = None) -> Masks:
    """The product's own way, class ids being 1 + index in the prompt."""
    ids = range(1, 1 + len(heat))
    return make_masks(shown.image, heat, class_ids=ids, settings=settings, affinity_maps=spread)


def paper(shown: Shown, net: AffinityNet) -> Masks:
    """DiffuMask's recipe: all maps, γ of 0.35 … 0.54 by IoU with the AffinityNet's mask, hard unary, DenseCRF."""
    heat = all_layers_heat(shown)
    settings = PAPER
    return through_pipeline(shown, heat, settings, spread_heat(net, shown.image, heat))


def class_ious(labels: npt.NDArray[np.integer], truth: npt.NDArray[np.uint8]) -> list[float]:
    """IoU of every class that is there; ignored pixels of the mask count as missed."""
    present = [index for index in range(1, int(truth.max()) + 1) if np.any(truth == index)]
    return [
        np.count_nonzero((labels == i) & (truth == i)) / np.count_nonzero((labels == i) | (truth == i)) for i in present
    ]


def best_raw(shown: Shown, heat: Heat) -> list[float]:
    """IoU at the best threshold of each class that is there, without refinement."""
    present = [index for index in range(len(heat)) if np.any(shown.truth == index + 1)]
    return [best_threshold_iou(heat[index], shown.truth == index + 1)[0] for index in present]


def best_fixed(heats: Sequence[Heat], shown: Sequence[Shown], gammas: Sequence[float]) -> tuple[float, float]:
    """The γ whose masks have the best mean IoU over all images, and that IoU."""

    def mean(gamma: float) -> float:
        pairs = zip(heats, shown, strict=True)
        return float(np.mean([iou for heat, item in pairs for iou in class_ious(fixed(heat, gamma), item.truth)]))

    scores = {gamma: mean(gamma) for gamma in gammas}
    best = max(gammas, key=scores.__getitem__)
    return best, scores[best]


def mean_iou(shown: Sequence[Shown], method: Callable[[int, Shown], npt.NDArray[np.integer]]) -> float:
    """Mean over all (image, class) of a method that gets the number of the image and the image."""
    return float(np.mean([iou for k, item in enumerate(shown) for iou in class_ious(method(k, item), item.truth)]))
