"""Every threshold with every affinity, generated, labelled and remasked: each works, or is refused with the reason."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from diffumask_datasets.errors import RecipeError
from diffumask_datasets.generation.generate import generate
from diffumask_datasets.generation.label import label_folder
from diffumask_datasets.generation.remask import remask
from diffumask_datasets.generation.train_affinity_net import train_affinity
from diffumask_datasets.masks.affinity_net import AffinityNetSettings
from diffumask_datasets.masks.affinity_training import AffinityTraining
from diffumask_datasets.recipes.registry import THRESHOLDS
from tests.conftest import PLANTED

SMALL = {"height": 64, "width": 64, "attention_grids": [8], "num_inference_steps": 4}
FIELDS = {"classes": ["car", "boat"], "device": "cpu", **SMALL}
"""The shipped model, as fast as it can be."""

Table = list[dict[str, Any]]
Make = Callable[[Any, str | None], Path]
"""(threshold, affinity) → the folder that was made."""

AFFINITIES = (None, "self-attention", "affinitynet")

UNNAMED = r"threshold 'affinity' needs affinity="
WITHOUT = r"self-attention exists only while the images are made, and the kept heat maps are without it; generate again"
BEFORE = r"the kept heat maps were spread by self-attention, and those before it were not kept; generate again"
BOTH = (
    r"the threshold 'affinity' needs the maps spread by self-attention, and only the others were kept; generate again"
)


def table(folder: Path) -> Table:
    return [row for path in sorted((folder / "data").glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def heat_maps(folder: Path) -> list[bytes]:
    return [heat["bytes"] for row in table(folder) for heat in row["heat_maps"]["map"]]


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny net, trained on images with planted attention."""
    folder = tmp_path_factory.mktemp("net")
    generate(folder / "ds", num_samples=4, keep_heat_maps=True, store=folder / "store", **PLANTED)
    settings = AffinityNetSettings(channels=4, input_side=64)
    train_affinity(folder / "ds", folder / "net", settings=settings, training=AffinityTraining(epochs=25))
    return str(folder / "net")


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory, net: str) -> Make:
    folder = tmp_path_factory.mktemp("generated")

    @functools.cache
    def make(threshold: Any, affinity: str | None) -> Path:
        output = folder / f"{threshold}-{affinity}"
        chosen = choice(threshold, affinity, net)
        generate(output, num_samples=1, keep_heat_maps=True, store=folder / "store", **FIELDS, **chosen)
        return output

    return make


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory, net: str) -> Make:
    folder = tmp_path_factory.mktemp("labelled")
    (folder / "photos").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "photos" / "one.png")

    @functools.cache
    def make(threshold: Any, affinity: str | None) -> Path:
        output = folder / f"{threshold}-{affinity}"
        chosen = {"timesteps": [500], "store": folder / "store", **choice(threshold, affinity, net)}
        label_folder(folder / "photos", output, keep_heat_maps=True, **FIELDS, **chosen)
        return output

    return make


def choice(threshold: Any, affinity: str | None, net: str) -> dict[str, Any]:
    named = {"affinity_net": net} if affinity == "affinitynet" else {}
    return {"threshold": threshold, "affinity": affinity, **named}


@pytest.mark.parametrize("affinity", AFFINITIES)
@pytest.mark.parametrize("threshold", [0.5, *THRESHOLDS.own])
@pytest.mark.parametrize("way", ["generated", "labelled"])
def test_masks_are_made_of_the_maps_that_the_table_names(
    way: str, threshold: Any, affinity: str | None, request: pytest.FixtureRequest
) -> None:
    make: Make = request.getfixturevalue(way)
    if (threshold, affinity) == ("affinity", None):
        with pytest.raises(RecipeError, match=UNNAMED) as refused:
            make(threshold, affinity)
        assert "\n" not in str(refused.value)
        return
    (row,) = table(make(threshold, affinity))
    assert all(0 < gamma < 1 for gamma in row["threshold"])
    # Kept are the maps before self-attention, but where masks are made of those after it.
    is_spread = affinity == "self-attention" and threshold != "affinity"
    plain, spread = heat_maps(make(0.5, None)), heat_maps(make(0.5, "self-attention"))
    assert plain != spread
    assert heat_maps(make(threshold, affinity)) == (spread if is_spread else plain)


LEGAL = {
    (None, False): {(None, False), ("affinitynet", False), ("affinitynet", True)},
    ("self-attention", False): {("self-attention", False)},
    ("self-attention", True): {(None, False), ("affinitynet", False), ("affinitynet", True)},
    ("affinitynet", False): {(None, False), ("affinitynet", False), ("affinitynet", True)},
    ("affinitynet", True): {(None, False), ("affinitynet", False), ("affinitynet", True)},
}
"""(affinity, whether γ is chosen by it) of a dataset → those that its kept maps are enough for."""

REASON = {
    (None, False): {None: UNNAMED, "self-attention": WITHOUT},
    ("self-attention", False): {None: BEFORE, "affinitynet": BEFORE},
    ("self-attention", True): {None: UNNAMED, "self-attention": WITHOUT},
    ("affinitynet", False): {None: UNNAMED, "self-attention": WITHOUT},
    ("affinitynet", True): {None: UNNAMED, "self-attention": WITHOUT},
}
"""… → why another affinity is refused, where γ is not chosen by self-attention."""


@pytest.mark.parametrize("affinity", AFFINITIES)
@pytest.mark.parametrize("threshold", [0.5, *THRESHOLDS.own])
@pytest.mark.parametrize("kept", list(LEGAL), ids=str)
def test_masks_are_made_again_or_the_lack_is_named(
    kept: tuple[str | None, bool],
    threshold: Any,
    affinity: str | None,
    tmp_path: Path,
    *,
    generated: Make,
    net: str,
) -> None:
    source = generated("affinity" if kept[1] else 0.5, kept[0])
    changes = {"affinity_net": None, **choice(threshold, affinity, net)}
    if (affinity, threshold == "affinity") in LEGAL[kept]:
        remask(source, tmp_path / "again", trust_recipe=True, **changes)
        assert table(tmp_path / "again") == table(generated(threshold, affinity))
        return
    reason = REASON[kept].get(affinity)
    if threshold == "affinity":
        reason = UNNAMED if affinity is None else BOTH if affinity == "self-attention" else reason
    assert reason is not None
    with pytest.raises(RecipeError, match=reason) as refused:
        remask(source, tmp_path / "again", trust_recipe=True, **changes)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "again").exists()


def test_masks_of_a_labelled_folder_are_made_again(labelled: Make, net: str, tmp_path: Path) -> None:
    remask(labelled(0.5, None), tmp_path / "again", **choice("affinity", "affinitynet", net))
    (again,), (direct,) = table(tmp_path / "again"), table(labelled("affinity", "affinitynet"))
    assert {**again, "sample_id": ""} == {**direct, "sample_id": ""}
    with pytest.raises(RecipeError, match=BOTH):
        remask(labelled("affinity", "self-attention"), tmp_path / "x", threshold="affinity")
