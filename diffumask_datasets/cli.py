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
EXIT_INTERRUPTED = 130

CLOSE_ENOUGH = 0.98
"""Share of equal mask pixels; other machines and batch sizes round differently."""


@app.callback()
def _common(debug: Annotated[bool, typer.Option(help="Show the traceback of an error.")] = False) -> None:
    """Class names in, a labelled segmentation dataset out."""


@app.command()
def generate(
    output: Annotated[Path, typer.Option(help="Folder of the dataset; load_dataset(FOLDER) reads it.")],
    classes: Annotated[list[str] | None, typer.Argument(help="Class names, e.g. car boat 'potted plant'.")] = None,
    num_samples: Annotated[int | None, typer.Option(help="Images in the split train.")] = None,
    config: Annotated[Path | None, typer.Option(help="recipe.yaml; options given here win over it.")] = None,
    recipe: Annotated[
        str | None, typer.Option(help="Dataset owner/name on the Hub, or a folder, whose recipe is made again.")
    ] = None,
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
        "recipe": recipe,
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
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise RecipeError(f"--set {pair!r}: expected FIELD=VALUE, e.g. --set threshold=0.5")
        try:
            fields[name.strip().replace("-", "_")] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise RecipeError(f"--set {pair!r}: {' '.join(str(error).split())}") from error
    return fields
