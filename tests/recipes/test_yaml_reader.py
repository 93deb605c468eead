"""YAML of strangers: what is read, what is refused, and that refusing costs nothing."""

import os
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from diffumask_datasets.errors import DiffuMaskError, RecipeError
from diffumask_datasets.recipes import yaml_reader
from diffumask_datasets.recipes.yaml_reader import parse_yaml, read_yaml

LAUGHS = "a0: &a0 [ha, ha]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("classes: " + "[" * 52_000, "x is nested more than 32 deep"),
        ("classes: " + "[\n" * 52_000, "x is nested more than 32 deep"),
        ("classes: " + "{a: " * 52_000, "x is nested more than 32 deep"),
        ("a:\n" + "- " * 52_000, "x is nested more than 32 deep"),
        ("a:\n" + "? " * 52_000, "x is nested more than 32 deep"),
        ("[" * 33 + "]" * 33, "x is nested more than 32 deep"),
        (LAUGHS, "x holds more than 300000 values"),
        (
            "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 40)),
            "x is nested more than 32 deep",
        ),
        ("a: &a [*a]", "x has the alias *a, which names no value before it"),
        ("a: *b", "x has the alias *b, which names no value before it"),
        ("seed: 0x" + "f" * 100_000, "x holds a number of 100002 characters (0xffffffffff…): quote it if it is text"),
        ("seed: " + "9" * 5_000, "x holds a number of 5000 characters (999999999999…): quote it if it is text"),
        ("seed: 1" + ":59" * 50_000, "x holds a number of 150001 characters"),
        ("seed: 1" + ":59" * 50_000 + ".5", "x holds a number of 150003 characters"),
        ("a: !!python/object/apply:os.system [ls]", "x is not plain YAML: it has the tag"),
        ("a: !!binary aGk=", "x is not plain YAML: it has the tag"),
        ("a: 2024-99-99", "x is not plain YAML: month must be in 1..12"),
        ("a: 0b_", "x is not plain YAML: invalid literal"),
        ("? [a]\n: b", "x is not plain YAML: while constructing a mapping"),
        ("a: \x00", "x is not plain YAML: "),
        ("a: \udcff", "x is not plain YAML: "),
    ],
)
def test_refused_in_one_line_and_at_once(text: str, message: str) -> None:
    began = time.process_time()
    with pytest.raises(RecipeError) as caught:
        parse_yaml(text, where="x", error=RecipeError)
    assert str(caught.value).startswith(message)
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    "text", ["[" + "a," * 100 + "]", "{" + "a: b," * 50 + "}", "a: &a [b, c]\n" * 30 + "d: [*a, *a]"]
)
def test_values_are_counted(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(yaml_reader, "MOST_VALUES", 100)
    with pytest.raises(RecipeError, match="x holds more than 100 values"):
        parse_yaml(text, where="x", error=RecipeError)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: &a [x, y]\nb: *a\nc: [*a, *a]", {"a": ["x", "y"], "b": ["x", "y"], "c": [["x", "y"], ["x", "y"]]}),
        ("base: &b {x: 1}\nmore: {<<: *b, y: 2}", {"base": {"x": 1}, "more": {"x": 1, "y": 2}}),
        ("[" * 31 + "a" + "]" * 31, None),
        ("seed: " + "9" * 64, {"seed": 10**64 - 1}),
        ("a: '" + "9" * 5_000 + "'", {"a": "9" * 5_000}),
        ("", None),
    ],
)
def test_read_as_it_stands(text: str, value: Any) -> None:
    assert parse_yaml(text, where="x", error=RecipeError) == (value if value is not None else yaml.safe_load(text))


@given(st.text())
def test_any_text_is_what_yaml_says_or_one_error_of_ours(text: str) -> None:
    try:
        value = parse_yaml(text, where="x", error=RecipeError)
    except DiffuMaskError:
        return
    assert repr(value) == repr(yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: \xc3\xa9\r\n")
    assert read_yaml(path, what="the recipe", error=RecipeError) == {"a": "é"}
    path.write_bytes(b"a: \xe9")
    with pytest.raises(RecipeError, match=r"cannot read the recipe .*a.yaml: it is not UTF-8 text \(byte 3\)"):
        read_yaml(path, what="the recipe", error=RecipeError)
    path.write_bytes(b"#" * 101)
    with pytest.raises(RecipeError, match=r"the recipe .*a.yaml is too large: at most 100 bytes are read"):
        read_yaml(path, what="the recipe", error=RecipeError, most_bytes=100)
    with pytest.raises(RecipeError, match=r"cannot read the recipe .*: Is a directory"):
        read_yaml(tmp_path, what="the recipe", error=RecipeError)
    with pytest.raises(RecipeError, match=r"cannot read the recipe .*: No such file"):
        read_yaml(tmp_path / "none", what="the recipe", error=RecipeError)
    with pytest.raises(RecipeError, match=r"cannot read the recipe .*: File name too long"):
        read_yaml(tmp_path / ("n" * 300), what="the recipe", error=RecipeError)


@pytest.mark.parametrize("name", ["/dev/zero", "pipe"])
def test_what_never_ends_is_not_read(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(RecipeError, match="it is not a regular file"):
        read_yaml(tmp_path / name, what="the recipe", error=RecipeError)
