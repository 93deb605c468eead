"""The part ``families`` of bench_transfer: whether every family of docs/models.md gets what suits it, at any size.

Defaults are compared with the pipelines' own, sizes are checked as they are before generation, and what is recorded is
compared with full attention.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from diffumask_datasets.diffusion.defaults import model_defaults
from diffumask_datasets.diffusion.diffusion import DiffusersModel
from diffumask_datasets.errors import CaptureError, RecipeError
from diffumask_datasets.recipes.recipe import Recipe
from tests.helpers.tiny_models import models
from tests.helpers.tiny_models.cases import CASES, Case
from tests.helpers.tiny_models.checks import reference_errors
from tests.helpers.tiny_models.own_defaults import own_defaults, save_configurations

SMALLEST, LARGEST = 256, 1536
RATIOS = (1.0, 1.25, 4 / 3, 1.5, 16 / 9, 2.0, 3.0)
"""The longer side over the shorter one."""


def family_figures(*, quick: bool) -> dict[str, float]:
    """Counts families with the right defaults and sizes that a default setting makes the model refuse; errors of capture."""
    right, refused, checked = 0, 0, 0
    for case in CASES:
        pipeline = models.built(case.model)
        with tempfile.TemporaryDirectory() as folder:
            save_configurations(pipeline, Path(folder))
            defaults = chosen_defaults(folder)
        found = tuple(defaults[name] for name in ("height", "width", "num_inference_steps", "guidance_scale"))
        right += found == own_defaults(case, pipeline)
        sizes = list(sizes_of(case, every=8 if quick else 1))
        checked += len(sizes)
        refused += len(refused_sizes(DiffusersModel(pipeline, case.family), sizes, defaults))
    return {
        "families": len(CASES),
        "family_defaults_right": right,
        "sizes_checked": checked,
        "sizes_refused": refused,
        **capture_errors(),
    }


def capture_errors() -> dict[str, float]:
    """The largest difference between what any family records and full attention: of columns, and of affinities."""
    columns, affinities = zip(*(reference_errors(case) for case in CASES), strict=True)
    known = [error for error in affinities if error is not None]
    return {"recorded_columns_error": max(columns), "recorded_affinities_error": max(known)}


def chosen_defaults(folder: str) -> dict[str, Any]:
    """All that a recipe which names nothing but this model gets."""
    return model_defaults(Recipe.of(classes=["car"], model=folder))


def sizes_of(case: Case, *, every: int = 1) -> Iterator[tuple[int, int]]:
    """(height, width): each longer side in steps of the model's unit, portrait and landscape, in several proportions."""
    for long in range(SMALLEST, LARGEST + 1, case.multiple * every):
        shorter = {max(SMALLEST, round(long / ratio / case.multiple) * case.multiple) for ratio in RATIOS}
        for short in sorted(shorter, reverse=True):
            yield from {(long, short), (short, long)}


def refused_sizes(
    model: DiffusersModel, sizes: list[tuple[int, int]], defaults: dict[str, Any]
) -> list[tuple[int, int, str]]:
    """(height, width, message) of each size that the model refuses with its defaults."""
    refused = []
    for height, width in sizes:
        fields = {**defaults, "height": height, "width": width}
        try:
            model.check(Recipe.of(classes=["car"], model="tiny", **fields).completed({}))
        except (CaptureError, RecipeError) as error:
            refused.append((height, width, str(error)))
    return refused
