"""The search on observations whose right answer is known by construction."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from diffumask_datasets.attention.contrast import BackgroundTokens, background_tokens, contrasted
from diffumask_datasets.attention.fusion import fuse
from diffumask_datasets.attention.layout import TextTokens
from diffumask_datasets.attention.observation import Observation
from diffumask_datasets.attention.search import (
    Annotated,
    AttentionChoice,
    best_threshold_iou,
    choice_iou,
    layer_step_ious,
    search_choice,
)
from diffumask_datasets.errors import CaptureError, ShapeError

SIDE = 8


def truth(classes: int) -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[1:5, 0:4] = 1
    if classes == 2:
        mask[2:7, 5:8] = 2
    return mask


def sample(classes: int = 1, *, seed: int = 0, leak: float = 0.0, affinity: bool = False) -> Annotated:
    """Layer ``good`` shows the classes at 250 and noise at 750; layer ``bad`` is noise.

    With ``leak`` every class is faint in its lower rows, and shows that share of its heat to the other class, too.
    """
    noise = torch.Generator().manual_seed(seed)
    mask = truth(classes)
    wanted = torch.stack([torch.from_numpy(mask == index + 1).float() for index in range(classes)])
    if leak:
        wanted[:, 3:] *= 0.5
    clean = wanted * 0.5 + 0.05 + leak * 0.5 * wanted.flip(0)
    background = torch.full((2, SIDE, SIDE), 0.1)

    def stack(maps: torch.Tensor) -> torch.Tensor:
        return torch.cat([maps, background])

    maps = {}
    for timestep in (250, 750):
        maps["bad", timestep] = stack(torch.rand(classes, SIDE, SIDE, generator=noise))
        maps["good", timestep] = stack(clean if timestep == 250 else torch.rand(classes, SIDE, SIDE, generator=noise))
    affinities = {}
    if affinity:
        same = torch.from_numpy(mask.ravel()[:, None] == mask.ravel()[None, :]).float()
        affinities[(SIDE, SIDE), 250] = (same / same.sum(dim=1, keepdim=True)).half()
    counts = BackgroundTokens((1,) * classes, ("<start>", "<words>"), (1, 3))
    return Annotated(Observation(("car", "boat")[:classes], counts, maps, affinities), mask)


def test_best_threshold_by_hand():
    heat = np.array([0.9, 0.8, 0.8, 0.1])
    # γ = 0.9 holds 1 of 2, γ = 0.8 both and one more, γ = 0.1 everything
    assert best_threshold_iou(heat, np.array([True, False, True, False])) == (pytest.approx(2 / 3), 0.8)


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=40))
def test_best_threshold_is_the_best_of_all(pixels):
    heat = np.array([value for value, _ in pixels], dtype=float)
    inside = np.array([member for _, member in pixels])
    if not inside.any():
        with pytest.raises(ShapeError, match="a mask that is not empty"):
            best_threshold_iou(heat, inside)
        return
    tried = {gamma: ((heat >= gamma) & inside).sum() / ((heat >= gamma) | inside).sum() for gamma in set(heat)}
    iou, gamma = best_threshold_iou(heat, inside)
    assert iou == pytest.approx(max(tried.values()))
    assert tried[gamma] == pytest.approx(iou)


def test_the_good_layer_and_timestep_are_found():
    samples = [sample(seed=seed) for seed in range(3)]
    ious = layer_step_ious(samples)
    assert ious["good", 250] == 1.0
    assert max(iou for place, iou in ious.items() if place != ("good", 250)) < 0.6
    choice = search_choice(samples)
    assert choice == AttentionChoice(("good",), (250, 250))
    assert choice_iou(samples, choice).tolist() == [1.0, 1.0, 1.0]


def test_competition_is_chosen_where_classes_share_their_attention():
    samples = [sample(2, seed=seed, leak=0.8) for seed in range(2)]
    plain = AttentionChoice(("good",), (250, 250))
    assert choice_iou(samples, plain).max() < 0.85
    choice = search_choice(samples)
    assert choice.competition > 0 or choice.contrast == "words"
    assert choice_iou(samples, choice).min() == 1.0


def test_affinity_is_chosen_where_it_fills_holes():
    samples = []
    for seed in range(2):
        item = sample(affinity=True)
        spots = torch.rand(1, SIDE, SIDE, generator=torch.Generator().manual_seed(seed)) * 0.6
        maps = {
            ("good", 250): torch.cat([item.observation.maps["good", 250][:1] * 0.6 + spots, torch.zeros(2, SIDE, SIDE)])
        }
        observation = Observation(("car",), item.observation.background_tokens, maps, item.observation.affinities)
        samples.append(Annotated(observation, item.truth))
    choice = search_choice(samples)
    assert choice.affinity_power >= 1
    assert choice_iou(samples, choice).min() == 1.0


def test_automatic_weights_stay_where_no_choice_beats_them():
    samples = [sample(affinity=True, seed=seed) for seed in range(2)]
    heard = []
    choice = search_choice(samples, progress=lambda step, iou: heard.append((step, iou)))
    assert (choice.attention, choice.layers, choice.timesteps) == ("auto", ("bad", "good"), (250, 250))
    assert heard[0] == ("automatic", 1.0)
    assert choice_iou(samples, choice).min() == 1.0


def test_ignored_pixels_and_absent_classes_do_not_count():
    item = sample(2)
    mask = item.truth.copy()
    mask[mask == 2] = 255
    assert len(choice_iou([Annotated(item.observation, mask)], AttentionChoice(("good",), (250, 250)))) == 1
    with pytest.raises(ShapeError, match="at least one of their classes annotated"):
        search_choice([Annotated(item.observation, np.zeros_like(mask))])
    with pytest.raises(ShapeError, match="at least one annotated image"):
        search_choice([])


def test_an_observation_fuses_as_a_recorder_does():
    item = sample()
    maps = item.observation.fused(["good", "bad"], [250])
    assert maps.counts == {(SIDE, SIDE): 2}
    parts = [item.observation.maps[layer, 250][:1] for layer in ("good", "bad")]
    torch.testing.assert_close(maps.grids[SIDE, SIDE], sum(part / part.max() for part in parts) / 2)
    with pytest.raises(CaptureError, match="none of the layers"):
        item.observation.fused(["other"], [250])


def test_contrasts_by_hand():
    weights = torch.tensor([[0.2, 0.4], [0.5, 0.1], [0.1, 0.1]])  # a class of 2 tokens, the start, 3 other words
    background = BackgroundTokens((2,), ("<start>", "<words>"), (1, 3))
    assert contrasted(weights, background, None).tolist() == weights[:1].tolist()
    torch.testing.assert_close(contrasted(weights, background, "start"), torch.tensor([[0.4, 4.0]]))
    torch.testing.assert_close(contrasted(weights, background, "words"), torch.tensor([[0.2 / 0.7, 0.4 / 1.1]]))
    torch.testing.assert_close(contrasted(weights, background, "background"), torch.tensor([[0.1, 0.3]]))
    bare = BackgroundTokens((2,), ("<start>",), (1,))
    assert contrasted(weights[:2], bare, "background").tolist() == weights[:1].tolist()


def test_background_tokens_are_those_that_name_no_class():
    text = TextTokens({"car": (3,), "boat": (5, 6)}, 8, words=(1, 2, 3, 4, 5, 6), start=0)
    assert background_tokens(text) == {"<start>": (0,), "<words>": (1, 2, 4)}
    assert background_tokens(TextTokens({"car": (1,)}, 2, words=(1,))) == {}


def test_affinities_are_chosen_as_the_recorder_chooses_them():
    affinities = {((side, side), 250): torch.full((side**2, side**2), side / 100).half() for side in (4, 8)}
    item = sample()
    seen = replace(item.observation, affinities=affinities)
    assert set(seen.fused(["good"], [250]).affinities) == {(8, 8)}
    assert set(seen.fused(["good"], [250], affinity_grids=[4]).affinities) == {(4, 4)}
    with pytest.raises(CaptureError, match=r"affinity_grids \[16\]; this model at this size has 4, 8"):
        seen.fused(["good"], [250], affinity_grids=[16])


def test_fused_maps_can_compete_and_propagate():
    item = sample(2, leak=0.8, affinity=True)
    maps = item.observation.fused(["good"], [250])
    heat = fuse(maps, height=SIDE, width=SIDE, competition=8, affinity_power=2)
    for index in range(2):
        inside = torch.from_numpy(item.truth == index + 1)
        assert heat[index][inside].min() > 0.99
        assert heat[index][~inside].max() < 0.2
