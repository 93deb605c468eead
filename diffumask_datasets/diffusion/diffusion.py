"""Paints with any registered pipeline and records where its image tokens look at the class terms."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from diffumask_datasets.attention.hooks import AttentionCall, tap_attention
from diffumask_datasets.attention.layout import TextTokens, narrow
from diffumask_datasets.attention.maps import Grid
from diffumask_datasets.attention.observation import Observation, ObservingRecorder
from diffumask_datasets.attention.recorder import CrossAttentionRecorder, select_layers
from diffumask_datasets.diffusion.attention_processors import native_attention, uncompiled
from diffumask_datasets.diffusion.calls import call_arguments, check_size, check_timesteps
from diffumask_datasets.diffusion.denoiser_hooks import Watch, watching
from diffumask_datasets.diffusion.family import Family, guidance_alone
from diffumask_datasets.diffusion.image_noising import latents_of, shown
from diffumask_datasets.diffusion.pipelines import load_pipeline
from diffumask_datasets.diffusion.pixels import to_uint8
from diffumask_datasets.diffusion.protocol import GenerationRequest, ImageWithAttention
from diffumask_datasets.errors import CaptureError, RecipeError
from diffumask_datasets.models.determinism import single_thread
from diffumask_datasets.prompts.prompt import Prompt
from diffumask_datasets.recipes.recipe import Recipe
from diffumask_datasets.recipes.settings import PLAIN, LoadSettings

__all__ = ["DiffusersModel"]


class DiffusersModel:
    """A diffusers pipeline whose attention is read, as its ``family`` declares, while it paints."""

    def __init__(self, pipeline: Any, family: Family) -> None:
        pipeline.set_progress_bar_config(disable=True)
        self.pipeline = pipeline
        self.family = family

    @classmethod
    def load(
        cls,
        model: str,
        *,
        family: Family,
        revision: str | None = None,
        device: str | None = None,
        dtype: str | None = None,
        options: LoadSettings = PLAIN,
    ) -> DiffusersModel:
        """Loads a folder or Hub id of ``family``; see :func:`diffumask_datasets.diffusion.pipelines.load_pipeline`."""
        pipeline = load_pipeline(
            model, revision=revision, device=device, dtype=dtype, options=options, accelerated_dtype=family.dtype
        )
        return cls(pipeline, family)

    @property
    def denoiser(self) -> Any:
        """The UNet or transformer, without torch.compile's wrapper."""
        denoiser = getattr(self.pipeline, self.family.denoiser)
        return getattr(denoiser, "_orig_mod", denoiser)

    @property
    def unit(self) -> int:
        """Sides of an image are multiples of so many pixels."""
        return int(self.family.layers.unit(self.pipeline, self.denoiser))

    def check(self, recipe: Recipe) -> None:
        """Refuses what this model cannot paint or record, before any work.

        Raises:
            RecipeError: a size, a number of steps, a negative prompt, timesteps of which none would run, or attention
                that is read of Stable Diffusion 1 and 2 alone.
            CaptureError: no attention layer has one of the grids that are asked for.
        """
        check_size("height", recipe.height, self.unit)
        check_size("width", recipe.width, self.unit)
        if recipe.negative_prompt and self.family.arguments is guidance_alone:
            raise RecipeError(f"negative_prompt: {self.family.name} has no negative prompt; leave it out")
        for name, value in (("contrast", recipe.contrast), ("affinity", recipe.affinity)):
            if value not in (None, "affinitynet"):
                raise RecipeError(f"{name} {value!r} is read of Stable Diffusion 1 and 2 alone; leave it out")
        self._chosen_layers(recipe)
        check_timesteps(self.pipeline.scheduler, recipe)

    def check_prompts(self, prompts: Iterable[Prompt]) -> None:
        """Refuses prompts whose class terms this model would not read: TokenAlignmentError."""
        for prompt in prompts:
            self.family.text(self.pipeline, [prompt])

    def paint(self, requests: Sequence[GenerationRequest], recipe: Recipe) -> list[ImageWithAttention]:
        """Paints one batch, in order; see :class:`diffumask_datasets.diffusion.protocol.DiffusionModel`."""
        if not requests:
            return []
        texts = self.family.text(self.pipeline, [request.prompt for request in requests])
        layers = self._chosen_layers(recipe)
        image_tokens = max(height * width for height, width in layers.values())
        columns = [self.family.layout.columns(text, image_tokens) for text in texts]
        recorder = CrossAttentionRecorder(layers, columns, timesteps=recipe.attention_timesteps)
        with self._recording(layers, recorder, texts) as watch:
            images = to_uint8(self._run(requests, recipe))
        if not watch.seen:
            raise CaptureError(
                f"no call of the {self.family.denoiser} of {type(self.pipeline).__name__} was given the text that "
                "encode_prompt made of the prompt: no prompt token reaches the image, or its family is declared wrongly"
            )
        return [ImageWithAttention(image, maps) for image, maps in zip(images, recorder.maps(), strict=True)]

    @torch.no_grad()
    def observe(
        self, image: npt.NDArray[np.uint8], prompt: Prompt, *, timesteps: Sequence[int], seed: int = 0
    ) -> Observation:
        """What the denoiser attends to in a given image; see :class:`diffumask_datasets.diffusion.protocol.Observer`.

        Sinks and the image's attention to itself are not observed.

        Raises:
            ModelError: a family that takes images in a form of its own.
        """
        height, width = image.shape[:2]
        check_size("height", height, self.unit)
        check_size("width", width, self.unit)
        (text,) = texts = self.family.text(self.pipeline, [prompt])
        layers = self.family.layers(self.pipeline, self.denoiser, height, width)
        columns = self.family.layout.columns(text, max(rows * columns for rows, columns in layers.values()))
        recorder = ObservingRecorder(layers, columns, {})
        with single_thread():
            latents = latents_of(self.pipeline.vae, image)
            with (
                shown(self.pipeline, self.denoiser, latents, timesteps=timesteps, seed=seed),
                self._recording(layers, recorder, texts),
            ):
                self.pipeline(
                    prompt=[prompt.text],
                    height=height,
                    width=width,
                    num_inference_steps=len(timesteps),
                    output_type="latent",
                    **self.family.arguments(_unguided(prompt, height, width), 1),
                    **self.family.fixed,
                )
        return recorder.observation({})

    def _run(self, requests: Sequence[GenerationRequest], recipe: Recipe) -> Any:
        """Float images (batch, height, width, 3) in [0, 1]."""
        with single_thread():
            return self.pipeline(
                **call_arguments(requests, recipe),
                **self.family.arguments(recipe, len(requests)),
                **self.family.fixed,
            ).images

    @contextmanager
    def _recording(
        self, layers: Mapping[str, Grid], recorder: CrossAttentionRecorder, texts: Sequence[TextTokens]
    ) -> Iterator[Watch]:
        modules = {name: self.denoiser.get_submodule(name) for name in layers}

        def begin(watch: Watch) -> None:
            recorder.begin_step(watch.timestep(self.pipeline.scheduler))

        def record(call: AttentionCall) -> None:
            height, width = layers[call.name]
            layout, queries = self.family.layout, call.query.shape[2]
            starts = [layout.first_query(text, height * width, queries) for text in texts]
            recorder.record(narrow(call, watch.rows or slice(0), starts, height * width))

        def is_wanted() -> bool:
            return recorder.is_open and watch.rows is not None

        with ExitStack() as stack:
            watch = stack.enter_context(watching(self.pipeline, self.denoiser, self.family.text_argument, begin))
            stack.enter_context(uncompiled(getattr(self.pipeline, self.family.denoiser)))
            stack.enter_context(native_attention(modules.values()))
            stack.enter_context(tap_attention(modules, record, when=is_wanted))
            yield watch

    def _chosen_layers(self, recipe: Recipe) -> dict[str, Grid]:
        layers = self.family.layers(self.pipeline, self.denoiser, recipe.height, recipe.width)
        return select_layers(layers, recipe.attention_grids, recipe.attention_layers)


def _unguided(prompt: Prompt, height: int, width: int) -> Recipe:
    """A recipe whose guidance arguments ask for no second pass."""
    return Recipe.of(classes=list(prompt.categories), model="shown", height=height, width=width, guidance_scale=1)
