"""The two proofs that a family's maps are right: against full attention, and in a planted place."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from diffumask_datasets.diffusion.diffusion import DiffusersModel
from diffumask_datasets.recipes.recipe import Recipe
from tests.helpers.tiny_models.cases import PIECES, REQUESTS, Case
from tests.helpers.tiny_models.eager import eager_attention
from tests.helpers.tiny_models.planting import planted, planted_unet

GRID = (4, 8)
REGION = torch.zeros(GRID, dtype=torch.bool)
REGION[1:3, 0:5] = True


def reference(case: Case, recipe: Recipe, backbone: DiffusersModel) -> tuple[list[torch.Tensor], Any]:
    """Of both prompts every (layer, step) map (n, 4, 8) from full attention, and the images that it makes, uint8."""
    with eager_attention(backbone.denoiser, list(backbone._chosen_layers(recipe))) as maps:
        images = backbone._run(REQUESTS, recipe)
    has_unconditional = recipe.guidance_scale > 1 and case.conditional == "calls"
    heats: list[list[torch.Tensor]] = [[], []]
    for calls in maps.values():
        for weights in calls[:: 2 if has_unconditional else 1]:
            rows = weights[:2] if case.conditional == "first" else weights[-2:]
            for image, row in enumerate(rows):
                start = case.image[image] % len(row)
                heat = row[start : start + 32, list(case.columns[image])].mean(dim=1).reshape(GRID)
                heats[image].append(heat / heat.max())
    return [torch.stack(heat) for heat in heats], np.rint(images * 255).astype(np.uint8)


def reference_error(case: Case) -> float:
    """Largest difference between recorded maps and those of full attention, with guidance."""
    backbone, recipe = case.backbone(), case.recipe()
    heats, _ = reference(case, recipe, backbone)
    paintings = backbone.paint(REQUESTS, recipe)
    pairs = zip(paintings, heats, strict=True)
    return max(float((one.attention.grids[GRID][0] - heat.mean(dim=0)).abs().max()) for one, heat in pairs)


def planted_heat(case: Case, **fields: Any) -> list[torch.Tensor]:
    """The recorded maps (4, 8) of both prompts when REGION, and nothing else, attends to the words of the classes."""
    backbone, recipe = case.backbone(), case.recipe(**fields)
    if case.family.denoiser == "unet":
        planting = planted_unet(backbone.pipeline, list(backbone._chosen_layers(recipe)), PIECES, REGION)
    else:
        planting = planted(backbone.pipeline, backbone.denoiser, PIECES, REGION, dict(case.embedders))
    with planting:
        return [painting.attention.grids[GRID][0] for painting in backbone.paint(REQUESTS, recipe)]


def lights_up(heats: list[torch.Tensor]) -> bool:
    """Whether REGION is bright and all else dark in every map."""
    return all(torch.equal(heat > 0.5, REGION) and bool(heat[~REGION].max() < 0.1) for heat in heats)
