"""Text that people or programs write: prompts, decisions, manifests and values of options are bounded too."""

from pathlib import Path

import pytest

from diffumask_datasets.errors import RecipeError
from diffumask_datasets.segmentation.settings import read_experiment
from tests.hostile.test_recipes import COMMANDS, DEEP, Run

TEXTS = {
    "decisions": (
        "ds/decisions.jsonl",
        '{"a":' * 50_000,
        "push",
        "decisions.jsonl, line 1 is nested more than 32 deep",
    ),
    "half character": (
        "decisions.jsonl",
        r'{"sample_id": "\ud800", "verdict": "accepted"}',
        "apply",
        "line 1 is not JSON",
    ),
    "tags": (
        "decisions.jsonl",
        '{"sample_id": "a", "verdict": "accepted", "tags": 5}',
        "apply",
        "tags: expected a list",
    ),
    "verdict": ("decisions.jsonl", '{"sample_id": "a", "verdict": ["x"]}', "apply", "expected accepted or rejected"),
    "id": (
        "decisions.jsonl",
        '{"sample_id": ["a"], "verdict": "accepted"}',
        "apply",
        "sample_id, reason and tags are text",
    ),
}


@pytest.mark.parametrize("text", TEXTS)
def test_a_hostile_text_is_one_line(run: Run, tmp_path: Path, text: str) -> None:
    name, content, command, line = TEXTS[text]
    (tmp_path / name).write_text(content, encoding="utf-8")
    code, said = run(COMMANDS[command])
    assert (code, said.count("\n")) == (1, 1)
    assert line in said


ELSEWHERE = {
    "shard.json": ('{"shard": 5, "ranges": {}}', "merge {tmp} --output {tmp}/out", "is not the folder of a shard"),
    "vocabulary.yaml": ("[" * 9_000, "prompts {tmp}/vocabulary.yaml", DEEP),
    "config.yaml": (
        "[" * 9_000,
        "generate --config {tmp}/config.yaml --output {tmp}/out",
        DEEP,
    ),
    "options.yaml": (
        "[" * 9_000,
        "export {ds} --format coco --config {tmp}/options.yaml --output {tmp}/out",
        DEEP,
    ),
    "diffumask-export.json": ("[" * 9_000, "verify {tmp}", DEEP),
    "model_index.json": ("[" * 9_000, "generate car --num-samples 1 --model {tmp} --output {tmp}/out", DEEP),
    "metadata.jsonl": (
        "[" * 9_000,
        "label {tmp} --classes car --model planted --output {tmp}/out",
        DEEP,
    ),
}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_every_other_reader_is_bounded_too(run: Run, tmp_path: Path, name: str) -> None:
    content, command, line = ELSEWHERE[name]
    (tmp_path / name).write_text(content, encoding="utf-8")
    (tmp_path / "a.png").touch()
    code, said = run(command)
    assert (code, said.count("\n")) == (1, 1)
    assert line in said


def test_an_experiment_is_bounded(tmp_path: Path) -> None:
    (tmp_path / "experiment.yaml").write_text("[" * 9_000, encoding="utf-8")
    with pytest.raises(RecipeError, match=f"the experiment .* {DEEP}"):
        read_experiment(tmp_path / "experiment.yaml")


@pytest.mark.parametrize("value", ["[" * 9_000, "0x" + "f" * 9_000, "!!python/name:os.system", "\udcff"])
@pytest.mark.parametrize("option", ["--set threshold={}", "--set classes={}", "--set prompts={}", "--set model={}"])
def test_a_value_on_the_command_line_is_one_line(run: Run, option: str, value: str) -> None:
    code, said = run(
        "generate car --num-samples 1 --output {tmp}/out " + option.replace("{}", value.replace("{", "{{"))
    )
    assert (code, said.count("\n")) == (1, 1)
    assert len(said) < 1_000
