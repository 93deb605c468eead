"""What suits a model where a recipe says nothing: size, steps and guidance; attention follows in ``attention_defaults``.

The size comes from the model's own configuration; steps and guidance come from the page of its family, or from the rules
below where the model is distilled to a few steps.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffumask_datasets.diffusion.attention_defaults import attention_defaults, open_attention
from diffumask_datasets.diffusion.family import Defaults, Family
from diffumask_datasets.diffusion.model_index import class_of, read_index
from diffumask_datasets.diffusion.registry import find_family
from diffumask_datasets.errors import ModelError, RecipeError
from diffumask_datasets.models.reference import PIPELINE
from diffumask_datasets.recipes.json_reader import read_json
from diffumask_datasets.recipes.recipe import Recipe

__all__ = ["model_defaults"]

logger = logging.getLogger(__name__)

_FAKE_MODEL = {"height": 512, "width": 512, "num_inference_steps": 50, "guidance_scale": 7.5}
"""The fake model generates any size and takes no steps."""


@dataclass(frozen=True, slots=True)
class _Configuration:
    """What the files of a model say; empty mappings where it has none of them."""

    pipeline: str
    index: Mapping[str, Any]
    denoiser: Mapping[str, Any]
    vae: Mapping[str, Any]
    scheduler: Mapping[str, Any]


def _has_turbo_scheduler(model: _Configuration) -> bool:
    scheduler = model.scheduler
    return (
        str(scheduler.get("_class_name")).startswith("Euler")
        and scheduler.get("timestep_spacing") == "trailing"
        and scheduler.get("prediction_type", "epsilon") == "epsilon"
        and not scheduler.get("rescale_betas_zero_snr")
    )


_Rule = tuple[str, Callable[[_Configuration], object], Defaults]

_RULES: tuple[_Rule, ...] = (
    ("its UNet is an LCM's", lambda model: model.denoiser.get("time_cond_proj_dim"), Defaults(4, 8.5)),
    ("its scheduler is LCM's", lambda model: model.scheduler.get("_class_name") == "LCMScheduler", Defaults(4, 1.0)),
    (
        "it has no guidance embedding",
        lambda model: model.pipeline == "FluxPipeline" and model.denoiser.get("guidance_embeds") is False,
        Defaults(4, 0.0),
    ),
    ("its index says that it is distilled", lambda model: model.index.get("is_distilled"), Defaults(4, 1.0)),
    ("its scheduler is Turbo's", _has_turbo_scheduler, Defaults(4, 0.0)),
)
"""How the configuration of a distilled model shows, in words and as a test, and what suits such a model."""

_TURBO = ("sd-turbo", "sdxl-turbo", "flux.1-schnell", "stable-diffusion-3.5-large-turbo")
_LIGHTNING = ("sdxl-lightning", "sdxl_lightning_4step", "sdxl_lightning_4step_unet", "sdxl_lightning_4step_lora")
_LCM = ("lcm-sdxl", "lcm-lora-sdv1-5", "lcm-lora-sdxl", "lcm-lora-ssd-1b")

_NAMES: Mapping[str, Defaults] = {
    **dict.fromkeys((*_TURBO, *_LIGHTNING), Defaults(4, 0.0)),
    **dict.fromkeys(_LCM, Defaults(4, 1.0)),
    "z-image-turbo": Defaults(9, 0.0),
    "qwen-image-lightning": Defaults(8, 1.0),
}
"""Distilled models whose configuration does not show it: the last part of a Hub id, folder or file, in lower case."""


def model_defaults(recipe: Recipe) -> dict[str, Any]:
    """Values for the size, steps, guidance and attention that a recipe leaves open; the log says which, and why.

    Reads no file where the recipe gives them all, and the index of the model once.

    Raises:
        ModelError: the model cannot be found, or its configuration cannot be read.
        RecipeError: the model does not say what suits it; names the fields to give.
    """
    names = [name for name in _FAKE_MODEL if getattr(recipe, name) is None]
    if recipe.model == "planted" or not (names or open_attention(recipe)):
        return {name: _FAKE_MODEL[name] for name in names}
    index = read_index(recipe.model, recipe.revision)
    family = find_family(recipe.model, class_of(index))
    chosen = _suited(recipe, names, index, family) if names else {}
    steps = chosen.get("num_inference_steps", recipe.num_inference_steps)
    return {**chosen, **attention_defaults(recipe, family, num_inference_steps=steps)}


def _suited(recipe: Recipe, names: Sequence[str], index: Mapping[str, Any], family: Any) -> dict[str, Any]:
    model = _configuration(recipe, index, family)
    declared = family.defaults if isinstance(family, Family) else None
    declared = declared or _signature(model.pipeline)
    reason, suited = _distilled(recipe, model) or (f"as for any {model.pipeline}", declared)
    height, width = _size(model, declared)
    found = {
        "height": height,
        "width": width,
        "num_inference_steps": suited.num_inference_steps if suited else None,
        "guidance_scale": suited.guidance_scale if suited else None,
    }
    chosen = {name: found[name] for name in names}
    unknown = [name for name, value in chosen.items() if value is None]
    if unknown:
        raise RecipeError(
            f"the model {recipe.model!r}, a {model.pipeline}, does not say what suits it: give {', '.join(unknown)}"
        )
    values = ", ".join(f"{name} {value:g}" for name, value in chosen.items())
    logger.info("%s: %s (%s); give these fields to choose other values", recipe.model, values, reason)
    return chosen


def _configuration(recipe: Recipe, index: Mapping[str, Any], family: Any) -> _Configuration:
    reference = PIPELINE.named(recipe.model, recipe.revision)

    def read(part: str, name: str) -> Mapping[str, Any]:
        # A part that the index does not name is not asked for on the Hub.
        if part not in index or (reference.local and not (reference.local / part / name).is_file()):
            return {}
        content = read_json(reference.file(f"{part}/{name}"), what="the configuration", error=ModelError)
        return content if isinstance(content, dict) else {}

    denoiser = family.denoiser if isinstance(family, Family) else "unet" if "unet" in index else "transformer"
    scheduler = {"_class_name": recipe.scheduler} if recipe.scheduler else read("scheduler", "scheduler_config.json")
    return _Configuration(class_of(index), index, read(denoiser, "config.json"), read("vae", "config.json"), scheduler)


def _distilled(recipe: Recipe, model: _Configuration) -> tuple[str, Defaults] | None:
    for name in filter(None, (recipe.lora, recipe.checkpoint, recipe.model)):
        for known in (Path(name).name.lower(), Path(name).stem.lower()):
            if known in _NAMES:
                return f"{name} is distilled, by its name", _NAMES[known]
    return next(((f"distilled: {reason}", suited) for reason, shows, suited in _RULES if shows(model)), None)


def _size(model: _Configuration, declared: Defaults | None) -> tuple[int | None, int | None]:
    """(height, width): what the family says, or else the size of the denoiser's latents times the scale of the VAE."""
    if declared and declared.size:
        return declared.size, declared.size
    latents = model.denoiser.get("sample_size")
    sides: list[Any] = latents if isinstance(latents, list) else [latents, latents]
    levels = model.vae.get("block_out_channels") or model.vae.get("encoder_block_out_channels")
    if not levels or not all(isinstance(side, int) for side in sides):
        return None, None
    height, width = (side << (len(levels) - 1) for side in sides)
    return height, width


def _signature(pipeline: str) -> Defaults | None:
    """What the call of a pipeline of diffusers does by default, for one that has no page."""
    import diffusers

    kind = getattr(diffusers, pipeline, None)
    parameters = inspect.signature(kind.__call__).parameters if isinstance(kind, type) else {}
    default = {name: parameter.default for name, parameter in parameters.items()}
    steps, guidance = default.get("num_inference_steps"), default.get("true_cfg_scale") or default.get("guidance_scale")
    size = default.get("height")
    if not isinstance(steps, int) or not isinstance(guidance, int | float):
        return None
    return Defaults(steps, float(guidance), size=size if isinstance(size, int) else None)
