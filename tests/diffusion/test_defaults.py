"""Size, steps and guidance of each family, against the installed diffusers and against what the models' authors say."""

from __future__ import annotations

import itertools
import json
import logging
from pathlib import Path
from typing import Any

import diffusers
import pytest

from diffumask_datasets.attention.recorder import select_layers
from diffumask_datasets.diffusion.attention_defaults import AUTO
from diffumask_datasets.diffusion.defaults import model_defaults
from diffumask_datasets.errors import RecipeError
from diffumask_datasets.recipes.recipe import Recipe
from tests.helpers.tiny_models import models
from tests.helpers.tiny_models.cases import CASES, Case
from tests.helpers.tiny_models.own_defaults import own_defaults, save_configurations
from tests.helpers.tiny_models.table import MODELS

OPEN = {"height": None, "width": None, "num_inference_steps": None, "guidance_scale": None}


def chosen(model: object, **fields: Any) -> tuple[int, int, int, float]:
    return tuple(model_defaults(Recipe.of(classes=["car"], model=str(model), **fields))[name] for name in OPEN)  # type: ignore[return-value]


def written(folder: Path, pipeline: str, **configs: dict[str, Any]) -> Path:
    """A pipeline folder of configurations alone."""
    parts = {name: ["diffusers", "Part"] for name in configs}
    (folder / "model_index.json").write_text(json.dumps({"_class_name": pipeline, **parts}))
    for name, config in configs.items():
        (folder / name).mkdir()
        (folder / name / ("scheduler_config.json" if name == "scheduler" else "config.json")).write_text(
            json.dumps(config)
        )
    return folder


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.name)
def built(request: pytest.FixtureRequest) -> tuple[Case, Any]:
    """A case and its tiny pipeline."""
    return request.param, models.built(request.param.model)


def test_every_family_does_what_its_pipeline_does_by_default(built: tuple[Case, Any], tmp_path: Path) -> None:
    case, pipeline = built
    save_configurations(pipeline, tmp_path)
    assert chosen(tmp_path) == own_defaults(case, pipeline)


def test_default_grids_refuse_no_size(built: tuple[Case, Any]) -> None:
    case, pipeline = built
    denoiser = getattr(pipeline, case.family.denoiser)
    sides = [side for side in range(256, 1537, case.multiple) if side % 160 in (0, case.multiple, 96)]
    assert len(sides) >= 8
    for height, width in itertools.product(sides, sides):
        fields = {"height": height, "width": width, "num_inference_steps": 2, "guidance_scale": 1}
        recipe = Recipe.of(classes=["car"], **fields).completed({})
        assert select_layers(case.family.layers(pipeline, denoiser, height, width), recipe.attention_grids)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_documented_defaults(case: Case) -> None:
    suited = case.family.defaults
    assert suited
    row = f"| {case.family.name} | {suited.size or ''} | {suited.num_inference_steps} | {suited.guidance_scale} |"
    assert row in MODELS.read_text(encoding="utf-8")


UNET = {"sample_size": 128}
VAE = {"block_out_channels": [128, 256, 512, 512]}


@pytest.mark.parametrize(
    ("pipeline", "configs", "expected"),
    [
        ("StableDiffusionPipeline", {"unet": {"sample_size": 64}, "vae": VAE}, (512, 512, 50, 7.5)),
        ("StableDiffusionPipeline", {"unet": {"sample_size": 96}, "vae": VAE}, (768, 768, 50, 7.5)),
        ("StableDiffusionPipeline", {"unet": {"sample_size": [64, 96]}, "vae": VAE}, (512, 768, 50, 7.5)),
        ("StableDiffusionXLPipeline", {"unet": UNET, "vae": VAE}, (1024, 1024, 50, 5.0)),
        ("StableDiffusion3Pipeline", {"transformer": UNET, "vae": VAE}, (1024, 1024, 28, 7.0)),
        ("FluxPipeline", {"transformer": {"guidance_embeds": True}, "vae": VAE}, (1024, 1024, 28, 3.5)),
        ("FluxPipeline", {"transformer": {"guidance_embeds": False}, "vae": VAE}, (1024, 1024, 4, 0.0)),
        (
            "SanaPipeline",
            {"transformer": {"sample_size": 32}, "vae": {"encoder_block_out_channels": [128] * 6}},
            (1024, 1024, 20, 4.5),
        ),
        ("ZImagePipeline", {"transformer": {}, "vae": VAE}, (1024, 1024, 50, 5.0)),
        ("QwenImagePipeline", {}, (1024, 1024, 50, 4.0)),
        (
            "StableDiffusionPipeline",
            {"unet": {"sample_size": 96, "time_cond_proj_dim": 256}, "vae": VAE},
            (768, 768, 4, 8.5),
        ),
        (
            "PixArtAlphaPipeline",
            {"transformer": UNET, "vae": VAE, "scheduler": {"_class_name": "LCMScheduler"}},
            (1024, 1024, 4, 1.0),
        ),
        (
            "StableDiffusionXLPipeline",
            {
                "unet": {"sample_size": 64},
                "vae": VAE,
                "scheduler": {"_class_name": "EulerAncestralDiscreteScheduler", "timestep_spacing": "trailing"},
            },
            (512, 512, 4, 0.0),
        ),
        (
            "StableDiffusionXLPipeline",
            {
                "unet": UNET,
                "vae": VAE,
                "scheduler": {
                    "_class_name": "EulerDiscreteScheduler",
                    "timestep_spacing": "trailing",
                    "prediction_type": "v_prediction",
                },
            },
            (1024, 1024, 50, 5.0),
        ),
    ],
)
def test_what_a_configuration_says(
    pipeline: str, configs: dict[str, Any], expected: tuple[Any, ...], tmp_path: Path
) -> None:
    assert chosen(written(tmp_path, pipeline, **configs)) == expected


@pytest.mark.parametrize(
    ("name", "steps", "guidance"),
    [("SDXL-Turbo", 4, 0.0), ("Z-Image-Turbo", 9, 0.0), ("sdxl-lightning", 4, 0.0), ("sdxl", 50, 5.0)],
)
def test_distilled_models_are_known_by_name_too(name: str, steps: int, guidance: float, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    folder = written(tmp_path / name, "StableDiffusionXLPipeline", unet=UNET, vae=VAE)
    assert chosen(folder) == (1024, 1024, steps, guidance)
    if name == "sdxl":
        assert chosen(folder, lora="latent-consistency/lcm-lora-sdxl") == (1024, 1024, 4, 1.0)
        assert chosen(folder, scheduler="LCMScheduler") == (1024, 1024, 4, 1.0)
        assert chosen(folder, checkpoint="here/sdxl_lightning_4step.safetensors") == (1024, 1024, 4, 0.0)


def test_the_log_says_what_was_chosen_and_why(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    folder = written(tmp_path, "FluxPipeline", transformer={"guidance_embeds": False})
    fields = model_defaults(Recipe.of(classes=["car"], model=str(folder), height=512, width=768, **AUTO))
    assert fields == {"num_inference_steps": 4, "guidance_scale": 0.0}
    assert caplog.messages == [
        f"{folder}: num_inference_steps 4, guidance_scale 0 (distilled: it has no guidance embedding); "
        "give these fields to choose other values"
    ]


def test_a_pipeline_without_a_page_does_what_its_call_does(tmp_path: Path) -> None:
    assert diffusers.AltDiffusionPipeline
    folder = written(tmp_path, "AltDiffusionPipeline", unet={"sample_size": 64}, vae=VAE)
    assert chosen(folder) == (512, 512, 50, 7.5)


def test_a_model_that_does_not_say_what_suits_it(tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        chosen(written(tmp_path, "NewPipeline"), height=64)
    assert str(caught.value) == (
        f"the model {str(tmp_path)!r}, a NewPipeline, does not say what suits it: "
        "give width, num_inference_steps, guidance_scale"
    )
