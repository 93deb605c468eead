"""The command ``diffumask``."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from diffumask_datasets.errors import DiffuMaskError, RecipeError

__all__ = ["app", "main"]

app = typer.Typer(
    help="Class names in, a labelled segmentation dataset out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

EXIT_BAD_INPUT = 1
EXIT_INTERRUPTED = 130


@app.callback()
def _common(debug: Annotated[bool, typer.Option(help="Show the traceback of an error.")] = False) -> None:
    """Class names in, a labelled segmentation dataset out."""


@app.command()
def generate(
    output: Annotated[Path, typer.Option(help="Folder of the dataset; load_dataset(FOLDER) reads it.")],
    classes: Annotated[list[str] | None, typer.Argument(help="Class names, e.g. car boat 'potted plant'.")] = None,
    num_samples: Annotated[int | None, typer.Option(help="Images in the split train.")] = None,
    config: Annotated[Path | None, typer.Option(help="recipe.yaml; options given here win over it.")] = None,
    model: Annotated[str | None, typer.Option(help="toybox, a Hub id or a local folder.")] = None,
    seed: Annotated[int | None, typer.Option(help="Other seed, other images.")] = None,
    prompt: Annotated[
        list[str] | None, typer.Option(help="Prompt with {classes} where the class terms go, or a caption; repeatable.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Any other recipe field; repeatable.")
    ] = None,
    keep_heat_maps: Annotated[bool, typer.Option(help="Add the column heat_maps.")] = False,
    preview: Annotated[bool, typer.Option(help="Write preview.png: image | mask overlay | heat map.")] = False,
    batch_size: Annotated[int, typer.Option(help="Images painted at once.")] = 1,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps; default: the best there is.")] = None,
    store: Annotated[Path | None, typer.Option(help="Sample store; default: the Hugging Face cache.")] = None,
) -> None:
    """Generate images and masks of CLASSES into a dataset folder; started again, it goes on where it stopped."""
    from diffumask_datasets.generation import generate as generate_folder
    from diffumask_datasets.recipe_file import read_recipe_file

    fields = read_recipe_file(config) if config else {}
    given: dict[str, Any] = {
        "classes": classes,
        "model": model,
        "seed": seed,
        "prompts": prompt,
        "num_samples": num_samples,
    }
    given |= {"keep_heat_maps": keep_heat_maps or None, "batch_size": batch_size, "device": device, "store": store}
    fields |= {name: value for name, value in given.items() if value is not None} | _assignments(set_ or [])
    if num_samples is not None:
        fields.pop("splits", None)
    try:
        generate_folder(output, preview=preview, **fields)
    except KeyboardInterrupt:
        # Caught here: typer would end the program without a word.
        typer.echo("interrupted; finished samples are kept, the same command goes on from there", err=True)
        raise typer.Exit(EXIT_INTERRUPTED) from None
    typer.echo(f"wrote {output}")


@app.command()
def train(
    output: Annotated[Path, typer.Option(help="Folder of the trained model; transformers loads it.")],
    datasets: Annotated[
        list[str] | None,
        typer.Argument(
            help="Dataset folders or Hub ids; voc=ROOT, cityscapes=ROOT, ade20k=ROOT or folder=ROOT for real images; "
            "a recipe.yaml for images that are painted while the model trains. Several are mixed."
        ),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="Experiment file; options given here win over it.")] = None,
    model: Annotated[
        str | None, typer.Option(help="segformer-small, mask2former-small, upernet-small, a Hub id or a folder.")
    ] = None,
    weight: Annotated[
        list[float] | None, typer.Option(help="Share of a dataset in the mixture, one for each, in order.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Optimizer steps.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images that are in memory at once.")] = None,
    accumulate: Annotated[int | None, typer.Option(help="Batches that make one step.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="At the top of the schedule.")] = None,
    size: Annotated[tuple[int, int] | None, typer.Option(help="Height and width the model sees.")] = None,
    seed: Annotated[int | None, typer.Option(help="Other seed, other order and other first weights.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Any other setting; repeatable.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, mps; default: the best there is.")] = None,
    workers: Annotated[int, typer.Option(help="Processes that read images.")] = 0,
) -> None:
    """Train a segmenter on DATASETS; started again, it goes on at its last checkpoint."""
    from diffumask_datasets.segmentation.settings import TrainingSettings, read_experiment
    from diffumask_datasets.segmentation.training import Hardware
    from diffumask_datasets.segmentation.training import train as train_segmenter

    fields = read_experiment(config)["train"] if config else {}
    given: dict[str, Any] = {"model": model, "steps": steps, "batch_size": batch_size, "accumulate": accumulate}
    given |= {"learning_rate": learning_rate, "seed": seed, "sources": _sources(datasets or [], weight or [])}
    given |= dict(zip(("height", "width"), size, strict=True)) if size else {}
    fields |= {name: value for name, value in given.items() if value is not None} | _assignments(set_ or [])
    settings = TrainingSettings.of(**{"sources": (), **fields})
    try:
        train_segmenter(settings, output, hardware=Hardware(device, workers))
    except KeyboardInterrupt:
        typer.echo("interrupted; the same command goes on from the last checkpoint", err=True)
        raise typer.Exit(EXIT_INTERRUPTED) from None
    typer.echo(f"wrote {output}")


@app.command()
def evaluate(
    model: Annotated[str, typer.Argument(help="A folder that train wrote, or a Hub id.")],
    root: Annotated[str | None, typer.Argument(help="Root of the benchmark.")] = None,
    benchmark: Annotated[str | None, typer.Option(help="voc, cityscapes, ade20k, folder or dataset.")] = None,
    config: Annotated[Path | None, typer.Option(help="Experiment file; options given here win over it.")] = None,
    split: Annotated[str | None, typer.Option(help="Default: what the benchmark publishes figures on.")] = None,
    rename: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="CLASS=NAME", help="Judge a class under another name, e.g. rider=human."),
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Folder for scores.json and pictures.")] = None,
    predictions: Annotated[Path | None, typer.Option(help="Folder for the predicted masks, in benchmark ids.")] = None,
    batch_size: Annotated[int, typer.Option(help="Images that are in memory at once.")] = 8,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, mps; default: the best there is.")] = None,
) -> None:
    """Measure MODEL on the real images at ROOT: IoU per class, mIoU, boundary IoU, pixel accuracy."""
    from diffumask_datasets.segmentation import evaluation
    from diffumask_datasets.segmentation.segmenter import Segmenter
    from diffumask_datasets.segmentation.settings import EvaluationSettings, read_experiment
    from diffumask_datasets.segmentation.sources import open_source

    fields = (read_experiment(config).get("evaluate") or {}) if config else {}
    given = {"root": root, "benchmark": benchmark, "split": split}
    fields |= {name: value for name, value in given.items() if value is not None}
    renamed = _pairs(rename or [], option="--map", form="CLASS=NAME", example="rider=human")
    fields["rename"] = {**fields.get("rename", {}), **dict(renamed)}
    settings = EvaluationSettings.of(**fields)
    if output is not None:
        evaluation.check_evaluation_target(output)
    data = open_source(settings.source(), split="test")
    result = evaluation.evaluate(
        Segmenter.load(model, device=device),
        data,
        rename=settings.rename,
        unseen=settings.unseen,
        predictions=predictions,
        batch_size=batch_size,
    )
    if output is not None:
        evaluation.save_evaluation(result, output)
    typer.echo(result.table())


@app.command()
def doctor() -> None:
    """Report what is installed, what is missing and how to mend it; exits with 1 where something needed is missing."""
    from diffumask_datasets.doctor import examine

    findings = examine()
    for finding in findings:
        sign = "ok" if not finding.mend else ("FAIL" if finding.required else "-")
        mend = f"  → {finding.mend}" if finding.mend else ""
        typer.echo(f"{sign:5}{finding.name:17}{finding.state}{mend}")
    if not all(finding.healthy for finding in findings):
        raise typer.Exit(EXIT_BAD_INPUT)


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


def _assignments(pairs: list[str]) -> dict[str, Any]:
    fields = {}
    for name, value in _pairs(pairs, option="--set", form="FIELD=VALUE", example="threshold=0.5"):
        try:
            fields[name.replace("-", "_")] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise RecipeError(f"--set {name}: {' '.join(str(error).split())}") from error
    return fields


def _pairs(pairs: list[str], *, option: str, form: str, example: str) -> Iterator[tuple[str, str]]:
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise RecipeError(f"{option} {pair!r}: expected {form}, e.g. {option} {example}")
        yield name.strip(), value


def _sources(texts: list[str], weights: list[float]) -> list[dict[str, Any]] | None:
    from diffumask_datasets.segmentation.settings import source_of_text

    if weights and len(weights) != len(texts):
        raise RecipeError(f"--weight: expected one for each of {len(texts)} datasets, got {len(weights)}")
    sources = [source_of_text(text) for text in texts]
    for source, share in zip(sources, weights, strict=False):
        source["weight"] = share
    return sources or None
