"""The progress line, as a terminal is sent it."""

import io
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import pytest

from diffumask_datasets import generate
from diffumask_datasets.generation.prepare import prepare
from diffumask_datasets.generation.progress import GenerationProgress
from diffumask_datasets.generation.samples import GeneratedSamples, Made, Runtime
from diffumask_datasets.recipes.recipe import Recipe


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def last_line(terminal: Terminal) -> str:
    """What stands on the screen at the end: tqdm rewrites its line after a carriage return."""
    return terminal.getvalue().rstrip("\n").rpartition("\r")[2]


def test_reports_of_workers_give_quality_and_attempts() -> None:
    with redirect_stderr(Terminal()) as terminal, GenerationProgress(4) as progress:
        for one in (Made(0), Made(2, 0.5, rejected=3), Made(1, 0.9), Made(3, 0.7, rejected=1)):
            progress.made(one)
    assert "4/4 [" in last_line(terminal)
    assert "image/s, mean quality 0.70, 4 generated again]" in last_line(terminal)


def test_nothing_is_said_of_quality_before_it_is_known() -> None:
    with redirect_stderr(Terminal()) as terminal, GenerationProgress(2) as progress:
        progress.made(Made(0))
        progress.made(Made(1))
    assert "2/2 [" in last_line(terminal)
    assert "quality" not in terminal.getvalue()


def test_the_store_has_no_part_in_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("tqdm.std.time", lambda: now[0])
    with redirect_stderr(Terminal()) as terminal, GenerationProgress(1000) as progress:
        for index in range(900):
            progress.made(Made(index))
        now[0] += 20
        for index in range(900, 910):
            progress.made(Made(index, 0.8))
    # 10 images in 20 seconds, 90 to go: not 910 in 20 seconds.
    assert "910/1000 [00:20<03:00,  2.00s/image, mean quality 0.80]" in last_line(terminal)


@pytest.mark.parametrize("workers", [1, 2])
def test_generate_shows_what_it_wrote(planted: dict[str, Any], tmp_path: Path, workers: int) -> None:
    fields = {**planted, "min_area": 0.3, "max_attempts": 3}
    with redirect_stderr(Terminal()) as terminal:
        generate(tmp_path / "ds", num_samples=8, workers=workers, store=tmp_path / "shown", **fields)
    samples = GeneratedSamples(prepare(Recipe.of(**fields)), Runtime(store=tmp_path / "expected"))
    qualities = [row["quality"] for _, row in samples.rows(0, 8)]
    assert samples.rejected.total() > 0
    told = f"mean quality {sum(qualities) / 8:.2f}, {samples.rejected.total()} generated again]"
    lines = terminal.getvalue().split("\r")
    assert any("8/8 [" in line and told in line for line in lines), lines[-3:]


def test_without_a_terminal_nothing_is_drawn(
    planted: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert generate(tmp_path / "ds", num_samples=2, **planted) is None
    assert "image" not in capsys.readouterr().err


def test_generate_gives_the_place_of_the_preview(planted: dict[str, Any], tmp_path: Path) -> None:
    given = generate(tmp_path / "ds", num_samples=2, preview=True, **planted)
    assert given == tmp_path / "ds" / "preview.png"
    assert given.is_file()
