"""Lists that people write: every encoding, mark and line end gives the same lines."""

import codecs
from pathlib import Path

import pytest

from diffumask_datasets.dataset.decisions import read_decisions
from diffumask_datasets.errors import DataError
from diffumask_datasets.recipes.captions import read_captions
from diffumask_datasets.recipes.text_lists import read_lines, read_text

LINES = ["a café.jpg", "two  blanks.png", "naïve"]
TEXT = "a café.jpg\n\n  two  blanks.png \nnaïve"

ENCODED = {
    "utf-8": TEXT.encode(),
    "utf-8 with mark": codecs.BOM_UTF8 + TEXT.encode(),
    "utf-16 little": codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le"),
    "utf-16 big": codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"),
    "utf-16 without mark": TEXT.encode("utf-16-le"),
    "utf-16 big without mark": TEXT.encode("utf-16-be"),
    "utf-32": codecs.BOM_UTF32_LE + TEXT.encode("utf-32-le"),
    "latin": TEXT.encode("latin-1"),
    "windows line ends": TEXT.replace("\n", "\r\n").encode(),
    "old mac line ends": TEXT.replace("\n", "\r").encode(),
}


@pytest.mark.parametrize("kind", ENCODED)
def test_any_encoding_gives_the_same_lines(kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "list.txt").write_bytes(ENCODED[kind])
    assert read_lines(tmp_path / "list.txt") == LINES
    assert ("was read as Windows-1252" in caplog.text) == (kind == "latin")


def test_only_line_ends_end_lines(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("one\u2028still one\u0085 and one\ntwo", encoding="utf-8")
    assert read_lines(tmp_path / "list.txt") == ["one\u2028still one\u0085 and one", "two"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1", "is no text"),
        (b"a\0b\1c\0\0d\1\1", "is no text"),
        (codecs.BOM_UTF16_LE + b"a", "is no text in UTF-8, UTF-16 or Windows-1252; save it as UTF-8"),
        (b"\x81\x8d", "is no text in UTF-8, UTF-16 or Windows-1252; save it as UTF-8"),
    ],
)
def test_what_is_no_text_is_named(data: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(data)
    with pytest.raises(DataError, match=rf"list\.txt {message}"):
        read_text(tmp_path / "list.txt")
    with pytest.raises(DataError, match=r"cannot read .*none\.txt: No such file"):
        read_text(tmp_path / "none.txt")


def test_captions_and_decisions_of_other_systems(tmp_path: Path) -> None:
    (tmp_path / "c.txt").write_bytes(codecs.BOM_UTF8 + "a café\r\na car".encode())
    assert read_captions(str(tmp_path / "c.txt")) == ("a café", "a car")
    line = '{"sample_id": "x-1", "verdict": "accepted"}'
    (tmp_path / "d.jsonl").write_bytes(codecs.BOM_UTF16_LE + f"{line}\r\n".encode("utf-16-le"))
    assert list(read_decisions(tmp_path / "d.jsonl")) == ["x-1"]
