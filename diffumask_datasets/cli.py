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

from diffumask_datasets.errors import DiffuMaskError, ExportError, RecipeError

__all__ = ["app", "main"]

app = typer.Typer(
    help="Class names in, a labelled segmentation dataset out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

EXIT_BAD_INPUT = 1
RUNTIME_FIELDS = (
    *("num_samples", "splits", "keep_heat_maps", "num_shards"),
    *("batch_size", "device", "dtype", "store"),
)
"""Fields of a recipe file that are not the recipe's."""

EXIT_INTERRUPTED = 130

Classes = Annotated[
    list[str] | None,
    typer.Argument(help="Class names, e.g. car boat 'potted plant'; or a vocabulary: voc, voc:bird,dog, my.yaml."),
]
Config = Annotated[Path | None, typer.Option(help="recipe.yaml; options given here win over it.")]
Seed = Annotated[int | None, typer.Option(help="Other seed, other images.")]
Prompts = Annotated[
    list[str] | None, typer.Option(help="Prompt with {classes} where the class terms go, or a caption; repeatable.")
]
Assignments = Annotated[
    list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Any other recipe field; repeatable.")
]
CLOSE_ENOUGH = 0.98
"""Share of equal mask pixels; other machines and batch sizes round differently."""


@app.callback()
def _common(debug: Annotated[bool, typer.Option(help="Show the traceback of an error.")] = False) -> None:
    """Class names in, a labelled segmentation dataset out."""


@app.command()
def generate(
    output: Annotated[Path, typer.Option(help="Folder of the dataset; load_dataset(FOLDER) reads it.")],
    classes: Classes = None,
    num_samples: Annotated[int | None, typer.Option(help="Images in the split train.")] = None,
    config: Config = None,
    recipe: Annotated[
        str | None, typer.Option(help="Dataset owner/name on the Hub, or a folder, whose recipe is made again.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="toybox, a Hub id or a local folder.")] = None,
    seed: Seed = None,
    prompt: Prompts = None,
    set_: Assignments = None,
    keep_heat_maps: Annotated[bool, typer.Option(help="Add the column heat_maps.")] = False,
    keep_threshold_curve: Annotated[bool, typer.Option(help="Add the column threshold_curve.")] = False,
    preview: Annotated[bool, typer.Option(help="Write preview.png: image | mask overlay | heat map.")] = False,
    batch_size: Annotated[int, typer.Option(help="Images painted at once.")] = 1,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps; default: the best there is.")] = None,
    store: Annotated[Path | None, typer.Option(help="Sample store; default: the Hugging Face cache.")] = None,
) -> None:
    """Generate images and masks of CLASSES into a dataset folder; started again, it goes on where it stopped."""
    from diffumask_datasets.generation import generate as generate_folder

    given: dict[str, Any] = {"model": model, "seed": seed, "num_samples": num_samples, "recipe": recipe}
    given |= {"keep_heat_maps": keep_heat_maps or None, "keep_threshold_curve": keep_threshold_curve or None}
    given |= {"batch_size": batch_size, "device": device, "store": store}
    fields = _recipe_fields(config, classes, prompt, given, set_)
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
def remask(
    dataset: Annotated[Path, typer.Argument(help="Dataset folder generated with --keep-heat-maps.")],
    output: Annotated[Path, typer.Option(help="Folder of the dataset with the new masks.")],
    threshold: Annotated[str | None, typer.Option(help="γ in (0, 1), otsu, adaptive or affinity.")] = None,
    affinity_net: Annotated[Path | None, typer.Option(help="Spread the heat by this net (train-affinity).")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Any other mask field; repeatable.")
    ] = None,
) -> None:
    """Make the masks of DATASET again from its heat maps, without generating; images and prompts stay."""
    from diffumask_datasets.remasking import remask as remask_folder

    changes = _assignments([*([f"threshold={threshold}"] if threshold else []), *(set_ or [])])
    if affinity_net:
        changes |= {"affinity": "affinitynet", "affinity_net": str(affinity_net)}
    remask_folder(dataset, output, **changes)
    typer.echo(f"wrote {output}")


@app.command()
def curate(
    dataset: Annotated[Path, typer.Argument(help="Dataset folder.")],
    output: Annotated[Path, typer.Option(help="Folder of the believed samples; the others go to OUTPUT-rejected.")],
    folds: Annotated[int, typer.Option(help="Folds of noise learning; 0 leaves it out.", min=0)] = 3,
    drop_share: Annotated[
        float | None, typer.Option(help="Drop this share of each class (the paper: 0.7); default: what stands out.")
    ] = None,
    min_quality: Annotated[float, typer.Option(help="Drop samples whose quality is lower.")] = 0.0,
    model: Annotated[str | None, typer.Option(help="transformers segmenter; default: small, from scratch.")] = None,
    epochs: Annotated[int, typer.Option(help="Passes of each fold's training.", min=1)] = 20,
) -> None:
    """Keep the samples of DATASET whose masks are believed; every dropped one gets its reason in rejections.jsonl."""
    from diffumask_datasets.curating import curate as curate_folder
    from diffumask_datasets.curation.segmenter import SegmenterSettings

    settings = SegmenterSettings(model=model, epochs=epochs)
    counts = curate_folder(
        dataset, output, folds=folds, drop_share=drop_share, min_quality=min_quality, settings=settings
    )
    told = ", ".join(f"{count} {name}" for name, count in counts.most_common()) or "nothing"
    typer.echo(f"wrote {output}; rejected {told}")


@app.command()
def train_affinity(
    dataset: Annotated[Path, typer.Argument(help="Dataset folder generated with --keep-heat-maps.")],
    output: Annotated[Path, typer.Option(help="File for the net, e.g. affinity.safetensors.")],
    backbone: Annotated[
        str | None, typer.Option(help="transformers backbone, e.g. microsoft/resnet-50; default: small, from scratch.")
    ] = None,
    images: Annotated[int, typer.Option(help="Images to learn from.", min=1)] = 1000,
    epochs: Annotated[int, typer.Option(help="Passes over them.", min=1)] = 8,
) -> None:
    """Train one affinity net for all classes of DATASET on its images and heat maps; made once, it is kept."""
    from diffumask_datasets.masks.affinity_net import AffinityNetSettings
    from diffumask_datasets.masks.affinity_training import AffinityTraining
    from diffumask_datasets.remasking import train_affinity as train

    wide = AffinityNetSettings(backbone, channels=64, input_side=512) if backbone else AffinityNetSettings()
    trained = train(dataset, output, settings=wide, training=AffinityTraining(epochs=epochs), images=images)
    typer.echo(f"wrote {output}" if trained else f"{output} is up to date")


@app.command()
def tune_attention(
    output: Annotated[Path, typer.Option(help="Folder for attention.json and attention.png.")],
    dataset: Annotated[
        Path | None, typer.Argument(help="Annotated images: a dataset folder; without it, rendered toybox scenes.")
    ] = None,
    model: Annotated[str, typer.Option(help="toybox, a Hub id or a local folder.")] = "toybox",
    images: Annotated[int, typer.Option(help="How many images to search with.", min=1)] = 40,
    split: Annotated[str, typer.Option(help="Split of rendered scenes.")] = "validation",
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps; default: the best there is.")] = None,
) -> None:
    """Find which layers and timesteps of a model's attention to read, by IoU on annotated images."""
    import itertools

    from diffumask_datasets.backbones.registry import load_backbone
    from diffumask_datasets.folder import dataset_classes, read_rows, split_files
    from diffumask_datasets.tuning import annotated_rows, rendered_scenes, write_report
    from diffumask_datasets.tuning import tune_attention as search

    if dataset is None:
        samples = rendered_scenes(images, split=split)
    else:
        files = itertools.chain.from_iterable(split_files(dataset).values())
        samples = itertools.islice(annotated_rows(read_rows(files), dataset_classes(dataset)), images)
    backbone = load_backbone(model, device=device)
    tuning = search(backbone, samples, progress=lambda message: typer.echo(message, err=True))
    write_report(tuning, output)
    typer.echo(yaml.safe_dump(tuning.recipe_fields, sort_keys=False).rstrip())
    typer.echo(f"wrote {output / 'attention.json'} and {output / 'attention.png'}")


@app.command()
def prompts(
    classes: Classes = None,
    num: Annotated[int, typer.Option(min=1, help="Prompts to print.")] = 20,
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "train",
    config: Config = None,
    seed: Seed = None,
    prompt: Prompts = None,
    set_: Assignments = None,
) -> None:
    """Print the prompts that the first samples of CLASSES would be painted from, one a line; no image model is loaded."""
    from diffumask_datasets.plan import SplitPlan
    from diffumask_datasets.prompts.sources import check_prompts, prompt_for
    from diffumask_datasets.recipe import Recipe

    fields = _recipe_fields(config, classes, prompt, {"seed": seed}, set_)
    recipe = Recipe.of(**{name: value for name, value in fields.items() if name not in RUNTIME_FIELDS})
    ((_, shards),) = SplitPlan.of(splits={split: num}).shards()
    check_prompts(recipe, [split])
    for start, stop in shards:
        for index in range(start, stop):
            typer.echo(prompt_for(recipe, index).text)


@app.command()
def augment(
    source: Annotated[Path, typer.Argument(help="Dataset folder, as diffumask generate writes it.")],
    output: Annotated[Path, typer.Option(help="Folder of the augmented dataset.")],
    augment: Annotated[
        list[str],
        typer.Option(help="splice, splice:2x2, blur, occlude, perspective, or a YAML mapping; repeatable, in order."),
    ],
    seed: Annotated[int, typer.Option(help="Other seed, other draws.")] = 0,
    copies: Annotated[int, typer.Option(help="Augmented samples per sample.")] = 1,
    originals: Annotated[bool, typer.Option(help="Keep the samples of SOURCE too.")] = False,
) -> None:
    """Write a dataset folder with augmented samples of SOURCE: image, masks and objects together."""
    from diffumask_datasets.augmented_folder import augment_folder

    steps = [_yaml(text, "--augment") for text in augment]
    augment_folder(source, output, augment=steps, seed=seed, copies=copies, originals=originals)
    typer.echo(f"wrote {output}")


@app.command()
def export(
    source: Annotated[Path, typer.Argument(help="Dataset folder, as generate writes it.")],
    format_: Annotated[
        str, typer.Option("--format", help="coco, voc, cityscapes, yolo, …; an unknown name lists all.")
    ],
    output: Annotated[Path, typer.Option(help="Folder of the export.")],
    config: Annotated[Path | None, typer.Option(help="YAML file of format options; --option wins over it.")] = None,
    option: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Option of the format, e.g. ids=own; repeatable.")
    ] = None,
    num_samples: Annotated[int | None, typer.Option(help="Most samples taken from each split.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that encode; default: one per core.")] = None,
) -> None:
    """Write a dataset in another format; started again, it goes on where it stopped."""
    from diffumask_datasets.exporters import export as export_folder

    options = _options_file(config) if config else {}
    options |= _assignments(option or [], flag="--option")
    try:
        manifest = export_folder(
            source,
            output,
            format=format_,
            workers=workers or os.cpu_count() or 1,
            num_samples=num_samples,
            **options,
        )
    except KeyboardInterrupt:
        typer.echo("interrupted; finished samples are kept, the same command goes on from there", err=True)
        raise typer.Exit(EXIT_INTERRUPTED) from None
    typer.echo(f"wrote {output}: {sum(manifest['samples'].values())} samples as {format_}")


@app.command()
def verify(
    folder: Annotated[Path, typer.Argument(help="Folder of an export.")],
    format_: Annotated[str | None, typer.Option("--format", help="Default: what the export says it is.")] = None,
    source: Annotated[Path | None, typer.Option(help="The dataset it was made from: compare every pixel.")] = None,
) -> None:
    """Read an export back through its official reader and compare it with its source; exits with 1 on a difference."""
    from diffumask_datasets.exporters import verify as verify_folder

    passed = True
    for check in verify_folder(folder, format=format_, source=source):
        typer.echo(f"{'ok' if check.passed else 'FAIL':5}{check.name}: {check.detail}")
        passed &= check.passed
    if not passed:
        raise typer.Exit(EXIT_BAD_INPUT)


@app.command()
def review(
    source: Annotated[
        Path | None, typer.Argument(help="Dataset folder, as generate writes it.", show_default=False)
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write one static page instead; needs no FiftyOne.")] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Write the accepted samples into --output.")] = False,
    refill: Annotated[bool, typer.Option("--refill", help="As --apply, with fresh samples for rejected ones.")] = False,
    output: Annotated[Path | None, typer.Option(help="Folder of the reviewed dataset.")] = None,
    decisions: Annotated[
        list[Path] | None, typer.Option(help="decisions.jsonl of a reviewer; repeatable. Default: FiftyOne's tags.")
    ] = None,
    conflicts: Annotated[str, typer.Option(help="Where reviewers differ: error, reject or last.")] = "error",
    name: Annotated[str | None, typer.Option(help="Name of the dataset in FiftyOne.")] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="transformers model whose embeddings tell near duplicates.")
    ] = None,
    address: Annotated[str, typer.Option(help="Where the App listens; 0.0.0.0 shows it to the network.")] = "localhost",
    port: Annotated[int | None, typer.Option(help="Port of the App.")] = None,
    launch: Annotated[bool, typer.Option(help="Open the App.")] = True,
    install_plugin: Annotated[
        bool, typer.Option("--install-plugin", help="Give FiftyOne the accept and reject operators.")
    ] = False,
    batch_size: Annotated[int, typer.Option(help="Images painted at once, for --refill.")] = 1,
    device: Annotated[str | None, typer.Option(help="Device for --refill.")] = None,
) -> None:
    """Look at a dataset, accept and reject; --apply writes what was accepted."""
    from diffumask_datasets.errors import ReviewError

    if install_plugin:
        from diffumask_datasets.review.app import install_plugin as install

        typer.echo(f"installed {install()}")
    if source is None:
        if not install_plugin:
            raise ReviewError("name the dataset folder: diffumask review SOURCE")
        return
    if apply or refill:
        if output is None:
            raise ReviewError("--apply and --refill need --output DIR")
        _apply_review(source, output, decisions or [], conflicts, name, refill, batch_size, device)
    elif html is not None:
        from diffumask_datasets.review import write_page

        typer.echo(f"wrote {write_page(source, html)}: open it in a browser")
    else:
        from diffumask_datasets.review import to_fiftyone
        from diffumask_datasets.review.app import launch as launch_app

        dataset = to_fiftyone(source, name, checkpoint=checkpoint)
        typer.echo(f"FiftyOne dataset {dataset.name}: {len(dataset)} samples")
        if launch:
            launch_app(dataset, address=address, port=port)


def _apply_review(
    source: Path,
    output: Path,
    files: list[Path],
    conflicts: str,
    name: str | None,
    refill: bool,
    batch_size: int,
    device: str | None,
) -> None:
    from diffumask_datasets.review import apply_decisions, merge_decisions, read_decisions
    from diffumask_datasets.review.fiftyone_dataset import dataset_name, decisions_of
    from diffumask_datasets.synthesis import Runtime

    if files:
        decisions = merge_decisions([read_decisions(path) for path in files], conflicts=conflicts)
    else:
        decisions = decisions_of(name or dataset_name(source))
    done = apply_decisions(source, decisions, output, refill=refill, runtime=Runtime(batch_size, device))
    rest = f"{done.fresh} fresh, {done.undecided + done.fresh} to review" if refill else f"{done.undecided} undecided"
    typer.echo(f"wrote {output}: {done.accepted} accepted, {done.rejected} rejected, {rest}")


@app.command()
def push(
    source: Annotated[Path, typer.Argument(help="Dataset folder, as generate or review --apply writes it.")],
    repo_id: Annotated[str, typer.Argument(help="owner/name on the Hub.")],
    private: Annotated[bool, typer.Option(help="Create the repository private.")] = False,
    token: Annotated[
        str | None, typer.Option(help="Write token; better: set HF_TOKEN or run hf auth login.", show_default=False)
    ] = None,
    licence: Annotated[str | None, typer.Option("--license", help="Licence of the dataset, e.g. cc-by-4.0.")] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace a dataset with another schema.")] = False,
) -> None:
    """Put a dataset on the Hub with its card, its recipe and three configs; repeated, it sends only what is missing."""
    from diffumask_datasets.hub import push as push_dataset

    url = push_dataset(source, repo_id, private=private or None, token=token, licence=licence, overwrite=overwrite)
    typer.echo(f"pushed {url}")


@app.command()
def reproduce(
    sample_id: Annotated[str, typer.Argument(help="The sample, <12 hex digits>-<8 digits>.")],
    recipe: Annotated[str, typer.Option(help="Dataset folder, recipe.yaml, or owner/name on the Hub.")],
    output: Annotated[Path | None, typer.Option(help="Folder for the image and the mask.")] = None,
    model: Annotated[str | None, typer.Option(help="Takes the place of the model that the recipe names.")] = None,
    batch_size: Annotated[int, typer.Option(help="That of the dataset gives the same bytes.")] = 1,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps; default: the best there is.")] = None,
) -> None:
    """Make one sample again from its recipe and compare it; exits with 1 where the masks differ by more than 2 %."""
    from diffumask_datasets.reproduction import reproduce as reproduce_sample

    own = {"model": model, "device": device}
    fields = {name: value for name, value in own.items() if value is not None}
    done = reproduce_sample(sample_id, recipe=recipe, output=output, batch_size=batch_size, **fields)
    if not done.compared:
        typer.echo(f"{sample_id}: made again; there is no data beside the recipe to compare it with")
    elif done.identical:
        typer.echo(f"{sample_id}: identical, image and mask")
    else:
        difference = f"{done.mask_agreement:.2%} of the mask equal, image channels differ by {done.image_difference}"
        typer.echo(f"{sample_id}: {difference} at most")
        if done.mask_agreement < CLOSE_ENOUGH:
            raise typer.Exit(EXIT_BAD_INPUT)


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


def _recipe_fields(
    config: Path | None,
    classes: list[str] | None,
    prompts: list[str] | None,
    given: dict[str, Any],
    assigned: list[str] | None,
) -> dict[str, Any]:
    """The fields of the file, then the options over them, then the assignments."""
    from diffumask_datasets.recipe_file import AUGMENTED, read_recipe_file

    fields = read_recipe_file(config) if config else {}
    if AUGMENTED in fields:
        raise RecipeError(
            f"{config} describes an augmented dataset: generate its source, then run diffumask augment on it"
        )
    if classes:
        # The words and shares of the file belong to its own classes. One name alone may be a vocabulary.
        for name in ("vocabulary", "class_weights", "co_occurrence"):
            fields.pop(name, None)
        fields["classes"] = classes[0] if len(classes) == 1 else classes
    if prompts:
        fields.pop("prompt_source", None)
        fields["prompts"] = prompts
    return fields | {name: value for name, value in given.items() if value is not None} | _assignments(assigned or [])


def _options_file(path: Path) -> dict[str, Any]:
    try:
        options = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ExportError(f"cannot read the options {path}: {' '.join(str(error).split())}") from error
    if not isinstance(options, dict):
        raise ExportError(f"{path}: expected options like 'ids: own', got {type(options).__name__}")
    return options


def _assignments(pairs: list[str], *, flag: str = "--set") -> dict[str, Any]:
    pairs_given = _pairs(pairs, option=flag, form="FIELD=VALUE", example="threshold=0.5")
    return {name.replace("-", "_"): _yaml(value, f"{flag} {name}") for name, value in pairs_given}


def _pairs(pairs: list[str], *, option: str, form: str, example: str) -> Iterator[tuple[str, str]]:
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise RecipeError(f"{option} {pair!r}: expected {form}, e.g. {option} {example}")
        yield name.strip(), value


def _yaml(text: str, option: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RecipeError(f"{option} {text!r}: {' '.join(str(error).split())}") from error


def _sources(texts: list[str], weights: list[float]) -> list[dict[str, Any]] | None:
    from diffumask_datasets.segmentation.settings import source_of_text

    if weights and len(weights) != len(texts):
        raise RecipeError(f"--weight: expected one for each of {len(texts)} datasets, got {len(weights)}")
    sources = [source_of_text(text) for text in texts]
    for source, share in zip(sources, weights, strict=False):
        source["weight"] = share
    return sources or None
