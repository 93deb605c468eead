"""Images and what is said of them, however names and texts are written."""

import codecs
import json
from pathlib import Path

import pytest
from PIL import Image

from diffumask_datasets.dataset.image_folder import find_images
from diffumask_datasets.errors import DataError


def images(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 9)).save(root / name)


def captions(root: Path) -> dict[str, str | None]:
    return {found.path.relative_to(root).as_posix(): found.caption for found in find_images(root).images}


def test_names_are_matched_however_they_are_written(tmp_path: Path) -> None:
    names = ("a.jpg", "b c.jpg", "sub/d.jpg", "cafe\u0301.jpg", "e.jpg")
    images(tmp_path, *names)
    written = ("./a.jpg", "b c.jpg", "sub\\d.jpg", "caf\u00e9.jpg")
    lines = [json.dumps({"file_name": name, "text": f"number {number}"}) for number, name in enumerate(written)]
    (tmp_path / "metadata.jsonl").write_bytes(codecs.BOM_UTF8 + "\r\n".join(lines).encode())
    assert captions(tmp_path) == {**{name: f"number {number}" for number, name in enumerate(names[:4])}, "e.jpg": None}


def test_metadata_of_sub_folders_and_of_other_encodings(tmp_path: Path) -> None:
    images(tmp_path, "one/a.png", "two/a.png")
    (tmp_path / "one" / "metadata.csv").write_bytes('file_name,text\r\na.png,"a car,\r\nred"\r\n'.encode("utf-16"))
    (tmp_path / "two" / "a.txt").write_bytes(codecs.BOM_UTF8 + b"a boat\n")
    assert captions(tmp_path) == {"one/a.png": "a car, red", "two/a.png": "a boat"}


def test_files_beside_images_do_not_end_a_run(tmp_path: Path) -> None:
    images(tmp_path, "a.png")
    for name in ("._a.png", ".DS_Store", "Thumbs.db", "b.heic", "a.txt", "b.txt"):
        (tmp_path / name).write_text("a car")
    folder = find_images(tmp_path)
    assert [(found.path.name, found.caption) for found in folder.images] == [("a.png", "a car")]
    assert folder.left_out == {
        "hidden or system file": (".DS_Store", "._a.png", "Thumbs.db"),
        "no image by its ending": ("b.heic", "b.txt"),
    }


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (['{"file_name": "../a.png", "text": "x"}'], r"names '\.\./a\.png', which is not there or is no image"),
        (['{"file_name": "._a.png", "text": "x"}'], r"names '\._a\.png', which is not there or is no image"),
        (
            ['{"file_name": "a.png", "text": "x"}', '{"file_name": "./a.png", "text": "y"}'],
            r"gives '\./a\.png' a second caption",
        ),
        (["[" * 100_000], r"metadata\.jsonl, line 1 is nested more than 32 deep"),
    ],
)
def test_metadata_that_cannot_be_used(lines: list[str], message: str, tmp_path: Path) -> None:
    images(tmp_path, "a.png", "._a.png")
    (tmp_path / "metadata.jsonl").write_text("\n".join(lines))
    with pytest.raises(DataError, match=message):
        find_images(tmp_path)
    (tmp_path / "metadata.csv").write_text("file_name,text\n")
    with pytest.raises(DataError, match=r"holds both metadata\.jsonl and metadata\.csv; keep one"):
        find_images(tmp_path)
