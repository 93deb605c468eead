"""The path of one sample, from top to bottom: recipe → prompt → image and attention → heat maps → masks → row.

It has two stages. :meth:`SampleGenerator.generate` runs the model; :meth:`SampleGenerator.label` needs no model, so that
other processes can do it meanwhile. ``batches.py`` repeats both where a sample is poor; ``samples.py`` knows which samples
are requested and which are stored.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import datasets
import numpy as np
import numpy.typing as npt

from diffumask_datasets.dataset.schema import features_of, row_of, to_payload
from diffumask_datasets.diffusion.protocol import GenerationRequest, ImageWithAttention
from diffumask_datasets.errors import ModelError
from diffumask_datasets.generation.heat_maps import HeatMaps, heat_maps_of
from diffumask_datasets.generation.masks import label_image
from diffumask_datasets.generation.model import load_checked_model
from diffumask_datasets.masks.image_text import load_image_text
from diffumask_datasets.masks.presence import PresenceJudge
from diffumask_datasets.models.garbage import collection_paused
from diffumask_datasets.models.locks import model_lock
from diffumask_datasets.models.out_of_memory import names_the_knob
from diffumask_datasets.prompts.sources import prompt_for
from diffumask_datasets.recipes.recipe import Recipe
from diffumask_datasets.sample import Sample

__all__ = ["GeneratedImage", "LabelledImage", "SampleGenerator"]


@dataclass(frozen=True, slots=True, eq=False)
class GeneratedImage:
    """An image, uint8 (height, width, 3), and all that its masks are made of, small enough to go to another process.

    ``prompted`` are the class ids of the heat maps. ``error`` stands in their place where the attention has no signal.
    """

    index: int
    prompt: str
    seed: int
    image: npt.NDArray[np.uint8]
    prompted: tuple[int, ...]
    heat_maps: HeatMaps | None
    error: ModelError | None = None


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """One attempt at a sample, encoded for the store; ``maskless`` are the class ids prompted and not found.

    ``unseen`` is what the recipe's image-text model says against it, None where it sees each class. ``error`` stands in
    place of a payload where no masks could be made.
    """

    index: int
    quality: float
    maskless: tuple[int, ...]
    payload: bytes
    unseen: str | None = None
    error: ModelError | None = None


class SampleGenerator:
    """Generates the samples of one prepared recipe. Loads the model when first needed; stores nothing.

    Index k always sits at row k mod ``batch_size`` of a batch of constant size, whichever of its neighbours are requested,
    so that its bytes depend on the recipe, k and the batch size alone: never on shard, order, worker or earlier samples.
    ``device`` and ``dtype`` are torch's names, None for the best the machine has.
    """

    def __init__(
        self, recipe: Recipe, *, batch_size: int = 1, device: str | None = None, dtype: str | None = None
    ) -> None:
        self._recipe, self._digest = recipe, recipe.digest
        self._batch_size, self._device, self._dtype = batch_size, device, dtype

    def generate(self, first: int, requested: Sequence[int], attempt: int = 0) -> list[GeneratedImage]:
        """Recipe → prompt → image and attention → heat maps.

        Args:
            first: The first index of a batch.
            requested: Which of its indices are generated.
            attempt: How often they were generated before; each attempt has noise of its own.

        Returns:
            The requested images, in order.

        Raises:
            As ``check`` and ``generate`` of :class:`~diffumask_datasets.diffusion.protocol.DiffusionModel`; ModelError where
                memory runs out.
        """
        with collection_paused():  # it imports torch
            from diffumask_datasets.models.determinism import single_thread

        # All of it, loading and recording included: OpenMP's threads do not survive a fork, and the first operation on
        # several would wait for ever. All generators of a process share one model.
        with model_lock, single_thread():
            model = load_checked_model(self._recipe, self._device, self._dtype)
            rows = range(first, first + self._batch_size)
            # Rows that nobody requests repeat a requested one: they keep the batch's size, on which the last bits depend.
            requests = [self._request(index if index in requested else requested[0], attempt) for index in rows]
            with names_the_knob(ModelError, self._memory_advice):
                outputs = model.generate(requests, self._recipe)
            batch = zip(rows, requests, outputs, strict=True)
            return [self._generated(index, request, output) for index, request, output in batch if index in requested]

    def label(self, generated: GeneratedImage) -> LabelledImage:
        """Heat maps → masks → row, encoded for the store; its quality is 0 where a class is not seen.

        Raises:
            ModelError: the image-text model of the recipe cannot be loaded.
        """
        try:
            sample = self.sample(generated)
        except ModelError as error:
            return LabelledImage(generated.index, 0.0, generated.prompted, b"", error=error)
        unseen = self._unseen(sample)
        if unseen is not None:
            sample = dataclasses.replace(sample, quality=0.0)
        payload = to_payload(row_of(sample), self._features)
        return LabelledImage(generated.index, sample.quality, sample.maskless, payload, unseen)

    def sample(self, generated: GeneratedImage) -> Sample:
        """Heat maps → masks.

        Raises:
            ModelError: the attention had no signal.
        """
        if generated.error is not None or generated.heat_maps is None:
            raise generated.error or ModelError(f"sample {generated.index} has no heat maps")
        return label_image(
            generated.image,
            generated.heat_maps,
            recipe=self._recipe,
            sample_id=f"{self._digest}-{generated.index:08d}",
            prompted=generated.prompted,
            prompt=generated.prompt,
            seed=generated.seed,
        )

    def _unseen(self, sample: Sample) -> str | None:
        """What is said against a sample whose masks are all there; nobody is asked about the others."""
        if self._recipe.presence is None or sample.maskless:
            return None
        from diffumask_datasets.models.determinism import single_thread

        with single_thread():
            return self._presence.judge(sample.image, sample.label)[1]

    @functools.cached_property
    def _presence(self) -> PresenceJudge:
        recipe = self._recipe
        terms = [recipe.words_of(name).terms[0] for name in recipe.classes]
        return PresenceJudge(load_image_text(str(recipe.presence), recipe.presence_revision), terms)

    @functools.cached_property
    def _features(self) -> datasets.Features:
        return features_of(self._recipe.classes, heat_maps=True, threshold_curve=True)

    def _memory_advice(self) -> str:
        size, height, width = self._batch_size, self._recipe.height, self._recipe.width
        fewer = f"take --batch-size {size // 2}" if size > 1 else "take a smaller size, or a dtype of two bytes"
        return f"generating {size} images of {height}x{width} at once: {fewer}; finished samples are kept"

    def _request(self, index: int, attempt: int) -> GenerationRequest:
        again = f"/{attempt}" if attempt else ""
        noise = hashlib.sha256(f"{self._recipe.seed}/noise/{index}{again}".encode()).digest()
        return GenerationRequest(prompt_for(self._recipe, index), seed=int.from_bytes(noise[:8], "big") >> 1)

    def _generated(self, index: int, request: GenerationRequest, output: ImageWithAttention) -> GeneratedImage:
        height, width, _ = output.image.shape
        heat_maps = error = None
        try:
            heat_maps = heat_maps_of(output.attention, self._recipe, height=height, width=width)
        except ModelError as found:  # a heat map without any signal: other noise may have some
            error = found
        prompted = tuple(self._recipe.classes.index(name) + 1 for name in output.attention.categories)
        return GeneratedImage(index, request.prompt.text, request.seed, output.image, prompted, heat_maps, error)
