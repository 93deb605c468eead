"""The two proofs that a family's maps are right: against full attention, and in a planted place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from diffumask_datasets.attention.contrast import Contrast
from diffumask_datasets.attention.maps import AttentionMaps
from diffumask_datasets.diffusion.diffusion import DiffusersModel
from diffumask_datasets.recipes.recipe import Recipe
from tests.helpers.tiny_models.cases import PIECES, REQUESTS, Case
from tests.helpers.tiny_models.eager import eager_attention
from tests.helpers.tiny_models.planting import planted, planted_unet

GRID = (4, 8)
REGION = torch.zeros(GRID, dtype=torch.bool)
REGION[1:3, 0:5] = True


@dataclass(frozen=True, slots=True)
class Reference:
    """What full attention gives: each prompt's mean map (4, 8), by contrast, affinity (32, 32) and image."""

    counts: int
    heats: dict[Contrast | None, list[torch.Tensor]]
    affinities: list[torch.Tensor] | None
    images: Any


def reference(
    case: Case, recipe: Recipe, diffusion_model: DiffusersModel, contrasts: Sequence[Contrast | None]
) -> Reference:
    """Both prompts generated with full attention, computed eagerly and kept whole."""
    layers, self_layers = list(diffusion_model._chosen_layers(recipe)), case.self_layers(diffusion_model.denoiser)
    with eager_attention(diffusion_model.denoiser, list({*layers, *self_layers})) as maps:
        images = diffusion_model._run(REQUESTS, recipe)
    has_unconditional = recipe.guidance_scale > 1 and case.conditional == "calls"
    cross: list[list[torch.Tensor]] = [[], []]
    blocks: list[list[torch.Tensor]] = [[], []]
    for name, calls in maps.items():
        for weights in calls[:: 2 if has_unconditional else 1]:
            rows = weights[:2] if case.conditional == "first" else weights[-2:]
            for image, row in enumerate(rows):
                start = case.image[image] % len(row)
                if name in layers:
                    cross[image].append(row[start : start + 32])
                if name in self_layers and (case.is_joint or row.shape == (32, 32)):
                    blocks[image].append(row[start : start + 32, start : start + 32])
    affinities = [torch.stack(block).mean(dim=0) for block in blocks] if self_layers else None
    return Reference(
        len(cross[0]),
        {contrast: [_heat(cross[image], case, image, contrast) for image in (0, 1)] for contrast in contrasts},
        affinities and [affinity / affinity.sum(dim=1, keepdim=True) for affinity in affinities],
        np.rint(images * 255).astype(np.uint8),
    )


def _heat(calls: list[torch.Tensor], case: Case, image: int, contrast: Contrast | None) -> torch.Tensor:
    """The mean map (4, 8) of full attention (32, keys) in every layer and step."""
    own, others = list(case.token_indices[image]), list(case.other_words[image])
    heats = []
    for weights in calls:
        heat = weights[:, own].mean(dim=1)
        if contrast == "words":
            heat = heat / weights[:, own + others].sum(dim=1)
        elif contrast == "background":
            heat = (heat - weights[:, others].mean(dim=1)).clamp_min(0)
        elif contrast == "start":
            heat = heat / weights[:, case.starts[image]]
        heats.append((heat / heat.max().clamp_min(1e-30)).reshape(GRID))  # zero where other words have more everywhere
    return torch.stack(heats).mean(dim=0)


def reference_errors(case: Case) -> tuple[float, float | None]:
    """Largest difference from full attention, with guidance: of recorded maps, and of affinities where they are read."""
    diffusion_model, recipe = case.diffusion_model(), case.recipe(**case.affinity)
    expected = reference(case, recipe, diffusion_model, [None])
    found = [one.attention for one in diffusion_model.generate(REQUESTS, recipe)]
    maps = max(_difference(one.grids[GRID][0], heat) for one, heat in zip(found, expected.heats[None], strict=True))
    if expected.affinities is None:
        return maps, None
    pairs = zip(found, expected.affinities, strict=True)
    return maps, max(_difference(one.affinities[GRID], affinity) for one, affinity in pairs)


def _difference(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).abs().max())


def planted_attention(
    case: Case, recipes: Sequence[Recipe], *, keys: Literal["text", "image"] = "text"
) -> list[AttentionMaps]:
    """The recorded attention to both prompts when REGION, and nothing else, attends to the words of the classes.

    With ``keys`` of the image, REGION attends to itself instead, and everything else to everything else.
    """
    diffusion_model = case.diffusion_model()
    if case.family.denoiser == "unet":
        find = diffusion_model._chosen_layers if keys == "text" else diffusion_model._affinity_layers
        planting = planted_unet(diffusion_model.pipeline, list(find(recipes[0])), PIECES, REGION, keys=keys)
    else:
        planting = planted(
            diffusion_model.pipeline, diffusion_model.denoiser, PIECES, REGION, dict(case.embedders), keys=keys
        )
    with planting:
        return [one.attention for recipe in recipes for one in diffusion_model.generate(REQUESTS, recipe)]


def lights_up(case: Case) -> bool:
    """Whether REGION is bright and all else dark in the maps, with and without guidance and by every contrast."""
    recipes = [case.recipe(), *(case.recipe(guidance_scale=1.0, contrast=contrast) for contrast in case.contrasts)]
    heats = [attention.grids[GRID][0] for attention in planted_attention(case, recipes)]
    return all(torch.equal(heat > 0.5, REGION) and bool(heat[~REGION].max() < 0.1) for heat in heats)


def keeps_to_itself(case: Case) -> bool:
    """Whether nine tenths of the affinity of REGION, and of what surrounds it, stay inside, where it attends to itself."""
    same = REGION.flatten()[:, None] == REGION.flatten()[None]
    affinities = [one.affinities[GRID] for one in planted_attention(case, [case.recipe(**case.affinity)], keys="image")]
    return all(bool((affinity * same).sum(dim=1).min() > 0.9) for affinity in affinities)
