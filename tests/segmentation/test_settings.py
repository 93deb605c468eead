"""Settings and experiment files."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from diffumask_datasets.errors import RecipeError
from diffumask_datasets.recipes.recipe import Recipe
from diffumask_datasets.segmentation.settings import (
    EvaluationSettings,
    TrainingSettings,
    read_experiment,
    source_of_text,
)

EXPERIMENTS = sorted((Path(__file__).parent.parent.parent / "examples" / "experiments").glob("*.yaml"))


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_every_experiment_is_whole(path: Path) -> None:
    notes = yaml.safe_load(path.read_text())
    assert {"name", "about", "paper", "run"} <= notes.keys()
    fields = read_experiment(path)
    settings = TrainingSettings.of(**fields["train"])
    EvaluationSettings.of(**fields["evaluate"])
    assert f"examples/experiments/{path.name}" in notes["run"]
    for source in settings.sources:
        if source.generate is not None:
            generated = dict(source.generate)
            assert generated.pop("num_samples") >= 1000
            Recipe.of(**generated)


def test_the_tasks_of_the_paper_are_there() -> None:
    assert {path.stem for path in EXPERIMENTS} >= {
        "voc20",
        "cityscapes_human_vehicle",
        "ade20k_bus_car_person",
        "open_vocabulary",
        "domain_generalisation",
        "synthetic_and_real_voc",
    }


def test_sources_as_the_command_line_names_them(tmp_path: Path) -> None:
    assert source_of_text("out/ds") == {"dataset": "out/ds"}
    assert source_of_text("voc=/data/VOC2012") == {"layout": "voc", "root": "/data/VOC2012"}
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("{classes: [car], splits: {train: 8}, seed: 3, digest: abc}")
    assert source_of_text(str(recipe)) == {"generate": {"classes": ["car"], "seed": 3}, "stream": True}


def test_the_digest_follows_the_content() -> None:
    base: dict[str, Any] = {"sources": [{"dataset": "out/ds"}]}
    digest = TrainingSettings.of(**base).digest_with("data")
    assert TrainingSettings.of(**base, steps=None, flip=True, log_every=3).digest_with("data") == digest
    assert TrainingSettings.of(**base, steps=999).digest_with("data") != digest
    assert TrainingSettings.of(**base).digest_with("other data") != digest


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "sources: Field required"),
        ({"sources": []}, "sources: name at least one dataset to train on"),
        ({"sources": [{}]}, r"sources\.0: name exactly one of dataset, generate and layout, not none"),
        ({"sources": [{"dataset": "a", "layout": "voc", "root": "b"}]}, "not dataset, layout"),
        ({"sources": [{"layout": "voc"}]}, "layout and root go together"),
        ({"sources": [{"dataset": "a", "weight": 0}]}, r"sources\.0\.weight: Input should be greater than 0"),
        ({"sources": [{"dataset": "a"}], "step": 3}, r"unknown field 'step' \(did you mean 'steps'\?\)"),
        ({"sources": [{"dataset": "a"}], "scale": [2, 1]}, r"scale: give \[smallest, largest\]"),
        ({"sources": [{"dataset": "a"}], "learning_rate": -1}, "learning_rate: Input should be greater than 0"),
        ({"sources": [{"dataset": "a"}], "augment": ["blurr"]}, r"augment\.0: unknown kind 'blurr'"),
    ],
)
def test_bad_settings(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        TrainingSettings.of(**fields)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("evaluate: {}", "no field 'train'"),
        ("train: {}\ntrian: {}", r"unknown field 'trian' \(did you mean 'train'\?\)"),
        ("[1]", "expected fields like 'train:"),
        ("train:", "train: expected fields like 'steps: 1000', got None"),
        ("train: {}\nevaluate: [voc]", r"evaluate: expected fields like 'steps: 1000', got \['voc'\]"),
        ("{", "is not plain YAML"),
    ],
)
def test_bad_experiment_files(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "experiment.yaml").write_text(text)
    with pytest.raises(RecipeError, match=message):
        read_experiment(tmp_path / "experiment.yaml")


def test_a_benchmark_that_is_none() -> None:
    with pytest.raises(RecipeError, match="benchmark: Input should be 'voc', 'cityscapes', 'ade20k', 'folder' or"):
        EvaluationSettings.of(benchmark="coco", root="x")
