"""Commands about dense scenes: augment, backgrounds, harmonize."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from diffumask_datasets.cli.options import (
    BESIDE_THE_RECIPE,
    Assignments,
    Config,
    Output,
    Seed,
    Source,
    TrustRecipe,
    class_names,
    local_path,
    recipe_fields,
    yaml_value,
)

__all__ = ["augment", "backgrounds", "harmonize"]


def augment(
    source: Source,
    output: Output,
    augment: Annotated[
        list[str],
        typer.Option(
            metavar="STEP",
            help="compose:4-8, splice, splice:2x2, blur, occlude, perspective, or a YAML mapping; repeatable, in order.",
        ),
    ],
    seed: Annotated[int, typer.Option(help="Other seed, other draws.")] = 0,
    copies: Annotated[int, typer.Option(help="Augmented samples per sample.")] = 1,
    originals: Annotated[bool, typer.Option(help="Keep the samples of SOURCE too.")] = False,
    keep_amodal: Annotated[
        bool, typer.Option(help="Add the column amodal: masks of composed objects with what others hide of them.")
    ] = False,
    sizes_of: Annotated[
        str | None, typer.Option(help="Dataset whose objects say how large those of compose become.")
    ] = None,
) -> None:
    """Write a dataset folder with augmented samples of SOURCE: image, masks and objects together."""
    from diffumask_datasets.augmentation.folder import augment_folder
    from diffumask_datasets.dataset.density import object_sizes
    from diffumask_datasets.dataset.reader import open_dataset
    from diffumask_datasets.recipes.augment_settings import parse_augment, with_sizes

    steps = parse_augment([yaml_value(text, "--augment") for text in augment])
    if sizes_of:
        measured = open_dataset(sizes_of)
        steps = with_sizes(steps, object_sizes((row for _, row in measured.rows()), measured.classes))
    how: dict[str, Any] = {"seed": seed, "copies": copies, "originals": originals, "keep_amodal": keep_amodal}
    density = augment_folder(source, output, augment=steps, **how)
    typer.echo(f"wrote {output}: {density}")


def backgrounds(
    prompts: Annotated[
        list[str], typer.Argument(metavar="PROMPT...", help="What they show, none of the classes: 'a street at night'.")
    ],
    output: Annotated[Path, typer.Option(parser=local_path, help="Folder for the pictures and their captions.")],
    classes: Annotated[
        list[str] | None, typer.Option(metavar="NAMES", help="Classes of the compositions: car,boat, or a vocabulary.")
    ] = None,
    num: Annotated[int, typer.Option(min=1, help="Pictures to paint.")] = 64,
    presence: Annotated[
        str | None,
        typer.Option(help="CLIP or SigLIP: pictures that fit a class better than their prompt are left out."),
    ] = None,
    config: Config = None,
    model: Annotated[str | None, typer.Option(help="toybox, a Hub id or a local folder.")] = None,
    seed: Seed = None,
    set_: Assignments = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps; default: the best there is.")] = None,
) -> None:
    """Paint pictures that show none of the classes, for the field backgrounds of compose."""
    from diffumask_datasets.generation.backgrounds import paint_backgrounds

    choose = None
    if presence is not None:
        from diffumask_datasets.masks.image_text import load_image_text

        judge = load_image_text(presence, device)

        def choose(image: Any, texts: Any) -> int:
            return int(judge.compare(image, texts).argmax())

    fields = recipe_fields(config, class_names(classes), None, {"model": model, "seed": seed}, set_)
    fields = {name: value for name, value in fields.items() if name not in BESIDE_THE_RECIPE}
    refused = paint_backgrounds(prompts, output, count=num, choose=choose, device=device, **fields)
    looked = f"{refused.total()} left out that show a class" if presence else "nobody looked whether they show a class"
    typer.echo(f"wrote {output}: {num - refused.total()} pictures; {looked}")


def harmonize(
    source: Source,
    output: Output,
    strength: Annotated[float, typer.Option(help="Share of the model's steps that is taken again, up to 1.")] = 0.2,
    min_agreement: Annotated[
        float, typer.Option(help="How far the model must attend to each object in its place, 0.5 by chance, up to 1.")
    ] = 0.7,
    seed: Annotated[int, typer.Option(help="Other seed, other noise.")] = 0,
    trust_recipe: TrustRecipe = False,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps; default: the best there is.")] = None,
) -> None:
    """Have the model of SOURCE paint over its images, so that composed objects fit into their scene; the masks stay."""
    from diffumask_datasets.generation.harmonize import harmonize as harmonize_folder

    how: dict[str, Any] = {"strength": strength, "min_agreement": min_agreement, "seed": seed, "device": device}
    done = harmonize_folder(source, output, trust_recipe=trust_recipe, **how)
    typer.echo(f"wrote {output}: {done}")
