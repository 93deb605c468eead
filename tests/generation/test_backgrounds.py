"""Backgrounds without any class, painted by the fake model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from diffumask_datasets.augmentation.backgrounds import pin_backgrounds
from diffumask_datasets.dataset.image_io import read_image
from diffumask_datasets.errors import ExportError, RecipeError
from diffumask_datasets.generation.backgrounds import paint_backgrounds
from diffumask_datasets.recipes.augment_settings import Compose
from tests.helpers.command import diffumask_here

NIGHT, BEACH = "a street at night", "an empty beach"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_pictures_with_captions_that_compositions_take(planted: dict[str, Any], tmp_path: Path) -> None:
    for name in ("one", "same"):
        assert not paint_backgrounds([NIGHT, BEACH], tmp_path / name, count=3, **planted)
    paint_backgrounds([NIGHT], tmp_path / "other", count=1, **{**planted, "seed": 5})
    found = contents(tmp_path / "one")
    assert list(found) == [f"0000000{number}.{kind}" for number in range(3) for kind in ("png", "txt")]
    assert found == contents(tmp_path / "same")
    assert found["00000000.png"] != contents(tmp_path / "other")["00000000.png"]
    assert [found[f"0000000{number}.txt"].decode().strip() for number in range(3)] == [NIGHT, BEACH, NIGHT]
    assert read_image(tmp_path / "one" / "00000001.png").shape[2] == 3
    pin_backgrounds([Compose(backgrounds=str(tmp_path / "one"))], (("car", "car"),))


def test_pictures_that_show_a_class_are_left_out(planted: dict[str, Any], tmp_path: Path) -> None:
    asked = []

    def choose(image: npt.NDArray[np.uint8], texts: Sequence[str]) -> int:
        asked.append(list(texts))
        return 1 if len(asked) == 2 else 0

    refused = paint_backgrounds([NIGHT, BEACH], tmp_path / "out", count=3, choose=choose, **planted)
    assert refused == {"car": 1}
    assert [name for name in contents(tmp_path / "out") if name.endswith("png")] == ["00000000.png", "00000002.png"]
    assert asked[1] == [BEACH, "a photo of a car", "a photo of a potted plant", "a photo of a boat"]
    with pytest.raises(ExportError, match=r"each of the 2 pictures shows a class: \{'car': 2\}; take other prompts"):
        paint_backgrounds([NIGHT], tmp_path / "none", count=2, choose=lambda *_: 1, **planted)
    assert not (tmp_path / "none").exists()


def test_bad_input(planted: dict[str, Any], tmp_path: Path) -> None:
    for prompts, message in (
        ([], "name at least one prompt"),
        ([" "], "a prompt is empty"),
        (["two cars at night"], "the prompt 'two cars at night' names the class 'car'; take it out"),
    ):
        with pytest.raises(RecipeError, match=message):
            paint_backgrounds(prompts, tmp_path / "out", count=1, **planted)
    (tmp_path / "out").mkdir()
    with pytest.raises(ExportError, match="out is there already"):
        paint_backgrounds([NIGHT], tmp_path / "out", count=1, **planted)


def test_the_command(tmp_path: Path) -> None:
    options = ["--classes", "car,boat", "--num", "2", "--output", "empty", "--model", "planted"]
    done = diffumask_here("backgrounds", NIGHT, *options, "--set", "height=32", "--set", "width=32", cwd=tmp_path)
    assert done.stdout == "wrote empty: 2 pictures; nobody looked whether they show a class\n", done.stderr
    assert len(contents(tmp_path / "empty")) == 4
