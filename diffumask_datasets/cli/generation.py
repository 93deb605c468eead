"""Commands that make samples: generate, merge, prompts, reproduce, tune-sampler."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from diffumask_datasets.cli.options import (
    BESIDE_THE_RECIPE,
    EXIT_BAD_INPUT,
    SAMPLES_ARE_KEPT,
    Assignments,
    Classes,
    Config,
    Output,
    Prompts,
    Seed,
    TrustRecipe,
    View,
    Workers,
    assignments,
    local_path,
    recipe_fields,
    resumable,
)
from diffumask_datasets.errors import RecipeError

__all__ = ["generate", "merge", "prompts", "reproduce", "tune_sampler"]

CLOSE_ENOUGH = 0.98
"""Share of equal mask pixels; other machines and batch sizes round differently."""


def generate(
    output: Output,
    classes: Classes = None,
    num_samples: Annotated[int | None, typer.Option(help="Images in the split train.")] = None,
    config: Config = None,
    recipe: Annotated[
        str | None, typer.Option(help="Dataset owner/name on the Hub, or a folder, whose recipe is made again.")
    ] = None,
    trust_recipe: TrustRecipe = False,
    model: Annotated[str | None, typer.Option(help="toybox, a Hub id or a local folder.")] = None,
    seed: Seed = None,
    prompt: Prompts = None,
    set_: Assignments = None,
    keep_heat_maps: Annotated[bool, typer.Option(help="Add the column heat_maps.")] = False,
    keep_threshold_curve: Annotated[bool, typer.Option(help="Add the column threshold_curve.")] = False,
    view: View = "default",
    preview: Annotated[bool, typer.Option(help="Write preview.png: image | mask overlay | heat map.")] = False,
    batch_size: Annotated[
        int | None, typer.Option(help="Images generated at once; default: 1 on the CPU, on a GPU what fits.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps; default: the best there is.")] = None,
    store: Annotated[
        str | None, typer.Option(help="Folder or URL of the sample store; default: in the Hugging Face cache.")
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(metavar="I/N", help="The share of machine I (from 0) of N; diffumask merge joins them."),
    ] = None,
    engine: Annotated[str, typer.Option(help="local, or ray for a Ray cluster.")] = "local",
    workers: Workers = None,
    mask_workers: Annotated[
        int | None, typer.Option(min=0, help="Processes a worker that make masks meanwhile; default: 2 on a GPU.")
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="The Ray cluster, e.g. auto; default: one of this machine.")
    ] = None,
    weights_from: Annotated[
        Path | None, typer.Option(help="scores.json of diffumask evaluate: more samples of the classes it scores low.")
    ] = None,
) -> None:
    """Generate images and masks of CLASSES into a dataset folder; started again, it goes on where it stopped."""
    from diffumask_datasets.generation.generate import generate as generate_folder

    given: dict[str, Any] = {"model": model, "seed": seed, "num_samples": num_samples, "recipe": recipe}
    given |= {"keep_heat_maps": keep_heat_maps or None, "keep_threshold_curve": keep_threshold_curve or None}
    given |= {"trust_recipe": trust_recipe or None, "batch_size": batch_size, "device": device, "store": store}
    fields = recipe_fields(config, classes, prompt, given, set_)
    if num_samples is not None and "splits" not in assignments(set_ or []):
        fields.pop("splits", None)  # those of the config
    if weights_from is not None:
        fields["class_weights"] = _weights_from(weights_from, fields)
    with resumable(SAMPLES_ARE_KEPT):
        how: dict[str, Any] = {"engine": engine, "workers": workers, "mask_workers": mask_workers, "address": address}
        sheet = generate_folder(output, view=view, preview=preview, shard=shard, **how, **fields)
    typer.echo(f"wrote {output}" if sheet is None else f"wrote {output}; look at {sheet}")


def _weights_from(scores: Path, fields: dict[str, Any]) -> dict[str, float]:
    """Class → weight, by the scores of an evaluation."""
    from diffumask_datasets.recipes.resolve import resolve_classes
    from diffumask_datasets.recipes.score_weights import weights_from_scores

    if fields.get("classes") is None:
        raise RecipeError("--weights-from needs the classes: name them, or give a --config that does")
    if fields.get("class_weights"):
        raise RecipeError("--weights-from and class_weights both say how often a class comes: give one of them")
    return weights_from_scores(scores, [words.name for words in resolve_classes(fields["classes"])])


def merge(
    shards: Annotated[list[str], typer.Argument(help="The folder or URL of each shard, in any order.")],
    output: Output,
    view: View = "default",
) -> None:
    """Join SHARDS, made by generate --shard, to the dataset that one machine would have written, byte for byte."""
    from diffumask_datasets.dataset.shards import merge as merge_shards

    merge_shards(shards, output, view=view)
    typer.echo(f"wrote {output}")


def prompts(
    classes: Classes = None,
    num: Annotated[int, typer.Option(min=1, help="Prompts to print.")] = 20,
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "train",
    config: Config = None,
    model: Annotated[
        str | None, typer.Option(help="The model that will generate: it may have styles of its own.")
    ] = None,
    seed: Seed = None,
    prompt: Prompts = None,
    set_: Assignments = None,
) -> None:
    """Print the prompts that the first samples of CLASSES would be generated from, one a line; no image model is loaded."""
    from diffumask_datasets.prompts.sources import check_prompts, prompt_for
    from diffumask_datasets.recipes.recipe import Recipe
    from diffumask_datasets.recipes.splits import SplitPlan

    fields = recipe_fields(config, classes, prompt, {"model": model, "seed": seed}, set_)
    recipe = Recipe.of(**{name: value for name, value in fields.items() if name not in BESIDE_THE_RECIPE})
    ((_, shards),) = SplitPlan.of(splits={split: num}).shards()
    check_prompts(recipe, [split])
    for start, stop in shards:
        for index in range(start, stop):
            typer.echo(prompt_for(recipe, index).text)


def reproduce(
    sample_id: Annotated[str, typer.Argument(help="The sample, <12 hex digits>-<8 digits>.")],
    recipe: Annotated[str, typer.Option(help="Dataset folder or URL, recipe.yaml, or owner/name on the Hub.")],
    output: Annotated[Path | None, typer.Option(parser=local_path, help="Folder for the image and the mask.")] = None,
    trust_recipe: TrustRecipe = False,
    model: Annotated[str | None, typer.Option(help="Takes the place of the model that the recipe names.")] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(help="Images generated at once; default: that of the dataset, which gives the same bytes."),
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps; default: the best there is.")] = None,
) -> None:
    """Make one sample again from its recipe and compare it; exits with 1 where the masks differ by more than 2 %."""
    from diffumask_datasets.generation.reproduce import reproduce as reproduce_sample

    own = {"trust_recipe": trust_recipe or None, "model": model, "device": device}
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


def tune_sampler(
    output: Annotated[Path, typer.Option(parser=local_path, help="Folder for sampler.json and sampler.png.")],
    classes: Classes = None,
    config: Config = None,
    model: Annotated[str | None, typer.Option(help="toybox, a Hub id or a local folder.")] = None,
    images: Annotated[int, typer.Option(help="Images for each sampler.", min=1)] = 16,
    scheduler: Annotated[
        list[str] | None,
        typer.Option(help="Class of diffusers to try; repeatable; default: the common ones that fit the model."),
    ] = None,
    steps: Annotated[
        list[int] | None, typer.Option(help="Number of steps to try; repeatable; default: 30 to 100 % of the model's.")
    ] = None,
    seed: Seed = None,
    prompt: Prompts = None,
    set_: Assignments = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps; default: the best there is.")] = None,
) -> None:
    """Find the cheapest scheduler and number of steps whose masks are as good as those of the model's own."""
    from diffumask_datasets.generation.prepare import prepare
    from diffumask_datasets.generation.sampler_search import tune_sampler as search
    from diffumask_datasets.generation.sampler_search import write_report
    from diffumask_datasets.recipes.recipe import Recipe

    fields = recipe_fields(config, classes, prompt, {"model": model, "seed": seed}, set_)
    recipe = prepare(Recipe.of(**{name: value for name, value in fields.items() if name not in BESIDE_THE_RECIPE}))
    tuning = search(
        recipe,
        images=images,
        schedulers=scheduler,
        steps=steps,
        device=device,
        progress=lambda message: typer.echo(message, err=True),
    )
    write_report(tuning, output)
    typer.echo(yaml.safe_dump(tuning.recipe_fields, sort_keys=False).rstrip())
    typer.echo(f"wrote {output / 'sampler.json'} and {output / 'sampler.png'}")
