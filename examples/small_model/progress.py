"""Draws the curves of a training on the drawn world: see ``--help``.

The judge looks at the sample sheets that the training leaves behind; the training itself never meets it.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diffumask_datasets.errors import DataError, MissingDependencyError
from diffumask_datasets.recipes.json_reader import read_json_lines
from diffumask_datasets.toybox.judge import Judge, load_judge
from diffumask_datasets.toybox.world import CLASS_NAMES, COLOURS
from examples.small_model.samples import drawn_prompts, read_sample_sheet

__all__ = ["Sighting", "draw_curves", "judge_sheet", "read_losses", "read_sheets"]

_SHEET = re.compile(r"samples-(\d+)\.png")


@dataclass(frozen=True)
class Sighting:
    """Shares of a sample sheet on which the judge sees the class, and the colour, that was asked for."""

    step: int
    class_accuracy: float
    colour_accuracy: float


def judge_sheet(path: Path, judge: Judge, *, step: int) -> Sighting:
    """What the judge sees on the sheet at ``path``, generated after ``step`` steps."""
    verdicts = judge.look(read_sample_sheet(path))
    words = [prompt.split() for prompt in drawn_prompts()]
    named = [next(word for word in prompt if word in CLASS_NAMES) for prompt in words]
    shades = [next((word for word in prompt if word in COLOURS), None) for prompt in words]
    return Sighting(
        step,
        float(np.mean([verdict.best_class == name for verdict, name in zip(verdicts, named, strict=True)])),
        float(np.mean([v.best_colour == shade for v, shade in zip(verdicts, shades, strict=True) if shade])),
    )


def read_sheets(output: Path, judge: Judge) -> list[Sighting]:
    """Every sample sheet in ``output``, judged, in the order of training."""
    found = {int(match[1]): path for path in output.glob("*.png") if (match := _SHEET.fullmatch(path.name))}
    return [judge_sheet(found[step], judge, step=step) for step in sorted(found)]


def read_losses(output: Path) -> list[tuple[int, float]]:
    """(step, loss) of every entry of the training's log in ``output``."""
    entries = read_json_lines(output / "log.jsonl", what="the log", error=DataError)
    return [(entry["step"], entry["loss"]) for _, entry in entries]


def draw_curves(losses: Sequence[tuple[int, float]], sightings: Sequence[Sighting], path: Path) -> None:
    """Loss, and the judge's accuracies, over the steps.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError.of("matplotlib", "segmentation") from error
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(*zip(*losses, strict=True), color="tab:grey")
    axes.set(xlabel="step", ylabel="loss (grey)", ylim=(0, None))
    shares = axes.twinx()
    seen = [sighting.step for sighting in sightings]
    shares.plot(seen, [sighting.class_accuracy for sighting in sightings], "o-", color="tab:blue", label="class")
    shares.plot(seen, [sighting.colour_accuracy for sighting in sightings], "s-", color="tab:orange", label="colour")
    shares.set(ylabel="share that the judge recognises", ylim=(0, 1.02))
    shares.legend(loc="lower right")
    figure.savefig(path, dpi=120)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point; ``arguments`` default to the command line."""
    parser = argparse.ArgumentParser(prog="python -m examples.small_model.progress", description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="folder of the training")
    options = parser.parse_args(arguments)
    draw_curves(read_losses(options.output), read_sheets(options.output, load_judge()), options.output / "progress.png")


if __name__ == "__main__":
    main()
