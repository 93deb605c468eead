"""Stable Diffusion 1 and 2, and so the toybox: a UNet with separate cross-attention."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from torch import nn

from diffumask_datasets.attention.affinity import SelfAttentionRecorder, select_affinity_layers
from diffumask_datasets.attention.alignment import align_terms
from diffumask_datasets.attention.contrast import sinks_of
from diffumask_datasets.attention.hooks import AttentionCall, tap_attention
from diffumask_datasets.attention.maps import Grid
from diffumask_datasets.attention.observation import Observation
from diffumask_datasets.attention.recorder import CrossAttentionRecorder, select_layers
from diffumask_datasets.diffusion.attention_processors import native_attention
from diffumask_datasets.diffusion.calls import call_arguments, check_size, check_timesteps
from diffumask_datasets.diffusion.family import guidance
from diffumask_datasets.diffusion.pipelines import load_pipeline
from diffumask_datasets.diffusion.pixels import to_uint8
from diffumask_datasets.diffusion.protocol import GenerationRequest, ImageWithAttention
from diffumask_datasets.diffusion.unet_layers import attention_layers
from diffumask_datasets.diffusion.unet_observation import observe, word_count
from diffumask_datasets.models.determinism import single_thread
from diffumask_datasets.prompts.prompt import Prompt
from diffumask_datasets.recipes.recipe import Recipe
from diffumask_datasets.recipes.settings import PLAIN, LoadSettings

__all__ = ["UNetModel"]


class UNetModel:
    """A ``StableDiffusionPipeline`` whose cross-attention is read while it paints.

    With guidance the UNet sees the unconditional rows first and the conditional rows, the only ones read, after them.
    """

    def __init__(self, pipeline: StableDiffusionPipeline) -> None:
        pipeline.set_progress_bar_config(disable=True)
        self.pipeline = pipeline

    @classmethod
    def load(
        cls,
        model: str,
        *,
        revision: str | None = None,
        device: str | None = None,
        dtype: str | None = None,
        options: LoadSettings = PLAIN,
    ) -> UNetModel:
        """Loads a folder or Hub id; see :func:`diffumask_datasets.diffusion.pipelines.load_pipeline`."""
        pipeline = load_pipeline(
            model, revision=revision, device=device, dtype=dtype, options=options, accelerated_dtype="float16"
        )
        return cls(pipeline)

    def check(self, recipe: Recipe) -> None:
        """Refuses what this model cannot paint or record, before any work.

        Raises:
            RecipeError: a size, a number of steps, or timesteps of which none would run.
            CaptureError: no cross-attention layer has one of the grids that are asked for.
        """
        check_size("height", recipe.height, self.unit)
        check_size("width", recipe.width, self.unit)
        self._chosen_layers(recipe)
        self._affinity_layers(recipe)
        check_timesteps(self.pipeline.scheduler, recipe)

    def check_prompts(self, prompts: Iterable[Prompt]) -> None:
        """Refuses prompts whose class terms this model would not read: TokenAlignmentError."""
        for prompt in prompts:
            align_terms(prompt, self.pipeline.tokenizer)

    def paint(self, requests: Sequence[GenerationRequest], recipe: Recipe) -> list[ImageWithAttention]:
        """Paints one batch, in order; see :class:`diffumask_datasets.diffusion.protocol.DiffusionModel`."""
        if not requests:
            return []
        columns = [align_terms(request.prompt, self.pipeline.tokenizer) for request in requests]
        first_row = len(requests) if self._is_guided(recipe) else 0
        recorder = CrossAttentionRecorder(
            self._chosen_layers(recipe),
            columns,
            timesteps=recipe.attention_timesteps,
            first_row=first_row,
            contrast=recipe.contrast,
            sinks=self._sinks(requests, columns) if recipe.contrast else (),
        )
        itself = SelfAttentionRecorder(self._affinity_layers(recipe), len(requests), first_row=first_row)
        with self._recording(recorder, itself):
            images = to_uint8(self._run(requests, recipe))
        maps = recorder.maps()
        if itself.layers:
            found = zip(maps, itself.affinities(), strict=True)
            maps = [replace(attention, affinities=affinities) for attention, affinities in found]
        return [ImageWithAttention(image, attention) for image, attention in zip(images, maps, strict=True)]

    def observe(
        self, image: npt.NDArray[np.uint8], prompt: Prompt, *, timesteps: Sequence[int], seed: int = 0
    ) -> Observation:
        """What the UNet attends to in a given image; see :class:`diffumask_datasets.diffusion.protocol.Observer`."""
        for name, side in zip(("height", "width"), image.shape, strict=False):
            check_size(name, side, self.unit)
        return observe(self.pipeline, image, prompt, timesteps=timesteps, seed=seed)

    def _run(self, requests: Sequence[GenerationRequest], recipe: Recipe) -> Any:
        """Float images (batch, height, width, 3) in [0, 1]."""
        with single_thread():
            return self.pipeline(
                **call_arguments(requests, recipe),
                **guidance(recipe, len(requests)),
            ).images

    @contextmanager
    def _recording(self, recorder: CrossAttentionRecorder, itself: SelfAttentionRecorder) -> Iterator[None]:
        unet = self.pipeline.unet
        modules = {name: unet.get_submodule(name) for name in [*recorder.layers, *itself.layers]}

        def record(call: AttentionCall) -> None:
            (itself if call.name in itself.layers else recorder).record(call)

        def read_timestep(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            recorder.begin_step(float(kwargs["timestep"] if "timestep" in kwargs else args[1]))

        with native_attention(modules.values()), tap_attention(modules, record, when=lambda: recorder.is_open):
            hook = unet.register_forward_pre_hook(read_timestep, with_kwargs=True)
            try:
                yield
            finally:
                hook.remove()

    @property
    def unit(self) -> int:
        """Sides of an image are multiples of so many pixels."""
        return int(self.pipeline.vae_scale_factor * 2 ** (_levels(self.pipeline.unet) - 1))

    def _is_guided(self, recipe: Recipe) -> bool:
        # Distilled models (LCM) take the guidance scale as an input instead of a second batch.
        return recipe.guidance_scale > 1 and self.pipeline.unet.config.time_cond_proj_dim is None

    def _chosen_layers(self, recipe: Recipe) -> dict[str, Grid]:
        scale = self.pipeline.vae_scale_factor
        layers = attention_layers(self.pipeline.unet, recipe.height // scale, recipe.width // scale, cross=True)
        return select_layers(layers, recipe.attention_grids, recipe.attention_layers)

    def _sinks(
        self, requests: Sequence[GenerationRequest], columns: Sequence[dict[str, tuple[int, ...]]]
    ) -> list[dict[str, tuple[int, ...]]]:
        counts = [word_count(self.pipeline.tokenizer, request.prompt.text) for request in requests]
        return [sinks_of(column, words=count) for column, count in zip(columns, counts, strict=True)]

    def _affinity_layers(self, recipe: Recipe) -> dict[str, Grid]:
        if recipe.affinity != "self-attention":
            return {}
        scale = self.pipeline.vae_scale_factor
        layers = attention_layers(self.pipeline.unet, recipe.height // scale, recipe.width // scale, cross=False)
        return select_affinity_layers(layers, recipe.affinity_grids)


def _levels(unet: UNet2DConditionModel) -> int:
    return len(unet.config.block_out_channels)
