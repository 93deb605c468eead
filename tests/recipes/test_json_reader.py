"""JSON of strangers: what is read and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffumask_datasets.errors import DataError
from diffumask_datasets.recipes.json_reader import parse_json, read_json, read_json_lines


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "x is nested more than 32 deep"),
        ('{"a":' * 100_000, "x is nested more than 32 deep"),
        ("[" * 33 + "]" * 33, "x is nested more than 32 deep"),
        ("[" + "9" * 65 + "]", "x holds a number of 65 digits"),
        ("9" * 5_000, "x holds a number of 5000 digits"),
        (r'{"a": "\ud800"}', "x is not JSON: 'utf-8' codec can't encode character"),
        ("{", "x is not JSON: Expecting property name"),
        ("", "x is not JSON: Expecting value"),
        (b"\xff", "x is not JSON: 'utf-8' codec can't decode"),
    ],
)
def test_refused_in_one_line(text: str | bytes, message: str) -> None:
    with pytest.raises(DataError) as caught:
        parse_json(text, where="x", error=DataError)
    assert str(caught.value).startswith(message)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r'{"a": "[[\"[[{{\\", "b": ["[", "]"]}', {"a": '[["[[{{\\', "b": ["[", "]"]}),
        (r'"\ud83d\ude00"', "😀"),
        ('"' + "9" * 5_000 + '"', "9" * 5_000),
        ("[" * 32 + "]" * 32, json.loads("[" * 32 + "]" * 32)),
    ],
)
def test_read_as_it_stands(text: str, value: Any) -> None:
    assert parse_json(text, where="x", error=DataError) == value


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner), max_leaves=20
)


@settings(max_examples=25)
@given(VALUES)
def test_what_json_writes_is_read(value: Any) -> None:
    assert parse_json(json.dumps(value), where="x", error=DataError) == value


def test_files_and_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\r\n\r\n[2]\n')
    assert list(read_json_lines(path, what="the log", error=DataError)) == [
        (f"{path}, line 1", {"a": 1}),
        (f"{path}, line 3", [2]),
    ]
    path.write_text('{"a": 1}\n{', encoding="utf-8")
    with pytest.raises(DataError, match=r"a.jsonl, line 2 is not JSON: Expecting"):
        list(read_json_lines(path, what="the log", error=DataError))
    with pytest.raises(DataError, match=r"the log .*a.jsonl is not JSON: Extra data"):
        read_json(path, what="the log", error=DataError)
