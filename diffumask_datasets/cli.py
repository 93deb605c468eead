"""The command ``diffumask``."""

from __future__ import annotations

import logging
import os
import sys
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


@app.callback()
def _common(debug: Annotated[bool, typer.Option(help="Show the traceback of an error.")] = False) -> None:
    """Class names in, a labelled segmentation dataset out."""


@app.command()
def generate(
    output: Annotated[Path, typer.Option(help="Folder of the dataset; load_dataset(FOLDER) reads it.")],
    classes: Classes = None,
    num_samples: Annotated[int | None, typer.Option(help="Images in the split train.")] = None,
    config: Config = None,
    model: Annotated[str | None, typer.Option(help="toybox, a Hub id or a local folder.")] = None,
    seed: Seed = None,
    prompt: Prompts = None,
    set_: Assignments = None,
    keep_heat_maps: Annotated[bool, typer.Option(help="Add the column heat_maps.")] = False,
    preview: Annotated[bool, typer.Option(help="Write preview.png: image | mask overlay | heat map.")] = False,
    batch_size: Annotated[int, typer.Option(help="Images painted at once.")] = 1,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps; default: the best there is.")] = None,
    store: Annotated[Path | None, typer.Option(help="Sample store; default: the Hugging Face cache.")] = None,
) -> None:
    """Generate images and masks of CLASSES into a dataset folder; started again, it goes on where it stopped."""
    from diffumask_datasets.generation import generate as generate_folder

    given: dict[str, Any] = {"model": model, "seed": seed, "num_samples": num_samples}
    given |= {"keep_heat_maps": keep_heat_maps or None, "batch_size": batch_size, "device": device, "store": store}
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


def _assignments(pairs: list[str]) -> dict[str, Any]:
    fields = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise RecipeError(f"--set {pair!r}: expected FIELD=VALUE, e.g. --set threshold=0.5")
        fields[name.strip().replace("-", "_")] = _yaml(value, f"--set {name}")
    return fields


def _yaml(text: str, option: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RecipeError(f"{option} {text!r}: {' '.join(str(error).split())}") from error
