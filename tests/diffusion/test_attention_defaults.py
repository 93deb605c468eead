import json
import logging
from pathlib import Path
from typing import Any

import pytest

from diffumask_datasets.diffusion.attention_defaults import AUTO, attention_defaults
from diffumask_datasets.recipes.recipe import Recipe

UNREADABLE = {**AUTO, "attention": "equal", "competition": 0.0, "affinity": None}


def recipe_of(folder: Path, pipeline: str, **fields: Any) -> Recipe:
    (folder / "model_index.json").write_text(json.dumps({"_class_name": pipeline}))
    return Recipe.of(classes=["car"], model=str(folder), **fields)


@pytest.mark.parametrize(
    "pipeline", ["StableDiffusionPipeline", "StableDiffusionXLPipeline", "StableDiffusion3Pipeline", "FluxPipeline"]
)
def test_layers_are_weighed_and_heat_spreads_along_self_attention(pipeline: str, tmp_path: Path) -> None:
    assert attention_defaults(recipe_of(tmp_path, pipeline), num_inference_steps=28) == {
        "attention": "auto",
        "attention_words": "phrase",
        "attention_timesteps": (0, 550),
        "competition": 16.0,
        "affinity": "self-attention",
        "affinity_power": 1,
    }


@pytest.mark.parametrize("pipeline", ["SanaPipeline", "PipelineOfTomorrow"])
def test_where_self_attention_cannot_be_read_the_log_says_why(
    pipeline: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert attention_defaults(recipe_of(tmp_path, pipeline), num_inference_steps=20) == UNREADABLE
    assert "all layers count alike" in caplog.text


def test_models_of_few_steps_are_read_at_all_of_them(tmp_path: Path) -> None:
    fields = attention_defaults(recipe_of(tmp_path, "FluxPipeline"), num_inference_steps=4)
    assert fields == {**AUTO, "attention_timesteps": (0, 1000)}


def test_what_is_given_stays(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, "FluxPipeline", affinity=None, attention_words="class")
    fields = attention_defaults(recipe, num_inference_steps=28)
    assert set(AUTO) - set(fields) == {"affinity", "attention_words"}


def test_nothing_is_read_where_all_is_given() -> None:
    recipe = Recipe.of(classes=["car"], model="./missing", **AUTO)
    assert attention_defaults(recipe, num_inference_steps=28) == {}
