"""Generates images with any registered pipeline and records where their tokens attend to the class terms."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from diffumask_datasets.attention.affinity import SelfAttentionRecorder, select_affinity_layers
from diffumask_datasets.attention.agreement import combine_layers
from diffumask_datasets.attention.hooks import AttentionCall, hook_attention
from diffumask_datasets.attention.layout import TextTokens, narrow
from diffumask_datasets.attention.maps import Grid
from diffumask_datasets.attention.observation import Observation, ObservingRecorder
from diffumask_datasets.attention.recorder import CrossAttentionRecorder, select_layers
from diffumask_datasets.diffusion.attention_processors import native_attention, uncompiled
from diffumask_datasets.diffusion.denoiser_hooks import DenoiserState, hook_denoiser
from diffumask_datasets.diffusion.family import Family, guidance_alone
from diffumask_datasets.diffusion.image_noising import feed_image, latents_of
from diffumask_datasets.diffusion.pipelines import (
    call_arguments,
    check_size,
    check_timesteps,
    from_noise,
    load_pipeline,
)
from diffumask_datasets.diffusion.pixels import to_uint8
from diffumask_datasets.diffusion.protocol import GenerationRequest, ImageWithAttention
from diffumask_datasets.diffusion.repainting import from_image, image_to_image
from diffumask_datasets.errors import CaptureError, RecipeError
from diffumask_datasets.models.determinism import single_thread
from diffumask_datasets.prompts.prompt import Prompt, Term
from diffumask_datasets.recipes.recipe import Recipe
from diffumask_datasets.recipes.settings import PLAIN, LoadSettings

__all__ = ["DiffusersModel"]


class DiffusersModel:
    """A diffusers pipeline whose attention is read, as its ``family`` declares, while it generates."""

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
        """Refuses what this model cannot generate or record, before any work.

        Raises:
            RecipeError: a size, a number of steps, a negative prompt, timesteps of which none would run, or a contrast or
                an affinity that this family does not have.
            CaptureError: no attention layer has one of the requested grids.
        """
        check_size("height", recipe.height, self.unit)
        check_size("width", recipe.width, self.unit)
        if recipe.negative_prompt and self.family.arguments is guidance_alone:
            raise RecipeError(f"negative_prompt: {self.family.name} has no negative prompt; leave it out")
        self._chosen_layers(recipe)
        if recipe.uses_self_attention:
            self._affinity_layers(recipe)
        if recipe.contrast == "start":
            self._check_start_token(recipe.classes[0])
        check_timesteps(self.pipeline.scheduler, recipe)

    def check_prompts(self, prompts: Iterable[Prompt]) -> None:
        """Refuses prompts whose class terms this model would not read: TokenAlignmentError."""
        for prompt in prompts:
            self.family.text(self.pipeline, [prompt])

    def generate(self, requests: Sequence[GenerationRequest], recipe: Recipe) -> list[ImageWithAttention]:
        """Generates one batch, in order; see :class:`diffumask_datasets.diffusion.protocol.DiffusionModel`."""
        return self._recorded(requests, recipe) if requests else []

    def repaint(
        self, image: npt.NDArray[np.uint8], request: GenerationRequest, recipe: Recipe, *, strength: float
    ) -> ImageWithAttention:
        """Paints over a given image; see :class:`diffumask_datasets.diffusion.protocol.Repainter`."""
        height, width = image.shape[:2]
        check_size("height", height, self.unit)
        check_size("width", width, self.unit)
        painter = DiffusersModel(image_to_image(self.pipeline), self.family)
        sized = recipe.model_copy(update={"height": height, "width": width})
        (painted,) = painter._recorded([request], sized, from_image(image, painter.pipeline, recipe, strength=strength))
        return painted

    def _recorded(
        self, requests: Sequence[GenerationRequest], recipe: Recipe, start: dict[str, Any] | None = None
    ) -> list[ImageWithAttention]:
        texts = self.family.text(self.pipeline, [request.prompt for request in requests])
        layers = self._chosen_layers(recipe)
        recorder = CrossAttentionRecorder(
            layers, self._keys(texts, layers), timesteps=recipe.attention_timesteps, contrast=recipe.contrast
        )
        self_layers = self._affinity_layers(recipe) if recipe.uses_self_attention else {}
        self_recorder = SelfAttentionRecorder(self_layers, len(requests))
        with self._recording(recorder, self_recorder.layers, lambda: self_recorder, texts) as state:
            images = to_uint8(self._run(requests, recipe, start))
        if not state.seen:
            raise CaptureError(
                f"no call of the {self.family.denoiser} of {type(self.pipeline).__name__} was given the text that "
                "encode_prompt made of the prompt: no prompt token reaches the image, or its family is declared wrongly"
            )
        affinities = self_recorder.affinities() if self_layers else [{} for _ in requests]
        seen = zip(images, recorder.maps(), affinities, strict=True)
        return [
            ImageWithAttention(image, combine_layers(sums, affinity, attention=recipe.attention))
            for image, sums, affinity in seen
        ]

    @torch.no_grad()
    def observe(
        self, image: npt.NDArray[np.uint8], prompt: Prompt, *, timesteps: Sequence[int], seed: int = 0
    ) -> Observation:
        """What the denoiser attends to in a given image; see :class:`diffumask_datasets.diffusion.protocol.Observer`."""
        height, width = image.shape[:2]
        check_size("height", height, self.unit)
        check_size("width", width, self.unit)
        texts = self.family.text(self.pipeline, [prompt])
        layers = self.family.layers(self.pipeline, self.denoiser, height, width)
        recorder = ObservingRecorder(layers, *self._keys(texts, layers))
        find = self.family.self_layers
        self_layers = {} if isinstance(find, str) else find(self.pipeline, self.denoiser, height, width)
        by_step = {timestep: SelfAttentionRecorder(self_layers, 1) for timestep in timesteps}

        with (
            single_thread(),
            feed_image(self.pipeline, self.denoiser, latents_of(self.pipeline, image), timesteps=timesteps, seed=seed),
            self._recording(recorder, self_layers, lambda: by_step[recorder.timestep], texts),
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
        affinities = {step: found.affinities()[0] for step, found in by_step.items() if self_layers}
        return recorder.observation(
            {(grid, step): affinity.half() for step, grids in affinities.items() for grid, affinity in grids.items()}
        )

    def _run(self, requests: Sequence[GenerationRequest], recipe: Recipe, start: dict[str, Any] | None = None) -> Any:
        """Float images (batch, height, width, 3) in [0, 1]; they start from noise unless ``start`` says otherwise."""
        with single_thread():
            return self.pipeline(
                **call_arguments(requests),
                **(start or from_noise(recipe)),
                **self.family.arguments(recipe, len(requests)),
                **self.family.fixed,
            ).images

    @contextmanager
    def _recording(
        self,
        recorder: CrossAttentionRecorder,
        self_layers: dict[str, Grid],
        self_recorder: Callable[[], SelfAttentionRecorder],
        texts: Sequence[TextTokens],
    ) -> Iterator[DenoiserState]:
        layers = {**recorder.layers, **self_layers}
        modules = {name: self.denoiser.get_submodule(name) for name in layers}

        def begin(state: DenoiserState) -> None:
            recorder.begin_step(state.timestep(self.pipeline.scheduler))

        def record(call: AttentionCall) -> None:
            height, width = layers[call.name]
            layout, queries = self.family.layout, call.query.shape[2]
            starts = [layout.first_query(text, height * width, queries) for text in texts]
            call = narrow(call, state.rows or slice(0), starts, height * width)
            is_cross, is_self = call.name in recorder.layers, call.name in self_layers
            # In joint attention both recorders need the same weights, which are costly to compute.
            listener = self_recorder().listener(call, starts) if is_cross and is_self else None
            if is_cross:
                recorder.record(call, listener)
            if is_self and listener is None:
                self_recorder().record(call, starts)

        def is_requested() -> bool:
            return recorder.is_open and state.rows is not None

        with ExitStack() as stack:
            state = stack.enter_context(hook_denoiser(self.pipeline, self.denoiser, self.family.text_argument, begin))
            stack.enter_context(uncompiled(getattr(self.pipeline, self.family.denoiser)))
            stack.enter_context(native_attention(modules.values()))
            stack.enter_context(hook_attention(modules, record, when=is_requested))
            yield state

    def _keys(self, texts: Sequence[TextTokens], layers: dict[str, Grid]) -> list[TextTokens]:
        image_tokens = max(height * width for height, width in layers.values())
        return [self.family.layout.keys(text, image_tokens) for text in texts]

    def _chosen_layers(self, recipe: Recipe) -> dict[str, Grid]:
        layers = self.family.layers(self.pipeline, self.denoiser, recipe.height, recipe.width)
        return select_layers(layers, recipe.attention_grids, recipe.attention_layers)

    def _affinity_layers(self, recipe: Recipe) -> dict[str, Grid]:
        find = self.family.self_layers
        if isinstance(find, str):
            raise recipe.without_self_attention(self.family.name, find)
        layers = find(self.pipeline, self.denoiser, recipe.height, recipe.width)
        return select_affinity_layers(layers, recipe.affinity_grids)

    def _check_start_token(self, category: str) -> None:
        prompt = Prompt(category, (Term(category, 0, len(category)),))
        (text,) = self.family.text(self.pipeline, [prompt])
        if text.start is None:
            raise RecipeError(
                f"contrast 'start': the text of {self.family.name} has no start token; take 'words' or 'background', or "
                "leave contrast out"
            )


def _unguided(prompt: Prompt, height: int, width: int) -> Recipe:
    """A recipe whose guidance arguments request no second pass."""
    return Recipe.of(classes=list(prompt.categories), model="observed", height=height, width=width, guidance_scale=1)
