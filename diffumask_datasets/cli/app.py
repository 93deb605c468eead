"""The program: its commands in the order of its help, and how its errors end it."""

from __future__ import annotations

import logging
import os
import sys
from typing import Annotated

import typer

from diffumask_datasets.cli import examining, making, masking, segmenting, sharing
from diffumask_datasets.cli.options import EXIT_BAD_INPUT
from diffumask_datasets.errors import DiffuMaskError

__all__ = ["app", "main"]

app = typer.Typer(
    help="Class names in, a labelled segmentation dataset out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def _common(debug: Annotated[bool, typer.Option(help="Show the traceback of an error.")] = False) -> None:
    """Class names in, a labelled segmentation dataset out."""


for command in (
    *(making.generate, making.merge, making.prompts, making.augment, making.reproduce),
    *(masking.label, masking.remask, masking.curate, masking.train_affinity, masking.tune_attention),
    *(sharing.export, sharing.verify, sharing.review, sharing.push),
    *(segmenting.train, segmenting.evaluate),
    examining.doctor,
):
    app.command()(command)


def main() -> None:
    """Runs the command line; an error of ours is one line on stderr."""
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    # Read when transformers is first imported: it warns of image processors that nothing here uses.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    try:
        app()
    except DiffuMaskError as error:
        if "--debug" in sys.argv[1:]:
            raise
        typer.echo(f"error: {' '.join(str(error).split())}", err=True)
        sys.exit(EXIT_BAD_INPUT)
