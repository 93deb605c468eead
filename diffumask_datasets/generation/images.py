"""The first stage of a sample: the model paints, and what its attention says of each class is made small.

Index k always sits at row k mod batch size of a batch of constant size, whichever of its neighbours are wanted, so that its
bytes depend on the recipe, k and the batch size alone: never on shard, order, worker or what was generated before.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from diffumask_datasets.diffusion.protocol import DiffusionModel, GenerationRequest, ImageWithAttention
from diffumask_datasets.diffusion.registry import load_model
from diffumask_datasets.errors import ModelError
from diffumask_datasets.masks.quantization import quantize, soft_size
from diffumask_datasets.models.locks import model_lock
from diffumask_datasets.prompts.sources import caption_prompts, prompt_for
from diffumask_datasets.recipes.recipe import Recipe
from diffumask_datasets.recipes.settings import LoadSettings

__all__ = ["GeneratedImage", "ImageGenerator", "single_thread"]


@dataclass(frozen=True, slots=True)
class GeneratedImage:
    """A painted image and all that its masks are made from, small enough to go to another process.

    ``image`` is uint8 (height, width, 3); ``soft_maps`` are uint8 (classes, height, width), of the class ids ``prompted``;
    ``spread_maps`` the same after self-attention, where γ is chosen by it. ``error`` stands in their place where the
    attention has no signal.
    """

    index: int
    prompt: str
    seed: int
    image: npt.NDArray[np.uint8]
    prompted: tuple[int, ...]
    soft_maps: npt.NDArray[np.uint8] | None
    spread_maps: npt.NDArray[np.uint8] | None
    error: ModelError | None = None


class ImageGenerator:
    """Paints the samples of one prepared recipe; loads the model when first needed. ``device`` and ``dtype`` are torch's."""

    def __init__(self, recipe: Recipe, *, batch_size: int, device: str | None, dtype: str | None) -> None:
        self._recipe = recipe
        self._batch_size, self._device, self._dtype = batch_size, device, dtype
        self._backbone: DiffusionModel | None = None

    def paint(self, first: int, wanted: Sequence[int], attempt: int) -> list[GeneratedImage]:
        """Paints the batch of indices from ``first`` on and gives those ``wanted``, in order. Each attempt has its noise.

        Raises:
            As :meth:`diffumask_datasets.diffusion.protocol.DiffusionModel.check` and ``paint``.
        """
        # All of it, loading and recording included: OpenMP's threads do not survive a fork, and the first operation on
        # several would wait for ever. All painters of a process share one model.
        with model_lock, single_thread():
            backbone = self._checked_backbone()
            rows = range(first, first + self._batch_size)
            # Rows that nobody wants repeat a wanted one: they keep the batch's size, on which the last bits depend.
            requests = [self._request(index if index in wanted else wanted[0], attempt) for index in rows]
            painted = zip(rows, requests, backbone.paint(requests, self._recipe), strict=True)
            return [self._painted(index, request, painting) for index, request, painting in painted if index in wanted]

    def _checked_backbone(self) -> DiffusionModel:
        if self._backbone is None:
            self._backbone = _checked(self._recipe, self._device, self._dtype)
        return self._backbone

    def _request(self, index: int, attempt: int) -> GenerationRequest:
        again = f"/{attempt}" if attempt else ""
        noise = hashlib.sha256(f"{self._recipe.seed}/noise/{index}{again}".encode()).digest()
        return GenerationRequest(prompt_for(self._recipe, index), seed=int.from_bytes(noise[:8], "big") >> 1)

    def _painted(self, index: int, request: GenerationRequest, painting: ImageWithAttention) -> GeneratedImage:
        soft_maps = spread_maps = error = None
        try:
            soft_maps, spread_maps = _soft_maps(painting, self._recipe)
        except ModelError as found:  # a heat map without any signal: other noise may have some
            error = found
        prompted = tuple(self._recipe.classes.index(name) + 1 for name in painting.attention.categories)
        return GeneratedImage(
            index, request.prompt.text, request.seed, painting.image, prompted, soft_maps, spread_maps, error
        )


def single_thread() -> AbstractContextManager[None]:
    """Torch computes on one CPU thread within the block; see :mod:`diffumask_datasets.models.determinism`."""
    from diffumask_datasets.models import determinism as steady

    return steady.single_thread()


def _soft_maps(
    painting: ImageWithAttention, recipe: Recipe
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8] | None]:
    """The maps that masks are made from, and those that γ is chosen by where self-attention is to do that."""
    power = recipe.affinity_power if recipe.affinity == "self-attention" else 0
    if power and recipe.threshold == "affinity":
        return _fused(painting, recipe, power=0), _fused(painting, recipe, power=power)
    return _fused(painting, recipe, power=power), None


def _fused(painting: ImageWithAttention, recipe: Recipe, *, power: int) -> npt.NDArray[np.uint8]:
    from diffumask_datasets.attention.fusion import fuse

    height, width = soft_size(*painting.image.shape[:2])
    maps = fuse(painting.attention, height=height, width=width, competition=recipe.competition, affinity_power=power)
    return quantize(maps.numpy())


@functools.lru_cache(maxsize=1)
def _checked(recipe: Recipe, device: str | None, dtype: str | None) -> DiffusionModel:
    # Kept, as every shard of a stream has a generator of its own, and there may be many captions.
    backbone = _loaded(recipe.model, recipe.revision, device, dtype, LoadSettings.subset_of(recipe))
    backbone.check(recipe)
    backbone.check_prompts(caption_prompts(recipe))
    return backbone


@functools.lru_cache(maxsize=1)
def _loaded(
    model: str, revision: str | None, device: str | None, dtype: str | None, options: LoadSettings
) -> DiffusionModel:
    return load_model(model, revision=revision, device=device, dtype=dtype, options=options)
