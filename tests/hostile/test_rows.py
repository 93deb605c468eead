"""Folders of strangers × commands: one line that says what is wrong, nothing half-written, no file of ours opened."""

import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pytest
from PIL import Image

from diffumask_datasets import export
from diffumask_datasets.cli.app import main
from diffumask_datasets.dataset.reader import open_dataset
from diffumask_datasets.errors import ExportError
from tests.helpers.hub_server import GOOD_TOKEN, LocalHub
from tests.hostile import folders as made

Row = dict[str, Any]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command that must fail, unless it is to end with ``code``; gives its one line."""

    def ran(*arguments: object, code: int = 1) -> str:
        monkeypatch.setattr(sys, "argv", ["diffumask", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        lines = capsys.readouterr().err.splitlines()
        assert end.value.code == code, lines
        assert code == 0 or [line[:7] for line in lines] == ["error: "], lines
        return "".join(lines)

    return ran


def commands(source: Path, root: Path, exported: Path) -> dict[str, tuple[Any, ...]]:
    """Each command that reads the rows of a folder, writing into ``root``."""
    return {
        "export": ("export", source, "--format", "coco", "--output", root / "coco", "--workers", 1),
        "verify": ("verify", exported, "--source", source),
        "review": ("review", source, "--html", root / "page.html"),
        "curate": ("curate", source, "--output", root / "curated", "--folds", 0),
        "remask": ("remask", source, "--output", root / "remasked", "--threshold", 0.4),
        "augment": ("augment", source, "--output", root / "augmented", "--augment", "blur"),
        "train-affinity": ("train-affinity", source, "--output", root / "net.safetensors", "--epochs", 1),
        "push": ("push", source, "me/stolen", "--token", GOOD_TOKEN),
    }


def written(root: Path) -> list[str]:
    """What a failed command left, but for the samples of an export that goes on where it stopped."""
    unfinished = root / "coco" / ".diffumask-export"
    if unfinished.is_dir():
        assert not (root / "coco" / "diffumask-export.json").exists()
        shutil.rmtree(root / "coco")
    return [path.name for path in root.rglob("*")]


ROWS: dict[str, tuple[made.Change, str]] = {
    "image: a path": (lambda row: row.update(image=row["secret"]), r"sample \S+: image: it is the path .*not opened"),
    "label: a path": (lambda row: row.update(label=row["secret"]), r"label: it is the path .*not opened"),
    "heat map: a path": (
        lambda row: row["heat_maps"]["map"].__setitem__(0, row["secret"]),
        r"heat_maps: it is the path .*not opened",
    ),
    "image: none": (
        lambda row: row.update(image=None),
        "image: expected a picture as datasets.Image keeps it, got None",
    ),
    "image: no bytes": (lambda row: row["image"].update(bytes=b""), "image: expected a picture"),
    "image: no picture": (
        lambda row: row["image"].update(bytes=b"%PDF-1.4"),
        "cannot read the image: its content is no",
    ),
    "image: cut": (lambda row: row["image"].update(bytes=row["image"]["bytes"][:200]), "cannot read the image: "),
    "image: a bomb": (lambda row: row.update(image=made.bomb()), "cannot read the image: .*pixels"),
    "image: zTXt": (
        lambda row: row.update(image=made.text_bomb(row, kind="zTXt")),
        "cannot read the image: .*too large",
    ),
    "image: iTXt": (
        lambda row: row.update(image=made.text_bomb(row, kind="iTXt")),
        "cannot read the image: .*too large",
    ),
    "label: none": (lambda row: row.update(label=None), "label: expected a picture"),
    "label: a bomb": (lambda row: row.update(label=made.bomb()), "cannot read the mask: .*pixels"),
    "label: 16 bits": (
        lambda row: row.update(label=made.wide_label(row)),
        "cannot read the mask: expected mask values from 0 to 255, got 25[6-9]",
    ),
    "label: colours": (
        lambda row: row.update(label=row["image"]),
        "cannot read the mask: expected a mask with one channel",
    ),
    "label: another size": (
        lambda row: row.update(label=made.cell(Image.new("L", (60, 48)))),
        "the image is 64x48 .* but its mask is 60x48",
    ),
    "label: an unknown class": (
        lambda row: row.update(label=made.cell(Image.new("L", (64, 48), 4))),
        "class id 4 in the mask, but the dataset names 3 classes",
    ),
    "rle: a giant": (
        lambda row: made.set_rle(row, size=[2**31 - 1, 2**31 - 1]),
        r"object 1: RLE: expected a mask of \[48, 64\] .*, got size \[2147483647, 2147483647\]",
    ),
    "rle: ends early": (lambda row: made.set_rle(row, counts="11"), "object 1: RLE: the runs cover 2 pixels of 3072"),
    "rle: goes on": (lambda row: made.set_rle(row, counts="ooooo"), "object 1: RLE: 'ooooo' are no counts"),
    "rle: no counts": (lambda row: made.set_rle(row, counts=None), "object 1: RLE: expected counts as text"),
    "rle: no size": (lambda row: made.set_rle(row, size=None), "object 1: RLE: expected size"),
    "rle: empty": (lambda row: made.set_rle(row, counts="PP3"), "object 1 has no pixels"),
    "rle: none": (lambda row: made.set_object(row, "segmentation", None), "object 1: RLE: expected size and counts"),
    "objects: none": (lambda row: row.update(objects=None), "objects: expected lists of id, category"),
    "objects: no list": (lambda row: row["objects"].update(bbox=None), "objects.bbox: expected a list, got None"),
    "objects: unequal": (lambda row: row["objects"]["area"].append(3), "objects: expected lists of one length"),
    "objects: 10,001": (lambda row: made.crowd(row, 10_001), "10001 objects; at most 10000 are read"),
    "objects: one id": (
        lambda row: (made.crowd(row, 2), made.set_object(row, "id", 2)),
        "object 2 comes twice",
    ),
    "objects: id 0": (lambda row: made.set_object(row, "id", 0), "objects.id: expected a whole number from 1"),
    "objects: no box": (lambda row: made.set_object(row, "bbox", None), "object 1: bbox: expected a list, got None"),
    "objects: a short box": (
        lambda row: made.set_object(row, "bbox", [1.0]),
        "object 1: bbox: expected 4 items, got 1",
    ),
    "objects: NaN": (lambda row: made.set_object(row, "bbox", [float("nan")] * 4), "object 1: bbox: expected a number"),
    "objects: no score": (
        lambda row: made.set_object(row, "score", None),
        "object 1: score: expected a number, got None",
    ),
    "objects: no area": (lambda row: made.set_object(row, "area", -1), "object 1: area: expected a whole number"),
    "objects: background": (lambda row: made.set_object(row, "category", 0), "object 1: class id 0 is not one of 1..3"),
    "objects: class 9": (lambda row: made.set_object(row, "category", 9), "object 1: class id 9 is not one of 1..3"),
    "id: none": (lambda row: row.update(sample_id=None), "invalid sample_id None: expected letters"),
    "id: a path": (lambda row: row.update(sample_id="../../stolen"), "invalid sample_id '../../stolen'"),
    "id: two dots": (lambda row: row.update(sample_id="a..0"), r"invalid sample_id 'a\.\.0'"),
    "id: long": (lambda row: row.update(sample_id="a" * 300), "invalid sample_id 'aaa.*at most 128 bytes"),
    "prompt: none": (lambda row: row.update(prompt=None), "prompt: expected text, got None"),
    "model: none": (lambda row: row.update(model=None), "model: expected text, got None"),
    "seed: none": (lambda row: row.update(seed=None), "seed: expected a whole number .*, got None"),
    "quality: none": (lambda row: row.update(quality=None), "quality: expected a number from 0 to 1, got None"),
    "quality: NaN": (lambda row: row.update(quality=float("nan")), "quality: expected a number from 0 to 1, got nan"),
    "classes: none": (lambda row: row.update(classes=None), "classes: expected a list, got None"),
    "classes: unknown": (lambda row: row.update(classes=[7]), "class id 7 is not one of 1..3"),
    "threshold: short": (lambda row: row.update(threshold=[]), "threshold: expected 1 items, got 0"),
    "heat maps: unequal": (lambda row: row["heat_maps"]["map"].clear(), "heat_maps.map: expected 1 items, got 0"),
}


FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut": (lambda path: path.write_bytes(path.read_bytes()[:-100]), "cannot read .*parquet: .*the file is damaged"),
    "cut in the data": (
        lambda path: path.write_bytes(path.read_bytes()[:100] + bytes(900) + path.read_bytes()[1000:]),
        "cannot read .*parquet: .*the file is damaged",
    ),
    "no parquet": (lambda path: path.write_bytes(b"sample_id,image"), "cannot read .*parquet: .*the file is damaged"),
    "empty": (lambda path: path.write_bytes(b""), "cannot read .*parquet: .*the file is damaged"),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), "cannot read .*parquet: .*the file is damaged"),
    "no label": (lambda path: made.dropped(path, "label"), "the dataset has no column label"),
    "no objects": (lambda path: made.dropped(path, "objects"), "the dataset has no column objects"),
    "objects as text": (lambda path: made.retyped(path, "objects", pa.string(), "car"), "the column objects has no id"),
    "image as text": (
        lambda path: made.retyped(path, "image", pa.string(), "/etc/passwd"),
        "image: expected a picture as datasets.Image keeps it, got '/etc/passwd'",
    ),
    "label as number": (lambda path: made.retyped(path, "label", pa.int64(), 1), "label: expected a picture .*, got 1"),
    "id as number": (lambda path: made.retyped(path, "sample_id", pa.int64(), 1), "invalid sample_id 1"),
    "quality as text": (lambda path: made.retyped(path, "quality", pa.string(), "1"), "quality: expected a number"),
    "another schema": (made.second_file, "has other columns than"),
    "features: no JSON": (lambda path: made.redescribed(path, lambda _: b"{"), "describes no features"),
    "features: nested": (lambda path: made.redescribed(path, lambda _: b"[" * 99_999), "describes no features"),
    "features: unknown": (
        lambda path: made.redescribed(path, lambda features: features["image"].update(_type="Exploit")),
        "describes no features",
    ),
    "classes: none": (
        lambda path: made.redescribed(path, lambda features: features.pop("objects")),
        "objects.category names no classes",
    ),
    "classes: twice": (
        lambda path: made.rename_classes(path, ["background", "car", "car", "boat"]),
        "describes no features|names the class",
    ),
    "classes: a line end": (
        lambda path: made.rename_classes(path, ["background", "car", "two\nlines", "boat"]),
        "cannot stand in a text file",
    ),
    "classes: others": (
        lambda path: made.rename_classes(path, ["background", "cat", "dog", "cow"]),
        "recipe.yaml has the classes .* and the data has .*; they do not belong together",
    ),
    "a split": (
        lambda path: path.rename(path.with_name("<b>-00000-of-00001.parquet")),
        "split '<b>' cannot be a folder name",
    ),
    "200,000 objects": (made.crowded, "a row has over 100000 items in the column objects"),
    "an id twice": (made.doubled, "comes twice|occurs twice"),
}

EVERY_COMMAND = (
    "image: a path",
    "label: 16 bits",
    "image: zTXt",
    "rle: ends early",
    "objects: unequal",
    "id: two dots",
)
EVERY_COMMAND_FILES = ("cut in the data", "another schema")
"""One of each kind, which goes through all commands; the others through the two readers that they have in common."""


def refused_by_readers(source: Path, message: str, *, but: str = "") -> None:
    """By the reader of exports, and by that of all else; in one line, whoever asks."""
    readers: dict[str, Callable[[], object]] = {
        "export": lambda: export(source, source.with_name("coco"), format="coco"),
        "rows": lambda: list(open_dataset(source).rows()),
    }
    for name, read in readers.items():
        if name != but:
            with pytest.raises(ExportError, match=message) as error:
                read()
            assert "\n" not in str(error.value)
    assert not (source.with_name("coco") / "diffumask-export.json").exists()


def refused_by_commands(good: Path, source: Path, message: str, run: Callable[..., str], hub: LocalHub) -> None:
    root = source.with_name("out")
    root.mkdir()
    for name, arguments in commands(source, root, good / "coco").items():
        assert re.search(message, run(*arguments)), name
        assert written(root) == [], name
    assert all(len(repo.commits) == 1 for repo in hub.state.repos.values())


def test_the_good_folder_is_taken_by_every_command(
    good: Path, run: Callable[..., str], local_hub: LocalHub, tmp_path: Path
) -> None:
    made.with_row(good / "ds", tmp_path / "ds", lambda row: row.pop("secret"))
    for arguments in commands(tmp_path / "ds", tmp_path, good / "coco").values():
        run(*arguments, code=0)


@pytest.mark.parametrize("name", ROWS)
def test_a_row_is_refused_in_one_line(name: str, good: Path, tmp_path: Path) -> None:
    change, message = ROWS[name]
    # Exports leave heat maps behind.
    but = "export" if name.startswith("heat map") else ""
    refused_by_readers(made.with_row(good / "ds", tmp_path / "ds", change), message, but=but)


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_refused_in_one_line(name: str, good: Path, tmp_path: Path) -> None:
    change, message = FILES[name]
    # Exports take any dataset, with a recipe beside it or not.
    but = "export" if name == "classes: others" else ""
    refused_by_readers(made.with_file(good / "ds", tmp_path / "ds", change), message, but=but)


@pytest.mark.parametrize("name", EVERY_COMMAND)
def test_a_row_is_refused_by_every_command(
    name: str, good: Path, run: Callable[..., str], local_hub: LocalHub, tmp_path: Path
) -> None:
    change, message = ROWS[name]
    refused_by_commands(good, made.with_row(good / "ds", tmp_path / "ds", change), message, run, local_hub)


@pytest.mark.parametrize("name", EVERY_COMMAND_FILES)
def test_a_file_is_refused_by_every_command(
    name: str, good: Path, run: Callable[..., str], local_hub: LocalHub, tmp_path: Path
) -> None:
    change, message = FILES[name]
    refused_by_commands(good, made.with_file(good / "ds", tmp_path / "ds", change), message, run, local_hub)


def test_a_row_of_a_dataset_in_memory_opens_no_file_either(good: Path, tmp_path: Path) -> None:
    source = made.with_row(good / "ds", tmp_path / "ds", ROWS["image: a path"][0])
    rows = datasets.Dataset.from_parquet(str(source / made.DATA), cache_dir=str(tmp_path / "cache"))
    for read in (lambda: export(rows, tmp_path / "coco", format="voc"), lambda: list(open_dataset(rows).rows())):
        with pytest.raises(ExportError, match=r"image: it is the path .*not opened"):
            read()


@pytest.mark.parametrize("sample_id", ["boat", "boat-x", "boat-٣", "boat-99999999999999999999"])
def test_an_id_without_a_number_cannot_be_pushed(
    sample_id: str, good: Path, run: Callable[..., str], local_hub: LocalHub, tmp_path: Path
) -> None:
    source = made.with_row(good / "ds", tmp_path / "ds", lambda row: row.update(sample_id=sample_id))
    assert "no number at its end, which the config detection needs" in run(*commands(source, tmp_path, good)["push"])
    assert len(local_hub.state.repos["me/stolen"].commits) == 1
