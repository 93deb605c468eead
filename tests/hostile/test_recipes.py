"""Recipes and texts of strangers: every command ends with one line, and follows nothing that it was not told to."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from diffumask_datasets.errors import DiffuMaskError
from diffumask_datasets.generation.config import DiffuMaskConfig
from diffumask_datasets.recipes.recipe import Recipe
from tests.conftest import PLANTED
from tests.hostile.conftest import Run

FIELDS: dict[str, Any] = {
    **PLANTED,
    "threshold": "affinity",
    "affinity": "self-attention",
    "classes": {
        "car": ["car", "automobile"],
        "boat": {"terms": ["boat"], "sub_classes": ["rowing"], "contexts": ["at sea"]},
    },
    "classes_per_image": 2,
    "class_weights": [1.0, 2.0],
    "co_occurrence": {"car": {"boat": 1.0}},
    "prompt_source": {"kind": "sub_classes", "blank": 0.1},
    "augment": ["splice:2x2", {"kind": "blur", "probability": 0.5}],
    "min_quality": 0.2,
    "max_attempts": 2,
}
"""A legal recipe that uses most of what there is."""

READERS = {
    "curate": "curate {ds} --output {tmp}/out --folds 0",
    "remask": "remask {ds} --output {tmp}/out --threshold 0.4",
    "augment": "augment {ds} --output {tmp}/out --augment blur",
    "train-affinity": "train-affinity {ds} --output {tmp}/net.safetensors",
    "apply": "review {ds} --apply --output {tmp}/out --decisions {tmp}/decisions.jsonl",
    "html": "review {ds} --html {tmp}/page.html",
    "push": "push {ds} you/ds --token hf_abc",
}
"""Commands that read a dataset's recipe and follow nothing that it names."""

FOLLOWERS = {
    "refill": "review {ds} --refill --output {tmp}/out --decisions {tmp}/decisions.jsonl",
    "generate": "generate --recipe {ds} --output {tmp}/out",
    "reproduce": "reproduce {digest}-00000001 --recipe {ds}",
}
"""Commands that generate by it."""

COMMANDS = READERS | FOLLOWERS

LAUGHS = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9))

DEEP = "is nested more than 32 deep"

HOSTILE = {
    "brackets": ("classes: " + "[" * 52_000, DEEP),
    "laughs": (LAUGHS, "holds more than 300000 values"),
    "code": ("classes: !!python/object/apply:os.system ['touch owned']", "is not plain YAML: it has the tag"),
    "giant": ("classes: [car]\nseed: 0x" + "f" * 9_000, "holds a number of 9002 characters"),
    "binary": (b"classes: \xff\xfe", "it is not UTF-8 text (byte 9)"),
    "list": ("- car", "expected fields like 'classes: [car, boat]'"),
    "number": ("1: car", "expected fields like 'classes: [car, boat]'"),
    "unknown": ("classes: [car]\nimport: os", "unknown field 'import'"),
    "splits": ("classes: [car]\nsplits: {1: 3}", "splits: expected sizes like 'train: 80', got {1: 3}"),
    "skip": ("classes: [car]\nskip: 5", "skip: expected a list of indices, got 5"),
    "model": ("classes: [car]\nmodel: [x]", "model: Input should be a valid string (given: ['x'])"),
    "classes": ("classes: /etc/words.yaml", "classes: '/etc/words.yaml' is a path, not a name"),
    "captions": ("classes: [car, boat]\nco_occurrence: /etc/passwd", "co_occurrence: '/etc/passwd' is a path"),
    "columns": ("classes: [car]\nkeep_heat_maps: 3", "keep_heat_maps: expected true or false, got 3"),
    "digest": ("classes: [car]\ndigest: [1]", "digest: expected twelve hex digits, got [1]"),
    "history": ("classes: [car]\naugmented: 3", "augmented: expected fields with a digest, got 3"),
}


CASES = [
    (name, command) for name in HOSTILE for command in (COMMANDS if name == "brackets" else ("curate", "generate"))
]


@pytest.mark.parametrize(("hostile", "command"), CASES)
def test_a_hostile_recipe_is_one_line(run: Run, tmp_path: Path, hostile: str, command: str) -> None:
    recipe, line = HOSTILE[hostile]
    before = {path.name for path in tmp_path.iterdir()}
    code, said = run(COMMANDS[command], recipe)
    assert code == 1
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert line in said
    assert {path.name for path in tmp_path.iterdir()} == before


def local(made: Path, **fields: Any) -> str:
    return yaml.safe_dump({**yaml.safe_load((made / "recipe.yaml").read_text(encoding="utf-8")), **fields})


LOCAL: dict[str, dict[str, Any]] = {
    "names the local model '/srv/model', which is not followed": {"model": "/srv/model"},
    "names the local model '../model', which is not followed": {"model": "../model"},
    "names the local lora '/srv/lora', which is not followed": {"lora": "/srv/lora"},
    "names the local checkpoint '/srv/a.safetensors', which is not followed": {"checkpoint": "/srv/a.safetensors"},
    "names the local prompt_source path '/etc/passwd'": {"prompt_source": {"kind": "captions", "path": "/etc/passwd"}},
    "asks for pickled weights, which can run any code": {"pickle_weights": True},
}


@pytest.mark.parametrize("command", FOLLOWERS)
@pytest.mark.parametrize("line", LOCAL)
def test_who_generates_follows_nothing_local_unasked(run: Run, made: Path, line: str, command: str) -> None:
    code, said = run(FOLLOWERS[command], local(made, **LOCAL[line]))
    assert (code, said.count("\n")) == (1, 1)
    assert line in said
    assert "add --trust-recipe" in said


@pytest.mark.parametrize("command", FOLLOWERS)
def test_one_option_of_the_user_lets_it_be_followed(run: Run, made: Path, command: str) -> None:
    code, said = run(f"{FOLLOWERS[command]} --trust-recipe", local(made, model="/srv/model"))
    assert (code, said.count("\n")) == (1, 1)
    assert said.startswith("error: no model '/srv/model'")


@pytest.mark.parametrize("command", ["curate", "remask", "augment", "apply", "html"])
def test_who_follows_nothing_does_not_ask(run: Run, made: Path, command: str) -> None:
    """A dataset made with a model of one's own is worked on as any other."""
    own = {"model": "/home/me/model", "revision": "0123456789abcdef", "lora": "../lora", "lora_revision": "abc"}
    recipe = local(made, **own)
    code, said = run(READERS[command], recipe)
    assert code == 0, said


CELLS: list[Any] = [
    *(None, True, 0, -1, 3, 10**60, 1e308, float("inf"), float("nan"), "", "x", "x" * 3_000, "/etc/passwd", "../up"),
    *(
        "a\x00b",
        "\udcff",
        "🚗" * 50,
        "{classes} {classes}",
        [],
        {},
        [[]],
        [None],
        ["x", 3],
        [["x", "y"]],
        {"kind": "blur"},
    ),
    *(
        {"kind": ["x"]},
        {"kind": "captions"},
        {"path": 3},
        {1: 3},
        {"train": "x"},
        {"car": None},
        {"car": {"boat": "x"}},
    ),
    *([{"name": "car", "terms": 3}], {"name": ["x"]}, [1e999, -1], "voc", "voc:bird,nothing", "2024-01-01"),
]


@st.composite
def mutated(draw: st.DrawFn) -> dict[str, Any]:
    fields = dict(FIELDS)
    for _ in range(draw(st.integers(1, 3))):
        name = draw(
            st.sampled_from([*Recipe.model_fields, "splits", "skip", "num_samples", "keep_heat_maps", "digest"])
        )
        cell = fields.get(name)
        if isinstance(cell, dict) and cell and draw(st.booleans()):
            fields[name] = {**cell, draw(st.sampled_from(sorted(map(str, cell)))): draw(st.sampled_from(CELLS))}
        elif isinstance(cell, list) and cell and draw(st.booleans()):
            fields[name] = [*cell[:-1], draw(st.sampled_from(CELLS))]
        elif draw(st.integers(0, 9)):
            fields[name] = draw(st.sampled_from(CELLS))
        else:
            fields.pop(name, None)
    return fields


@settings(max_examples=100)
@example({"classes": ["car"], "model": "planted", "threshold": "affinity"})
@given(mutated())
def test_a_mutated_recipe_is_legal_or_one_error_of_ours(fields: dict[str, Any]) -> None:
    recipe = {name: value for name, value in fields.items() if name in Recipe.model_fields}
    try:
        made = Recipe.of(**recipe)
    except DiffuMaskError as error:
        line = str(error)
    else:
        line = ""
        # Only what was given: a default that is not given is none that was chosen.
        assert Recipe.within(made.model_dump(mode="json", exclude_unset=True)).digest == made.digest
    assert len(line) < 5_000


@settings(max_examples=40)
@given(mutated())
def test_a_mutated_recipe_of_a_stranger_is_legal_or_one_error_of_ours(
    tmp_path_factory: pytest.TempPathFactory, fields: dict[str, Any]
) -> None:
    path = tmp_path_factory.getbasetemp() / "recipe.yaml"
    path.write_text(yaml.safe_dump(fields), encoding="utf-8")
    try:
        config = DiffuMaskConfig(recipe=path)
    except DiffuMaskError:
        return
    assert config.recipe.model in ("planted", "toybox")
