"""The public test double is exact, deterministic and independent of its batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from diffumask_datasets.attention.fusion import fuse
from diffumask_datasets.diffusion.fake_model import FakeModel, planted_colour, planted_mask
from diffumask_datasets.diffusion.protocol import GenerationRequest
from diffumask_datasets.errors import ModelError, RecipeError
from diffumask_datasets.prompts.prompt import Prompt, Term
from diffumask_datasets.recipes.recipe import Recipe

TWO = Prompt("a car and a potted plant, car", (Term("car", 2, 5), Term("potted plant", 12, 24), Term("car", 26, 29)))
ONE = Prompt("a boat", (Term("boat", 2, 6),))


def recipe(height=48, width=64):
    return Recipe.of(classes=["car", "potted plant", "boat"], model="planted", height=height, width=width)


@pytest.mark.parametrize(("height", "width"), [(16, 16), (48, 64), (97, 33)])
@pytest.mark.parametrize("seed", [0, 7, 2**63 - 1])
def test_attention_and_image_show_the_mask_exactly(height, width, seed):
    (painting,) = FakeModel().paint([GenerationRequest(TWO, seed)], recipe(height, width))
    mask = planted_mask(TWO, seed, height=height, width=width)
    assert mask.dtype == np.uint8
    assert set(np.unique(mask)) == {0, 1, 2}
    heat = fuse(painting.attention, height=height, width=width)
    assert painting.attention.categories == ("car", "potted plant")
    for index, category in enumerate(painting.attention.categories):
        inside = mask == index + 1
        assert torch.equal(heat[index] > 0.5, torch.from_numpy(inside))
        assert (painting.image[inside] == planted_colour(category)).all()
        assert heat[index][torch.from_numpy(~inside)].max() <= 0.1
        assert inside.mean() > 0.02
    assert (np.ptp(painting.image[mask == 0].astype(int), axis=1) == 0).all()


def test_colours_are_fixed_by_the_name():
    assert planted_colour("car") == (227, 230, 0)
    assert planted_colour("boat") != planted_colour("car")


def test_an_image_does_not_depend_on_its_batch():
    requests = [GenerationRequest(TWO, 1), GenerationRequest(ONE, 2), GenerationRequest(TWO, 3)]
    together = FakeModel().paint(requests, recipe())
    alone = [FakeModel().paint([request], recipe())[0] for request in reversed(requests)][::-1]
    for one, other in zip(together, alone, strict=True):
        assert (one.image == other.image).all()
        assert torch.equal(one.attention.grids[48, 64], other.attention.grids[48, 64])
    assert (together[0].image != together[2].image).any()


def test_places_differ_between_seeds_and_both_shapes_occur():
    masks = [planted_mask(ONE, seed, height=64, width=64) for seed in range(20)]
    corners = {(int(rows.min()), int(columns.min())) for rows, columns in map(np.nonzero, masks)}
    assert len(corners) > 10
    filled = {bool(mask[np.ix_(mask.any(axis=1), mask.any(axis=0))].all()) for mask in masks}
    assert filled == {True, False}


def test_counts_images_over_instances(painted):
    FakeModel().paint([GenerationRequest(ONE, 1), GenerationRequest(ONE, 2)], recipe())
    FakeModel().paint([GenerationRequest(ONE, 1)], recipe())
    assert painted() == 3


def test_254_classes_fit_the_smallest_image():
    names = [f"c{number:03d}" for number in range(254)]
    prompt = Prompt(" ".join(names), tuple(Term(name, 5 * k, 5 * k + 4) for k, name in enumerate(names)))
    assert len(np.unique(planted_mask(prompt, 0, height=16, width=16))) == 255


def test_broken_seed_paints_nan():
    with pytest.raises(ModelError) as error:
        FakeModel(broken_seeds=frozenset({2})).paint([GenerationRequest(ONE, 2)], recipe())
    assert str(error.value) == (
        "the model painted NaN in 1 of 1 images; try dtype='float32', another guidance_scale or another checkpoint"
    )


def test_environment(monkeypatch):
    naps = []
    monkeypatch.setattr("time.sleep", naps.append)
    monkeypatch.setenv("DIFFUMASK_PLANTED_SECONDS", "0.25")
    monkeypatch.setenv("DIFFUMASK_PLANTED_BROKEN", "5,9")
    backbone = FakeModel.from_environment()
    backbone.paint([GenerationRequest(ONE, 4)], recipe())
    assert naps == [0.25]
    with pytest.raises(ModelError, match="painted NaN"):
        backbone.paint([GenerationRequest(ONE, 9)], recipe())


def test_small_sizes_are_refused():
    FakeModel().check(recipe(16, 17))
    with pytest.raises(RecipeError, match="width 15 cannot be painted by this model: sizes are at least 16"):
        FakeModel().check(recipe(16, 15))
