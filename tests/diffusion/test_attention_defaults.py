import json
import logging
from pathlib import Path
from typing import Any

import pytest

from diffumask_datasets.diffusion.attention_defaults import AUTO, JOINT
from diffumask_datasets.diffusion.defaults import model_defaults
from diffumask_datasets.recipes.json_reader import read_json
from diffumask_datasets.recipes.recipe import Recipe

UNREADABLE = {**AUTO, "attention": "equal", "competition": 0.0, "affinity": None}


SIZE = {"height": 64, "width": 64, "guidance_scale": 1.0}


def defaults_of(folder: Path, pipeline: str, *, steps: int = 28, **fields: Any) -> dict[str, Any]:
    (folder / "model_index.json").write_text(json.dumps({"_class_name": pipeline}))
    given = {**SIZE, "num_inference_steps": steps, **fields}
    return model_defaults(Recipe.of(classes=["car"], model=str(folder), **given))


@pytest.mark.parametrize(
    ("pipeline", "steps"),
    [
        ("StableDiffusionPipeline", 1),
        ("StableDiffusionXLPipeline", 1),
        ("StableDiffusion3Pipeline", 4),
        ("FluxPipeline", 4),
    ],
)
def test_layers_are_weighed_and_heat_spreads_along_self_attention(pipeline: str, steps: int, tmp_path: Path) -> None:
    assert defaults_of(tmp_path, pipeline) == {
        "attention": "auto",
        "attention_words": "phrase",
        "attention_timesteps": (0, 550),
        "competition": 16.0,
        "affinity": "self-attention",
        "affinity_power": steps,
    }


@pytest.mark.parametrize("pipeline", ["SanaPipeline", "PipelineOfTomorrow"])
def test_where_self_attention_cannot_be_read_the_log_says_why(
    pipeline: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert defaults_of(tmp_path, pipeline, steps=20) == UNREADABLE
    assert "all layers count alike" in caplog.text


def test_models_of_few_steps_are_read_at_all_of_them(tmp_path: Path) -> None:
    fields = defaults_of(tmp_path, "FluxPipeline", steps=4)
    assert fields == {**JOINT, "attention_timesteps": (0, 1000)}


def test_what_is_given_stays(tmp_path: Path) -> None:
    fields = defaults_of(tmp_path, "FluxPipeline", affinity=None, attention_words="class")
    assert set(AUTO) - set(fields) == {"affinity", "attention_words"}


def test_nothing_is_read_where_all_is_given() -> None:
    recipe = Recipe.of(classes=["car"], model="./missing", **AUTO, **SIZE, num_inference_steps=28)
    assert model_defaults(recipe) == {}


def test_the_index_is_read_once_for_all_that_is_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []

    def counted(path: Path, **options: Any) -> Any:
        read.append(path)
        return read_json(path, **options)

    monkeypatch.setattr("diffumask_datasets.diffusion.model_index.read_json", counted)
    assert defaults_of(tmp_path, "FluxPipeline", guidance_scale=None) == {"guidance_scale": 3.5, **JOINT}
    assert read == [tmp_path / "model_index.json"]
