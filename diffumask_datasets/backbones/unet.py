"""Stable Diffusion 1 and 2, and so the toybox: a UNet with separate cross-attention."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from torch import nn

from diffumask_datasets.attention.alignment import align_terms
from diffumask_datasets.attention.maps import Grid
from diffumask_datasets.attention.recorder import CrossAttentionRecorder, select_layers
from diffumask_datasets.attention.tap import tap_attention
from diffumask_datasets.backbones.native import native_attention
from diffumask_datasets.backbones.options import PLAIN, LoadOptions
from diffumask_datasets.backbones.pipelines import load_pipeline
from diffumask_datasets.backbones.pixels import to_uint8
from diffumask_datasets.backbones.protocol import Painting, PaintRequest
from diffumask_datasets.backbones.steady import single_thread
from diffumask_datasets.errors import RecipeError
from diffumask_datasets.recipe import Recipe

__all__ = ["UNetBackbone"]


class UNetBackbone:
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
        options: LoadOptions = PLAIN,
    ) -> UNetBackbone:
        """Loads a folder or Hub id; see :func:`diffumask_datasets.backbones.pipelines.load_pipeline`."""
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
        unit = self.pipeline.vae_scale_factor * 2 ** (_levels(self.pipeline.unet) - 1)
        _check_size("height", recipe.height, unit)
        _check_size("width", recipe.width, unit)
        self._chosen_layers(recipe)
        self._check_timesteps(recipe)

    def paint(self, requests: Sequence[PaintRequest], recipe: Recipe) -> list[Painting]:
        """Paints one batch, in order; see :class:`diffumask_datasets.backbones.protocol.Backbone`."""
        if not requests:
            return []
        columns = [align_terms(request.prompt, self.pipeline.tokenizer) for request in requests]
        layers = self._chosen_layers(recipe)
        recorder = CrossAttentionRecorder(
            layers,
            columns,
            timesteps=recipe.attention_timesteps,
            first_row=len(requests) if self._is_guided(recipe) else 0,
        )
        with self._recording(layers, recorder):
            images = to_uint8(self._run(requests, recipe))
        return [Painting(image, maps) for image, maps in zip(images, recorder.maps(), strict=True)]

    def _run(self, requests: Sequence[PaintRequest], recipe: Recipe) -> Any:
        """Float images (batch, height, width, 3) in [0, 1]."""
        with single_thread():
            return self.pipeline(
                prompt=[request.prompt.text for request in requests],
                negative_prompt=[recipe.negative_prompt] * len(requests),
                height=recipe.height,
                width=recipe.width,
                num_inference_steps=recipe.num_inference_steps,
                guidance_scale=recipe.guidance_scale,
                # Drawn on the CPU, one generator a row: the noise is the same on every device and in every batch.
                generator=[torch.Generator("cpu").manual_seed(request.seed) for request in requests],
                output_type="np",
            ).images

    @contextmanager
    def _recording(self, layers: Mapping[str, Grid], recorder: CrossAttentionRecorder) -> Iterator[None]:
        unet = self.pipeline.unet
        modules = {name: unet.get_submodule(name) for name in layers}

        def read_timestep(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            recorder.begin_step(float(kwargs["timestep"] if "timestep" in kwargs else args[1]))

        with native_attention(modules.values()), tap_attention(modules, recorder.record, when=lambda: recorder.is_open):
            hook = unet.register_forward_pre_hook(read_timestep, with_kwargs=True)
            try:
                yield
            finally:
                hook.remove()

    def _is_guided(self, recipe: Recipe) -> bool:
        # Distilled models (LCM) take the guidance scale as an input instead of a second batch.
        return recipe.guidance_scale > 1 and self.pipeline.unet.config.time_cond_proj_dim is None

    def _chosen_layers(self, recipe: Recipe) -> dict[str, Grid]:
        scale = self.pipeline.vae_scale_factor
        layers = _cross_attention_layers(self.pipeline.unet, recipe.height // scale, recipe.width // scale)
        return select_layers(layers, recipe.attention_grids)

    def _check_timesteps(self, recipe: Recipe) -> None:
        scheduler = type(self.pipeline.scheduler).from_config(self.pipeline.scheduler.config)
        most = scheduler.config.num_train_timesteps
        if recipe.num_inference_steps > most:
            raise RecipeError(f"num_inference_steps is {recipe.num_inference_steps}; this model has only {most}")
        scheduler.set_timesteps(recipe.num_inference_steps)
        steps = scheduler.timesteps.tolist()
        first, last = recipe.attention_timesteps
        if not any(first <= step <= last for step in steps):
            raise RecipeError(
                f"attention_timesteps [{first}, {last}] holds none of the {len(steps)} timesteps from {min(steps):g} "
                f"to {max(steps):g}; widen it or raise num_inference_steps"
            )


def _levels(unet: UNet2DConditionModel) -> int:
    return len(unet.config.block_out_channels)


def _cross_attention_layers(unet: UNet2DConditionModel, latent_height: int, latent_width: int) -> dict[str, Grid]:
    """Name → (height, width) in tokens of each layer where image attends to text."""
    layers = {}
    for name, module in unet.named_modules():
        if isinstance(module, Attention) and module.is_cross_attention:
            level = _level(name, _levels(unet))
            layers[name] = (latent_height >> level, latent_width >> level)
    return layers


def _level(name: str, levels: int) -> int:
    """How often the latents were halved where a block of ``UNet2DConditionModel`` runs."""
    part, number, *_ = name.split(".")
    match part:
        case "down_blocks":
            return int(number)
        case "up_blocks":
            return levels - 1 - int(number)
        case _:
            return levels - 1


def _check_size(name: str, size: int, unit: int) -> None:
    if size % unit:
        nearest = max(unit, round(size / unit) * unit)
        raise RecipeError(
            f"{name} {size} cannot be painted by this model: it takes multiples of {unit}; the nearest is {nearest}"
        )
