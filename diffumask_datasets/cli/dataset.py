"""Commands that hand a dataset on and take it back: export, verify, review, correct, show, push."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from diffumask_datasets.cli.options import (
    EXIT_BAD_INPUT,
    SAMPLES_ARE_KEPT,
    Source,
    TrustRecipe,
    assignments,
    resumable,
)
from diffumask_datasets.errors import ExportError
from diffumask_datasets.recipes.yaml_reader import read_yaml

__all__ = ["correct", "export", "push", "review", "show", "verify"]


def export(
    source: Source,
    format_: Annotated[
        str, typer.Option("--format", help="coco, voc, cityscapes, yolo, …; an unknown name lists all.")
    ],
    output: Annotated[str, typer.Option(help="Folder or URL of the export.")],
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
    options |= assignments(option or [], flag="--option")
    with resumable(SAMPLES_ARE_KEPT):
        manifest = export_folder(
            source,
            output,
            format=format_,
            workers=workers or os.cpu_count() or 1,
            num_samples=num_samples,
            **options,
        )
    typer.echo(f"wrote {output}: {sum(manifest['samples'].values())} samples as {format_}")
    if manifest["losses"]:
        typer.echo(
            f"{len(manifest['losses'])} files hold less than their samples: diffumask verify {output} names them"
        )


def verify(
    folder: Annotated[str, typer.Argument(help="Folder or URL of an export.")],
    format_: Annotated[str | None, typer.Option("--format", help="Default: what the export says it is.")] = None,
    source: Annotated[str | None, typer.Option(help="The dataset it was made from: compare every pixel.")] = None,
) -> None:
    """Read an export back through its official reader and compare it with its source; exits with 1 on a difference."""
    from diffumask_datasets.exporters import verify as verify_folder

    passed = True
    for check in verify_folder(folder, format=format_, source=source):
        typer.echo(f"{'ok' if check.passed else 'FAIL':5}{check.name}: {check.detail}")
        passed &= check.passed
    if not passed:
        raise typer.Exit(EXIT_BAD_INPUT)


def review(
    source: Annotated[
        str | None, typer.Argument(help="Dataset: a folder, a URL or owner/name on the Hub.", show_default=False)
    ] = None,
    html: Annotated[str | None, typer.Option(help="Write one static page instead; needs no FiftyOne.")] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Write the accepted samples into --output.")] = False,
    refill: Annotated[bool, typer.Option("--refill", help="As --apply, with fresh samples for rejected ones.")] = False,
    output: Annotated[str | None, typer.Option(help="Folder or URL of the reviewed dataset.")] = None,
    decisions: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="decisions.jsonl of a reviewer; repeatable. Default: FiftyOne's tags."),
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
    batch_size: Annotated[
        int | None, typer.Option(help="Images generated at once, for --refill; default: that of the dataset.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="Device for --refill.")] = None,
    trust_recipe: TrustRecipe = False,
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
        how = {"refill": refill, "trust_recipe": trust_recipe, "batch_size": batch_size, "device": device}
        _apply_review(source, output, decisions or [], conflicts, name, **how)
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


def correct(
    source: Source,
    edits: Annotated[
        str, typer.Option("--from", help="Folder or URL with the corrected masks, as the other program saved them.")
    ],
    format_: Annotated[str, typer.Option("--format", help="coco (CVAT and others), imagefolder, labelme or voc.")],
    output: Annotated[str, typer.Option(help="Folder or URL of the corrected dataset.")],
) -> None:
    """Take masks back that were corrected in CVAT, LabelMe or another program; everything else stays as it is."""
    from diffumask_datasets.review.corrections import correct as correct_dataset

    done = correct_dataset(source, output, edits=edits, format=format_)
    emptied = f" ({len(done.emptied)} without any object now)" if done.emptied else ""
    typer.echo(
        f"wrote {output}: {len(done.corrected)} corrected{emptied}, {done.unchanged} came back unchanged, "
        f"{done.untouched} not in {edits}"
    )


def show(
    source: Annotated[str, typer.Argument(help="Dataset, or export: a folder, a URL, or owner/name on the Hub.")],
    output: Annotated[str, typer.Option(help="PNG file or URL.")],
    num_samples: Annotated[int, typer.Option(help="Most samples shown.")] = 24,
    columns: Annotated[int, typer.Option(help="Samples in a row.")] = 3,
) -> None:
    """Write a picture of the first samples: each image, its mask, and its heat map where there is one."""
    from diffumask_datasets.review.showing import show as show_dataset

    count = show_dataset(source, output, num_samples=num_samples, columns=columns)
    typer.echo(f"wrote {output}: {count} samples")


def push(
    source: Source,
    repo_id: Annotated[str, typer.Argument(help="owner/name on the Hub.")],
    private: Annotated[bool, typer.Option(help="Create the repository private.")] = False,
    token: Annotated[
        str | None, typer.Option(help="Write token; better: set HF_TOKEN or run hf auth login.", show_default=False)
    ] = None,
    licence: Annotated[str | None, typer.Option("--license", help="Licence of the dataset, e.g. cc-by-4.0.")] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace a dataset with another schema.")] = False,
    view: Annotated[
        str | None,
        typer.Option(
            help="Columns that are loaded where no config is named: default, instance or detection.", show_default=False
        ),
    ] = None,
) -> None:
    """Put a dataset on the Hub with its card, its recipe and three configs; repeated, it sends only what is missing."""
    from diffumask_datasets.hub import push as push_dataset

    how: dict[str, Any] = {"token": token, "licence": licence, "overwrite": overwrite, "view": view}
    url = push_dataset(source, repo_id, private=private or None, **how)
    typer.echo(f"pushed {url}")


def _apply_review(
    source: str,
    output: str,
    files: list[str],
    conflicts: str,
    name: str | None,
    **how: Any,
) -> None:
    from diffumask_datasets.review import apply_decisions, merge_decisions, read_decisions
    from diffumask_datasets.review.corrections import corrections_of
    from diffumask_datasets.review.fiftyone_dataset import dataset_name, decisions_of

    corrected = None
    if files:
        decisions = merge_decisions([read_decisions(path) for path in files], conflicts=conflicts)
    else:
        name = name or dataset_name(source)
        decisions, corrected = decisions_of(name), corrections_of(name, source)
    done = apply_decisions(source, decisions, output, corrected=corrected, **how)
    rest = (
        f"{done.fresh} fresh, {done.undecided + done.fresh} to review"
        if how["refill"]
        else f"{done.undecided} undecided"
    )
    corrections = f" ({done.corrected} of them corrected)" if done.corrected else ""
    typer.echo(f"wrote {output}: {done.accepted} accepted{corrections}, {done.rejected} rejected, {rest}")


def _options_file(path: Path) -> dict[str, Any]:
    options = read_yaml(path, what="the options", error=ExportError)
    if not isinstance(options, dict) or not all(isinstance(name, str) for name in options):
        raise ExportError(f"{path}: expected options like 'ids: own', got {type(options).__name__}")
    return options
