"""Sample sheets come apart in the order of their prompts; the curves are those of the log."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from diffumask_datasets.errors import DataError
from diffumask_datasets.toybox import CLASS_NAMES, COLOURS
from diffumask_datasets.toybox.judge import Judge, Verdict
from examples.small_model.progress import Sighting, draw_curves, judge_sheet, read_losses, read_sheets
from examples.small_model.samples import drawn_prompts, read_sample_sheet, write_sample_sheet


class Reader(Judge):
    """Names class and colour by the picture's top left pixel, where the test wrote them."""

    def look(self, images: object) -> list[Verdict]:
        assert isinstance(images, list)
        colours = list(COLOURS)
        return [
            Verdict(CLASS_NAMES[image[0, 0, 0]], colours[image[0, 0, 1]], frozenset(), "grass", image[..., 0])
            for image in images
        ]


def sheet(path: Path, *, wrong: int) -> None:
    """What ``write_sample_sheet`` lays out: prompt k at row k // 10, column k % 10; the first ``wrong`` lie."""
    canvas = np.zeros((4 * 128, 10 * 128, 3), np.uint8)
    for number, prompt in enumerate(drawn_prompts()):
        words = prompt.split()
        name = CLASS_NAMES.index(next(word for word in words if word in CLASS_NAMES))
        shade = next((list(COLOURS).index(word) for word in words if word in COLOURS), 0)
        row, column = number // 10 * 128, number % 10 * 128
        canvas[row, column, :2] = ((name + (number < wrong)) % 10, shade)
    Image.fromarray(canvas).save(path)


def test_a_sheet_is_read_in_the_order_of_its_prompts(tmp_path: Path) -> None:
    sheet(tmp_path / "samples-0000500.png", wrong=4)
    assert judge_sheet(tmp_path / "samples-0000500.png", Reader(), step=500) == Sighting(500, 0.9, 1.0)


def test_sheets_come_in_the_order_of_training(tmp_path: Path) -> None:
    for step, wrong in ((9000, 0), (10000, 40)):
        sheet(tmp_path / f"samples-{step:04d}.png", wrong=wrong)
    assert [(found.step, found.class_accuracy) for found in read_sheets(tmp_path, Reader())] == [(9000, 1), (10000, 0)]


def test_curves_of_a_log_are_drawn(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text(
        "".join(json.dumps({"step": step, "loss": 1 / step}) + "\n" for step in (1, 2)), encoding="utf-8"
    )
    losses = read_losses(tmp_path)
    assert losses == [(1, 1.0), (2, 0.5)]
    draw_curves(losses, [Sighting(1, 0.5, 0.5), Sighting(2, 0.9, 1.0)], tmp_path / "curves.png")
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.size == (840, 480)


def test_a_log_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot read the log"):
        read_losses(tmp_path)


@pytest.mark.parametrize("count", [40, 7])
def test_a_generated_sheet_is_read_back_in_order(tmp_path: Path, count: int) -> None:
    """The writer and the reader agree: each tile is what the pipeline generated for its prompt."""
    generated: list[np.ndarray] = []

    class Pipeline:
        def set_progress_bar_config(self, **options: object) -> None: ...

        def __call__(self, prompts: list[str], **options: object) -> Any:
            start = len(generated)
            made = [np.full((128, 128, 3), (start + k) / 255, np.float32) for k in range(len(prompts))]
            generated.extend(made)
            return type("Output", (), {"images": np.stack(made)})

    write_sample_sheet(Pipeline(), drawn_prompts()[:count], tmp_path / "sheet.png")
    tiles = read_sample_sheet(tmp_path / "sheet.png")[:count]
    assert [int(tile[0, 0, 0]) for tile in tiles] == list(range(count))
