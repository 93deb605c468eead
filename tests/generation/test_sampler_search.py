"""The cheapest sampler that is as good as a model's own, on the shipped model with few steps."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from diffumask_datasets.cli.app import app
from diffumask_datasets.diffusion.diffusion import DiffusersModel
from diffumask_datasets.diffusion.families.sd3 import STABLE_DIFFUSION_3
from diffumask_datasets.diffusion.families.stable_diffusion import STABLE_DIFFUSION
from diffumask_datasets.diffusion.samplers import samplers_beside, steps_below
from diffumask_datasets.errors import ModelError
from diffumask_datasets.generation.prepare import prepare
from diffumask_datasets.generation.sampler_search import (
    Sampler,
    SamplerTuning,
    Trial,
    cheapest,
    tune_sampler,
    write_report,
)
from diffumask_datasets.recipes.recipe import Recipe
from tests.helpers.tiny_models.models import built

UNIPC, DDIM = "UniPCMultistepScheduler", "DDIMScheduler"


def trial(steps: int, quality: float, presence: float, seconds: float, failure: str | None = None) -> Trial:
    return Trial(Sampler(None, steps), np.full(4, quality), np.full(4, presence), seconds, failure)


def test_the_fastest_of_those_that_are_as_good_is_taken() -> None:
    own = trial(20, 0.80, 1.0, 2.0)
    good, worse, blind = trial(10, 0.785, 0.985, 1.0), trial(8, 0.775, 1.0, 0.8), trial(6, 0.9, 0.75, 0.6)
    broken = Trial(Sampler(None, 4), np.zeros(0), np.zeros(0), 0.1, "NaN")
    assert cheapest([own, good, worse, blind, broken]) is good
    assert cheapest([own, worse, blind]) is own
    assert cheapest([own, trial(12, 0.9, 1.0, 2.5)]) is own  # better, and dearer


def test_samplers_and_steps_that_are_tried() -> None:
    names = samplers_beside(DiffusersModel(built("sd1"), STABLE_DIFFUSION))
    assert names == ("DPMSolverMultistepScheduler", UNIPC, "EulerDiscreteScheduler")  # its own is DDIM
    assert samplers_beside(DiffusersModel(built("sd3"), STABLE_DIFFUSION_3)) == ()
    assert [steps_below(number) for number in (50, 20, 4, 1)] == [
        (15, 20, 25, 35, 50),
        (6, 8, 10, 14, 20),
        (1, 2, 3, 4),
        (1,),
    ]


def test_a_sampler_that_cannot_run_is_told_and_left_out(tmp_path: Path) -> None:
    broken = Trial(Sampler(UNIPC, 8), np.zeros(0), np.zeros(0), float("inf"), "the model generated NaN")
    own, fast = trial(20, 0.8, 1.0, 2.0), trial(8, 0.8, 1.0, 0.8)
    write_report(SamplerTuning("DDIMScheduler", (own, fast, broken), fast), tmp_path)
    report = json.loads((tmp_path / "sampler.json").read_text())
    assert report["recipe"] == {"num_inference_steps": 8}
    assert (report["speedup"], report["images"]) == (2.5, 4)
    assert report["own"] == {
        **{"scheduler": "DDIMScheduler", "num_inference_steps": 20},
        **{"quality": 0.8, "presence": 1.0, "seconds": 2.0},
    }
    assert report["samplers"][2] == {
        **{"scheduler": UNIPC, "num_inference_steps": 8},
        "failure": "the model generated NaN",
    }
    picture = np.asarray(Image.open(tmp_path / "sampler.png"))
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 2


def test_the_command_tries_schedulers_on_the_same_samples(tmp_path: Path) -> None:
    fields = ["num_inference_steps=3", "refinement=null", "threshold=0.5", "attention_timesteps=[0, 1000]"]
    options = [word for field in fields for word in ("--set", field)]
    command = ["tune-sampler", "car", "--output", str(tmp_path), "--images", "2", "--scheduler", DDIM, "--steps", "2"]
    done = CliRunner().invoke(app, [*command, *options])
    assert done.exit_code == 0, done.output
    report = json.loads((tmp_path / "sampler.json").read_text())
    tried = [(found["scheduler"], found["num_inference_steps"]) for found in report["samplers"]]
    own = report["own"]["scheduler"]
    assert tried == [(own, 3), (own, 2), (DDIM, 2)]
    assert all(found["seconds"] > 0 and 0 < found["quality"] <= 1 for found in report["samplers"])
    assert yaml.safe_load(done.stdout.split("wrote")[0].split("an image\n")[-1]) == report["recipe"]
    # The recommendation is one that a recipe can take.
    assert Recipe.of(classes=["car"], **report["recipe"]).num_inference_steps in (2, 3)


def test_what_has_no_sampler() -> None:
    with pytest.raises(ModelError, match="FakeModel has no scheduler of diffusers"):
        tune_sampler(prepare(Recipe.of(classes=["car"], model="planted")), images=1)
