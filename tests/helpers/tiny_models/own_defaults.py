"""What the pipelines of diffusers do where a call gives nothing but the prompt: the reference for a family's defaults."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any
from unittest import mock

from tests.helpers.tiny_models.cases import Case

DISTILLED = {"sd_turbo": (4, 0.0), "sdxl_turbo": (4, 0.0), "flux_schnell": (4, 0.0), "lcm": (4, 8.5)}
"""Steps and guidance that the authors of distilled models name, by ``Case.model``: their pipelines have other defaults."""


class Asked(Exception):  # noqa: N818
    """The size that a pipeline was about to generate."""


def save_configurations(pipeline: Any, folder: Path) -> None:
    """Writes the model index and the configuration of each part: all that defaults are chosen by."""
    for name, part in pipeline.components.items():
        if hasattr(part, "save_config"):
            part.save_config(folder / name)
    pipeline.save_config(folder)


def own_defaults(case: Case, pipeline: Any) -> tuple[int, int, int, float]:
    """(height, width, steps, guidance) that suit a tiny pipeline, told by diffusers and by the model's authors."""
    known = inspect.signature(type(pipeline).__call__).parameters
    guidance = known["true_cfg_scale" if case.name == "Qwen-Image" else "guidance_scale"].default
    steps, guidance = DISTILLED.get(case.model, (known["num_inference_steps"].default, guidance))
    # Sana's call says 1024 whatever the model, of which the smaller ones have less.
    height, width = (256, 256) if case.name == "Sana" else _size(case, pipeline)
    return height, width, steps, guidance


def _size(case: Case, pipeline: Any) -> tuple[int, int]:
    arguments = inspect.signature(pipeline.prepare_latents)

    def refuse(*args: Any, **kwargs: Any) -> None:
        asked = arguments.bind(*args, **kwargs).arguments
        raise Asked(asked["height"], asked["width"])

    with mock.patch.object(pipeline, "prepare_latents", refuse):
        try:
            pipeline(prompt=["a car"], **case.family.fixed)
        except Asked as size:
            height, width = size.args
            return height, width
    raise AssertionError(f"{case.name}: the pipeline never made latents")
