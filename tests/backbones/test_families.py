"""Every family on tiny random pipelines of the real classes: the maps are those of full attention, in the right place."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.backbones.tiny.cases import CASES, CAR, PIECES, REQUESTS, Case
from tests.backbones.tiny.eager import eager_attention
from tests.backbones.tiny.planting import planted, planted_unet

every = pytest.mark.parametrize("case", CASES, ids=lambda case: case.model)
GRID = (4, 8)
REGION = torch.zeros(GRID, dtype=torch.bool)
REGION[1:3, 0:5] = True


def reference(case: Case, recipe, backbone):
    """The maps of both prompts from full attention, and the images that it makes."""
    names = list(backbone._chosen_layers(recipe))
    with eager_attention(backbone.denoiser, names) as maps:
        images = backbone._run(REQUESTS, recipe)
    guided = recipe.guidance_scale > 1
    heats = [[], []]
    for calls in maps.values():
        for weights in calls[:: 2 if case.conditional == "calls" and guided else 1]:
            rows = weights[:2] if case.conditional == "first" else weights[-2:]
            for image, row in enumerate(rows):
                start = case.image[image] % len(row)
                heat = row[start : start + 32, list(case.columns[image])].mean(dim=1).reshape(GRID)
                heats[image].append(heat / heat.max())
    return [torch.stack(heat) for heat in heats], np.rint(images * 255).astype(np.uint8)


@every
@pytest.mark.parametrize("guidance_scale", [4.0, 1.0])
def test_maps_equal_full_attention(case, guidance_scale):
    backbone, recipe = case.backbone(), case.recipe(guidance_scale=guidance_scale)
    backbone.check(recipe)
    heats, images = reference(case, recipe, backbone)
    paintings = backbone.paint(REQUESTS, recipe)
    for painting, image, heat in zip(paintings, images, heats, strict=True):
        assert painting.attention.counts == {GRID: len(heat)}
        torch.testing.assert_close(painting.attention.grids[GRID][0], heat.mean(dim=0), atol=1e-5, rtol=0)
        # The reference's attention is the model's: it paints the same picture but for the last bits.
        assert np.abs(painting.image.astype(int) - image).max() <= 1


@every
@pytest.mark.parametrize("guidance_scale", [4.0, 1.0])
def test_a_planted_region_lights_up(case, guidance_scale):
    backbone, recipe = case.backbone(), case.recipe(guidance_scale=guidance_scale)
    pipeline, names = backbone.pipeline, list(backbone._chosen_layers(recipe))
    if case.family.denoiser == "unet":
        planting = planted_unet(pipeline, names, PIECES, REGION)
    else:
        planting = planted(pipeline, backbone.denoiser, PIECES, REGION, dict(case.embedders))
    with planting:
        paintings = backbone.paint(REQUESTS, recipe)
    for painting in paintings:
        heat = painting.attention.grids[GRID][0]
        assert torch.equal(heat > 0.5, REGION)
        assert heat[~REGION].max() < 0.1
