"""Every family on tiny random pipelines of the real classes: the maps are those of full attention, in the right place."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from diffumask_datasets.diffusion.registry import _family
from diffumask_datasets.errors import RecipeError
from tests.helpers.tiny_models.cases import CASES, REQUESTS
from tests.helpers.tiny_models.checks import GRID, lights_up, planted_heat, reference
from tests.helpers.tiny_models.table import MODELS, static_cells

every = pytest.mark.parametrize("case", CASES, ids=lambda case: case.model)


@every
def test_maps_equal_full_attention(case):
    """With and without guidance, on a size that is not square, in a batch of two prompts of different lengths."""
    backbone = case.backbone()
    for guidance_scale in (4.0, 1.0):
        recipe = case.recipe(guidance_scale=guidance_scale)
        backbone.check(recipe)
        heats, images = reference(case, recipe, backbone)
        paintings = backbone.paint(REQUESTS, recipe)
        for painting, image, heat in zip(paintings, images, heats, strict=True):
            assert painting.attention.counts == {GRID: len(heat)}
            torch.testing.assert_close(painting.attention.grids[GRID][0], heat.mean(dim=0), atol=1e-5, rtol=0)
            # The reference's attention is the model's: it paints the same picture but for the last bits.
            assert np.abs(painting.image.astype(int) - image).max() <= 1


@every
def test_a_planted_region_lights_up(case):
    assert lights_up(planted_heat(case))
    assert lights_up(planted_heat(case, guidance_scale=1.0))


@every
def test_capture_changes_no_pixel(case):
    backbone, recipe = case.backbone(), case.recipe(height=4 * case.token, width=4 * case.token)
    (painting,) = backbone.paint(REQUESTS[:1], recipe)
    plain = np.rint(backbone._run(REQUESTS[:1], recipe) * 255)
    # Where its buffers lie decides the last bits of a CPU's matrix products, and so the rounding of a pixel in a thousand.
    assert np.abs(painting.image - plain).max() <= 1
    assert (painting.image != plain).mean() < 0.005
    assert painting.attention.grids[4, 4].shape == (1, 4, 4)


@every
def test_other_sizes_are_refused(case):
    recipe = case.recipe(height=4 * case.token + 1)
    message = f"height {4 * case.token + 1} cannot be painted by this model: it takes multiples of {case.multiple}; "
    with pytest.raises(RecipeError, match=message):
        case.backbone().check(recipe)


@every
def test_the_family_is_registered_and_documented(case):
    for pipeline in case.family.pipelines:
        if pipeline != "StableDiffusionPipeline":
            assert _family("m", pipeline) is case.family
    assert f"| {' | '.join(static_cells(case))} |" in MODELS.read_text(encoding="utf-8")
