"""What several commands take, and how it is read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from diffumask_datasets.dataset.image_listing import LeftOut, told
from diffumask_datasets.errors import RecipeError
from diffumask_datasets.recipes.bounded_text import one_line
from diffumask_datasets.recipes.splits import EXTENT
from diffumask_datasets.recipes.yaml_reader import parse_yaml

__all__ = [
    "BESIDE_THE_RECIPE",
    "EXIT_BAD_INPUT",
    "EXIT_INTERRUPTED",
    "SAMPLES_ARE_KEPT",
    "Assignments",
    "Classes",
    "Config",
    "Output",
    "Prompts",
    "Seed",
    "Source",
    "TrustRecipe",
    "View",
    "Workers",
    "assignments",
    "class_names",
    "local_path",
    "pairs_in",
    "recipe_fields",
    "resumable",
    "tell_left_out",
    "yaml_value",
]

EXIT_BAD_INPUT = 1
EXIT_INTERRUPTED = 130

BESIDE_THE_RECIPE = (*EXTENT, "num_shards", "batch_size", "device", "dtype", "store")
"""Fields of a recipe file that are not the recipe's."""

SAMPLES_ARE_KEPT = "finished samples are kept, the same command goes on from there"

Source = Annotated[str, typer.Argument(help="Dataset: a folder, a URL, e.g. s3://bucket/ds, or owner/name on the Hub.")]
Output = Annotated[str, typer.Option(help="Where the dataset goes: a folder, or a URL, e.g. s3://bucket/ds.")]
Classes = Annotated[
    list[str] | None,
    typer.Argument(help="Class names, e.g. car boat 'potted plant'; or a vocabulary: voc, voc:bird,dog, my.yaml."),
]
Config = Annotated[Path | None, typer.Option(help="recipe.yaml of your own; options given here win over it.")]
TrustRecipe = Annotated[
    bool,
    typer.Option(
        "--trust-recipe",
        help="Follow the local models and files, and the pickled weights, that the dataset's recipe names.",
    ),
]
Seed = Annotated[int | None, typer.Option(help="Other seed, other images.")]
Prompts = Annotated[
    list[str] | None,
    typer.Option(metavar="PROMPT", help="Prompt with {classes} where the class terms go, or a caption; repeatable."),
]
Assignments = Annotated[
    list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Any other recipe field; repeatable.")
]

View = Annotated[
    str, typer.Option(help="Columns that are loaded where no config is named: default, instance or detection.")
]


def _worker_count(text: str) -> int | None:
    if text == "auto":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise typer.BadParameter(f"expected auto or a number from 1 up, got {text}")
    return int(text)


Workers = Annotated[
    int | None,
    typer.Option(
        parser=_worker_count,
        metavar="NUMBER",
        help="Processes that generate; auto, the default: one a GPU, or as many as cores and free memory carry.",
    ),
]


def class_names(texts: Sequence[str] | None) -> list[str]:
    """The names of an option that holds several with commas between them, or a vocabulary."""
    return [name for text in texts or [] for name in ([text] if ":" in text else text.split(","))]


def local_path(text: str) -> Path:
    """The path that a text names, for what is only written to this machine.

    Raises:
        BadParameter: it is a URL.
    """
    from diffumask_datasets.dataset.storage import parse_location

    location = parse_location(text)
    if isinstance(location, str):
        raise typer.BadParameter(
            f"{text} is a URL, and this is written to this machine only: give a path, then copy it"
        )
    return location


@contextmanager
def resumable(hint: str) -> Iterator[None]:
    """Ctrl-C within the block ends the program with one line: that it was interrupted, and ``hint``."""
    try:
        yield
    except KeyboardInterrupt:
        # Caught here: typer would end the program without a word.
        typer.echo(f"interrupted; {hint}", err=True)
        raise typer.Exit(EXIT_INTERRUPTED) from None


def tell_left_out(left_out: LeftOut) -> None:
    """One line on stderr that counts and names the files that a command left out, and says why; none if there are none."""
    if left_out:
        typer.echo(told(left_out), err=True)


def recipe_fields(
    config: Path | None,
    classes: list[str] | None,
    prompts: list[str] | None,
    given: dict[str, Any],
    assigned: list[str] | None,
) -> dict[str, Any]:
    """Gathers the fields of a recipe; what comes later wins.

    Args:
        config: The user's own file of fields.
        classes: The classes of the command line.
        prompts: The prompts of the command line.
        given: Fields that have an option of their own.
        assigned: NAME=VALUE of ``--set``.

    Returns:
        Field → value.
    """
    from diffumask_datasets.recipes.file import AUGMENTED, LABELLED, read_recipe_file

    fields = read_recipe_file(config) if config else {}
    if AUGMENTED in fields:
        raise RecipeError(
            f"{config} describes an augmented dataset: generate its source, then run diffumask augment on it"
        )
    if LABELLED in fields:
        raise RecipeError(f"{config} describes images that were labelled: run diffumask label on their folder again")
    if classes:
        # The words and shares of the file belong to its own classes. One name alone may be a vocabulary.
        for name in ("vocabulary", "class_weights", "co_occurrence", "stuff"):
            fields.pop(name, None)
        fields["classes"] = classes[0] if len(classes) == 1 else classes
    if prompts:
        fields.pop("prompt_source", None)
        fields["prompts"] = prompts
    return fields | {name: value for name, value in given.items() if value is not None} | assignments(assigned or [])


def assignments(pairs: list[str], *, flag: str = "--set") -> dict[str, Any]:
    """The fields that FIELD=VALUE texts set, values read as YAML; ``flag`` is the option they were given to."""
    pairs_given = pairs_in(pairs, option=flag, form="FIELD=VALUE", example="threshold=0.5")
    return {name.replace("-", "_"): yaml_value(value, f"{flag} {name}") for name, value in pairs_given}


def pairs_in(pairs: list[str], *, option: str, form: str, example: str) -> Iterator[tuple[str, str]]:
    """Splits NAME=VALUE texts.

    Args:
        pairs: The texts.
        option: The option that takes them, for messages.
        form: The form that is expected, for messages.
        example: An example of it, for messages.

    Returns:
        (name, value) of each.

    Raises:
        RecipeError: A text without "=".
    """
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise RecipeError(f"{option} {pair!r}: expected {form}, e.g. {option} {example}")
        yield name.strip(), value


def yaml_value(text: str, option: str) -> Any:
    """What a text given to ``option`` means as YAML.

    Raises:
        RecipeError: it is none.
    """
    return parse_yaml(text, where=f"{option} {one_line(repr(text))}", error=RecipeError)
