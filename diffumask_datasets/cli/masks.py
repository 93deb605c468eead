"""Commands about masks: label, remask, curate, train-affinity, tune-attention."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
import yaml

from diffumask_datasets.cli.options import (
    BESIDE_THE_RECIPE,
    SAMPLES_ARE_KEPT,
    Assignments,
    Config,
    Output,
    Prompts,
    Seed,
    Source,
    TrustRecipe,
    Workers,
    assignments,
    class_names,
    local_path,
    recipe_fields,
    resumable,
    tell_left_out,
)

__all__ = ["curate", "label", "remask", "train_affinity", "tune_attention"]


SourceWithHeatMaps = Annotated[
    str, typer.Argument(help="Dataset with heat maps: a folder, a URL or owner/name on the Hub.")
]


def label(
    images: Annotated[Path, typer.Argument(help="Folder of images; sub-folders may bear the names of classes.")],
    output: Output,
    classes: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAMES", help="Classes: car,boat, or a vocabulary: voc, voc:bird,dog, my.yaml; repeatable."
        ),
    ] = None,
    timestep: Annotated[
        list[int] | None,
        typer.Option(metavar="STEP", help="How much noise is added, 0 to 999; repeatable; default: nine of them."),
    ] = None,
    labeller: Annotated[
        str, typer.Option(help="attention, sam3, or sam3,attention: masks of the first, quality by the second.")
    ] = "attention",
    labeller_model: Annotated[str, typer.Option(help="The SAM 3 of --labeller sam3.")] = "facebook/sam3",
    split: Annotated[str, typer.Option(help="Split of the dataset.")] = "train",
    config: Config = None,
    model: Annotated[str | None, typer.Option(help="toybox, a Hub id or a local folder.")] = None,
    seed: Seed = None,
    prompt: Prompts = None,
    set_: Assignments = None,
    keep_heat_maps: Annotated[bool, typer.Option(help="Add the column heat_maps.")] = False,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps; default: the best there is.")] = None,
    store: Annotated[
        str | None, typer.Option(help="Folder or URL of the sample store; default: in the Hugging Face cache.")
    ] = None,
    workers: Workers = None,
) -> None:
    """Label the images of a folder by the attention of a model that is shown them, or by SAM 3; gives a dataset folder."""
    from diffumask_datasets.generation.label import label_folder

    fields = recipe_fields(config, class_names(classes), prompt, {"model": model, "seed": seed}, set_)
    fields = {name: value for name, value in fields.items() if name not in BESIDE_THE_RECIPE}
    with resumable(SAMPLES_ARE_KEPT):
        labelled = label_folder(
            images,
            output,
            labeller=labeller,
            labeller_model=labeller_model,
            timesteps=timestep,
            split=split,
            keep_heat_maps=keep_heat_maps,
            device=device,
            store=store,
            workers=workers,
            **fields,
        )
    typer.echo(f"wrote {output}: {labelled.count} labelled")
    tell_left_out(labelled.left_out)


def remask(
    dataset: SourceWithHeatMaps,
    output: Output,
    threshold: Annotated[str | None, typer.Option(help="γ in (0, 1), otsu, adaptive or affinity.")] = None,
    affinity_net: Annotated[Path | None, typer.Option(help="Spread the heat by this net (train-affinity).")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Any other mask field; repeatable.")
    ] = None,
    trust_recipe: TrustRecipe = False,
) -> None:
    """Make the masks of DATASET again from its heat maps, without generating; images and prompts stay."""
    from diffumask_datasets.generation.remask import remask as remask_folder

    changes = assignments([*([f"threshold={threshold}"] if threshold else []), *(set_ or [])])
    if affinity_net:
        changes |= {"affinity": "affinitynet", "affinity_net": str(affinity_net)}
    remask_folder(dataset, output, trust_recipe=trust_recipe, **changes)
    typer.echo(f"wrote {output}")


def curate(
    dataset: Source,
    output: Annotated[str, typer.Option(help="Folder or URL of the kept samples; the others go to OUTPUT-rejected.")],
    folds: Annotated[int, typer.Option(help="Folds of noise learning; 0 leaves it out.", min=0)] = 3,
    drop_share: Annotated[
        float | None,
        typer.Option(
            help="Drop this share of each class (the paper: 0.7), which is for images of one class, many of them wrong. "
            "Default: drop what stands out."
        ),
    ] = None,
    min_quality: Annotated[float, typer.Option(help="Drop samples whose quality is lower.")] = 0.0,
    model: Annotated[
        str | None, typer.Option(help="Segmenter as in diffumask train; default: small, from scratch.")
    ] = None,
    side: Annotated[int | None, typer.Option(help="Side of the images it is trained on; default: 96.", min=32)] = None,
    epochs: Annotated[int, typer.Option(help="Passes of each fold's training.", min=1)] = 60,
    presence: Annotated[
        str | None, typer.Option(help="CLIP or SigLIP that must see each class, e.g. openai/clip-vit-base-patch32.")
    ] = None,
    segmenter: Annotated[
        str | None, typer.Option(help="SAM that must confirm each mask, e.g. facebook/sam2.1-hiera-tiny.")
    ] = None,
    concepts: Annotated[
        str | None, typer.Option(help="SAM 3 that must find each class by its name, e.g. facebook/sam3.")
    ] = None,
    min_agreement: Annotated[float, typer.Option(help="IoU of a mask with that of either segmenter, at least.")] = 0.7,
    ask: Annotated[
        str | None,
        typer.Option(
            help="Vision-language model that must say yes to each class, e.g. HuggingFaceTB/SmolVLM-Instruct."
        ),
    ] = None,
    flip: Annotated[
        bool, typer.Option("--flip", help="Drop samples whose mirrored image is labelled otherwise.")
    ] = False,
    keep_opinions: Annotated[
        bool, typer.Option(help="Add the column opinions: the score of each that is asked.")
    ] = False,
    trust_recipe: TrustRecipe = False,
) -> None:
    """Keep the samples of DATASET whose masks are confirmed; every dropped one gets its reason in rejections.jsonl."""
    from diffumask_datasets.curation.curate import curate as curate_folder

    flipped = None
    if flip:
        from diffumask_datasets.generation.flipping import flip_judge

        flipped = flip_judge(dataset, trust_recipe=trust_recipe)
    training = {"model": model, "height": side, "width": side}
    counts = curate_folder(
        dataset,
        output,
        folds=folds,
        drop_share=drop_share,
        min_quality=min_quality,
        epochs=epochs,
        training={name: value for name, value in training.items() if value is not None},
        presence=presence,
        segmenter=segmenter,
        concepts=concepts,
        min_agreement=min_agreement,
        ask=ask,
        flipped=flipped,
        keep_opinions=keep_opinions,
    )
    told = ", ".join(f"{count} {name}" for name, count in counts.most_common()) or "nothing"
    typer.echo(f"wrote {output}; rejected {told}")


def train_affinity(
    dataset: SourceWithHeatMaps,
    output: Annotated[Path, typer.Option(parser=local_path, help="File for the net, e.g. affinity.safetensors.")],
    backbone: Annotated[
        str | None, typer.Option(help="transformers backbone, e.g. microsoft/resnet-50; default: small, from scratch.")
    ] = None,
    images: Annotated[int, typer.Option(help="Images to learn from.", min=1)] = 1000,
    epochs: Annotated[int, typer.Option(help="Passes over them.", min=1)] = 8,
) -> None:
    """Train one affinity net for all classes of DATASET on its images and heat maps; made once, it is kept."""
    from diffumask_datasets.generation.train_affinity_net import train_affinity as train
    from diffumask_datasets.masks.affinity_net import AffinityNetSettings
    from diffumask_datasets.masks.affinity_training import AffinityTraining

    wide = AffinityNetSettings(backbone, channels=64, input_side=512) if backbone else AffinityNetSettings()
    trained = train(dataset, output, settings=wide, training=AffinityTraining(epochs=epochs), images=images)
    typer.echo(f"wrote {output}" if trained else f"{output} is up to date")


def tune_attention(
    output: Annotated[Path, typer.Option(parser=local_path, help="Folder for attention.json and attention.png.")],
    dataset: Annotated[
        str | None, typer.Argument(help="Annotated images: a dataset; without it, rendered toybox scenes.")
    ] = None,
    model: Annotated[str, typer.Option(help="toybox, a Hub id or a local folder.")] = "toybox",
    images: Annotated[int, typer.Option(help="How many images to search with.", min=1)] = 40,
    split: Annotated[str, typer.Option(help="Split of rendered scenes.")] = "validation",
    phrases: Annotated[bool, typer.Option(help="Read the whole noun phrase of a class: red car, not car.")] = False,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps; default: the best there is.")] = None,
) -> None:
    """Find which layers and timesteps of a model's attention to read, by IoU on annotated images."""
    import itertools

    from diffumask_datasets.dataset.reader import open_dataset
    from diffumask_datasets.diffusion.registry import load_model
    from diffumask_datasets.generation.attention_search import annotated_rows, rendered_scenes, write_report
    from diffumask_datasets.generation.attention_search import tune_attention as search

    words = "phrase" if phrases else "class"
    if dataset is None:
        samples = rendered_scenes(images, split=split, attention_words=words)
    else:
        source = open_dataset(dataset)
        rows = annotated_rows((row for _, row in source.rows()), source.classes, attention_words=words)
        samples = itertools.islice(rows, images)
    diffusion_model = load_model(model, device=device)
    tuning = search(diffusion_model, samples, progress=lambda message: typer.echo(message, err=True))
    write_report(tuning, output)
    fields = {"attention_words": words} | tuning.recipe_fields
    typer.echo(yaml.safe_dump(fields, sort_keys=False).rstrip())
    typer.echo(f"wrote {output / 'attention.json'} and {output / 'attention.png'}")
