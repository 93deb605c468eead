"""Prompt sources, thresholds and refinements of an installed package: one file of code, and one line each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest

from diffumask_datasets import generate
from diffumask_datasets.diffusion.family import Defaults, Family
from diffumask_datasets.diffusion.registry import find_family
from diffumask_datasets.errors import RecipeError
from diffumask_datasets.generation.prepare import prepare
from diffumask_datasets.prompts.sources import prompt_for
from diffumask_datasets.recipes.recipe import Recipe
from diffumask_datasets.recipes.registry import PROMPT_SOURCES, REFINEMENTS, THRESHOLDS
from diffumask_datasets.recipes.trust import check_trust
from tests.helpers.plugins import contributed, offer

CODE = """
import numpy as np
from diffumask_datasets.prompts.wording import fill, noun
from diffumask_datasets.sample import ThresholdCurve

class Shouts:
    def __init__(self, recipe, *, mark="!"):
        self.recipe, self.mark = recipe, mark

    def prompt(self, index):
        name = self.recipe.classes[index % len(self.recipe.classes)]
        return fill("look" + self.mark + " {classes}", [noun(self.recipe.words_of(name), term=name)])

    def check(self, splits):
        pass

def quantiles(image, heat_maps, affinity_maps, *, share=0.5):
    return [(float(np.quantile(heat, share)), ThresholdCurve()) for heat in heat_maps]

def left_half(image, probabilities, heat_maps, *, certainty=0.9):
    refined = np.full_like(probabilities, (1 - certainty) / (len(probabilities) - 1))
    middle = refined.shape[2] // 2
    refined[1, :, :middle] = refined[0, :, middle:] = certainty
    return refined, 1.0
"""
POINTS = """
[diffumask_datasets.prompt_sources]
shouts = plugged_in:Shouts

[diffumask_datasets.thresholds]
quantile = plugged_in:quantiles

[diffumask_datasets.refinements]
left-half = plugged_in:left_half
gone = plugged_in:nothing
"""


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(tmp_path / "site", monkeypatch, points=POINTS, plugged_in=CODE)


def recipe(**fields: Any) -> Recipe:
    return Recipe.of(classes=["car"], model="planted", **fields)


def test_generation_uses_them_with_their_parameters(tmp_path: Path) -> None:
    fields = {
        "prompt_source": {"kind": "shouts", "mark": "!!"},
        "threshold": {"kind": "quantile", "share": 0.99},
        "refinement": "left-half",
    }
    generate(tmp_path / "ds", classes=["car", "boat"], model="planted", num_samples=2, **fields)
    rows = list(datasets.load_dataset(str(tmp_path / "ds"), split="train"))
    assert [row["prompt"] for row in rows] == ["look!! a car", "look!! a boat"]
    for class_id, row in enumerate(rows, start=1):
        label = np.asarray(row["label"])
        middle = label.shape[1] // 2
        assert (label[:, : middle - 2] == class_id).all()
        assert not label[:, middle + 2 :].any()
    fields["threshold"] = "quantile"
    generate(tmp_path / "half", classes=["car", "boat"], model="planted", num_samples=2, **fields)
    halves = list(datasets.load_dataset(str(tmp_path / "half"), split="train"))
    assert all(row["threshold"] > half["threshold"] for row, half in zip(rows, halves, strict=True))


def test_names_and_parameters_are_values_of_the_recipe() -> None:
    plain, named = recipe(refinement="left-half"), recipe(refinement={"kind": "left-half"})
    other = recipe(refinement={"kind": "left-half", "certainty": 0.8})
    assert plain == named
    assert plain.digest == named.digest
    assert len({recipe().digest, plain.digest, other.digest}) == 3
    assert Recipe.of(**other.model_dump()) == other
    assert recipe(threshold="0.5").threshold == 0.5


def test_what_is_not_registered_is_one_clear_line() -> None:
    with pytest.raises(
        RecipeError, match=r"unknown refinement 'left_half' \(did you mean 'left-half'\?\); there are: .*'gone'"
    ):
        recipe(refinement="left_half")
    with pytest.raises(
        RecipeError, match=r"unknown parameter 'shares' of the threshold 'quantile' \(did you mean 'share'\?\)"
    ):
        prepare(recipe(threshold={"kind": "quantile", "shares": 1}))
    with pytest.raises(RecipeError, match="unknown parameter 'size' of the refinement 'densecrf'; parameters: none"):
        prepare(recipe(refinement={"kind": "densecrf", "size": 1}))
    with pytest.raises(RecipeError, match=r"the refinement 'gone' \(plugged_in:nothing\) cannot be loaded"):
        prepare(recipe(refinement="gone"))
    with pytest.raises(RecipeError, match=r"unknown parameter 'marks' of the prompt source 'shouts'"):
        prepare(recipe(prompt_source={"kind": "shouts", "marks": 1}))


@pytest.mark.parametrize(
    "fields", [{"threshold": "quantile"}, {"refinement": {"kind": "left-half"}}, {"prompt_source": "shouts"}]
)
def test_a_stranger_does_not_choose_what_runs(fields: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match=r"the recipe of x uses the .* of an installed package: .*--trust-recipe"):
        check_trust("the recipe of x", fields)


def test_one_of_ours_needs_no_more_than_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PROMPT_SOURCES.own, "calls", "plugged_in:Shouts")
    asked = recipe(prompt_source={"kind": "calls", "mark": "?"})
    assert prompt_for(asked, 0).text == "look? a car"
    check_trust("the recipe of x", asked.model_dump())


@pytest.mark.parametrize("registry", [PROMPT_SOURCES, THRESHOLDS, REFINEMENTS], ids=lambda registry: registry.noun)
def test_ours_can_be_imported(registry: Any) -> None:
    assert all(callable(registry.make(name).func) for name in registry.own)


def test_the_plugins_of_the_contributing_guide_run_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    points, modules = contributed()
    assert set(modules) == {"my_families", "my_formats", "my_prompts", "my_refinement"}
    offer(tmp_path / "contributed", monkeypatch, points=points, **modules)
    fields = {"prompt_source": {"kind": "shouts", "mark": "?"}, "refinement": {"kind": "clip", "least": 0.2}}
    generate(tmp_path / "ds", classes=["car", "boat"], model="planted", num_samples=2, **fields)
    rows = list(datasets.load_dataset(str(tmp_path / "ds"), split="train"))
    assert [row["prompt"] for row in rows] == ["look? a car", "look? a boat"]
    assert [set(np.unique(np.asarray(row["label"]))) - {0, 255} for row in rows] == [{1}, {2}]
    family = find_family("m", "MyPipeline")
    assert isinstance(family, Family)
    assert (family.name, family.defaults) == ("My model", Defaults(50, 4.0, size=1024))
