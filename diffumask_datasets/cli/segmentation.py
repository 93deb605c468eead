"""Commands about segmenters: train, evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from diffumask_datasets.cli.options import assignments, local_path, pairs_in, resumable, yaml_value
from diffumask_datasets.errors import RecipeError

__all__ = ["evaluate", "train"]


def train(
    output: Annotated[
        Path, typer.Option(parser=local_path, help="Folder of the trained model; transformers loads it.")
    ],
    datasets: Annotated[
        list[str] | None,
        typer.Argument(
            help="Dataset folders, URLs or Hub ids; voc=ROOT, cityscapes=ROOT, ade20k=ROOT or folder=ROOT for real images; "
            "a recipe.yaml for images that are generated while the model trains. Several are mixed."
        ),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="Experiment file; options given here win over it.")] = None,
    model: Annotated[
        str | None, typer.Option(help="segformer-small, mask2former-small, upernet-small, a Hub id or a folder.")
    ] = None,
    weight: Annotated[
        list[float] | None,
        typer.Option(metavar="SHARE", help="Share of a dataset in the mixture; once for each, in order."),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Optimizer steps.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images that are in memory at once.")] = None,
    accumulate: Annotated[int | None, typer.Option(help="Batches that make one step.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="At the top of the schedule.")] = None,
    size: Annotated[
        tuple[int, int] | None,
        typer.Option(metavar="HEIGHT WIDTH", help="Size of the images the model sees, e.g. --size 512 512."),
    ] = None,
    augment: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STEP",
            help="compose:4-8, splice, splice:2x2, blur, occlude, perspective, or a YAML mapping; repeatable, in order.",
        ),
    ] = None,
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
    given |= {"augment": [yaml_value(text, "--augment") for text in augment]} if augment else {}
    given |= dict(zip(("height", "width"), size, strict=True)) if size else {}
    fields |= {name: value for name, value in given.items() if value is not None} | assignments(set_ or [])
    settings = TrainingSettings.of(**{"sources": (), **fields})
    with resumable("the same command goes on from the last checkpoint"):
        train_segmenter(settings, output, hardware=Hardware(device, workers))
    typer.echo(f"wrote {output}")


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
    output: Annotated[Path | None, typer.Option(parser=local_path, help="Folder for scores.json and pictures.")] = None,
    predictions: Annotated[
        Path | None, typer.Option(parser=local_path, help="Folder for the predicted masks, in benchmark ids.")
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Images that are in memory at once.")] = 8,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, mps; default: the best there is.")] = None,
) -> None:
    """Measure MODEL on the real images at ROOT: IoU per class, mIoU, boundary IoU, pixel accuracy."""
    from diffumask_datasets.segmentation import evaluation
    from diffumask_datasets.segmentation.segmenter import Segmenter
    from diffumask_datasets.segmentation.settings import EvaluationSettings, read_experiment
    from diffumask_datasets.segmentation.sources import open_source

    fields = read_experiment(config).get("evaluate", {}) if config else {}
    given = {"root": root, "benchmark": benchmark, "split": split}
    fields |= {name: value for name, value in given.items() if value is not None}
    renamed = pairs_in(rename or [], option="--map", form="CLASS=NAME", example="rider=human")
    settings = EvaluationSettings.of(**fields)
    settings = settings.model_copy(update={"rename": {**settings.rename, **dict(renamed)}})
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


def _sources(texts: list[str], weights: list[float]) -> list[dict[str, Any]] | None:
    from diffumask_datasets.segmentation.settings import source_of_text

    if weights and len(weights) != len(texts):
        raise RecipeError(f"--weight: expected one for each of {len(texts)} datasets, got {len(weights)}")
    sources = [source_of_text(text) for text in texts]
    for source, share in zip(sources, weights, strict=False):
        source["weight"] = share
    return sources or None
