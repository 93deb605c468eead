"""The program: its commands in the order of its help, and how its errors end it."""

from __future__ import annotations

import errno
import io
import logging
import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from diffumask_datasets import __version__
from diffumask_datasets.cli import dataset, doctor, generation, masks, scenes, segmentation
from diffumask_datasets.cli.options import EXIT_BAD_INPUT
from diffumask_datasets.errors import DiffuMaskError, RecipeError

__all__ = ["app", "main"]

LONGEST_LINE = 4000
"""Characters of an error: a list of 171 class names has half of them."""

app = typer.Typer(
    help="Class names in, a labelled segmentation dataset out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"diffumask {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    debug: Annotated[bool, typer.Option(help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Class names in, a labelled segmentation dataset out."""


for command in (
    *(generation.generate, generation.merge, generation.prompts),
    *(scenes.augment, scenes.backgrounds, scenes.harmonize),
    *(generation.reproduce, generation.tune_sampler),
    *(masks.label, masks.remask, masks.curate, masks.train_affinity, masks.tune_attention),
    *(dataset.export, dataset.verify, dataset.review, dataset.correct, dataset.show, dataset.push),
    *(segmentation.train, segmentation.evaluate),
    doctor.doctor,
):
    app.command()(command)


def main() -> None:
    """Runs the command line; an error of ours, or of the operating system, is one line on stderr."""
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    logging.getLogger("diffumask_datasets").setLevel(logging.INFO)
    # Read when transformers is first imported: it warns of image processors that nothing here uses.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # what the terminal's encoding lacks is shown by its code
    try:
        _check_arguments(sys.argv[1:])
        app()
    except (DiffuMaskError, OSError) as error:
        if "--debug" in sys.argv[1:]:
            raise
        typer.echo(f"error: {_one_line(error)}", err=True)
        sys.exit(EXIT_BAD_INPUT)


def _check_arguments(words: Sequence[str]) -> None:
    for word in words:
        # Bytes that the locale cannot decode; neither Parquet nor JSON could hold them.
        if any("\ud800" <= letter <= "\udfff" for letter in word):
            raise RecipeError(f"the argument {word!r} is not text in the encoding of this terminal: set LC_ALL=C.UTF-8")


def _one_line(error: DiffuMaskError | OSError) -> str:
    text = str(error)
    if not isinstance(error, DiffuMaskError):
        # Nobody nearer to the cause knew more to say.
        text = f"{error.strerror}: {error.filename}" if error.filename else text or type(error).__name__
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            text += "; free some space, or set TMPDIR to a folder of a disk that has some"
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]}…"
