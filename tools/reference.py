"""Pages of the site that are made from the code when it is built: a hook of mkdocs, named in mkdocs.yml."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from typer.main import get_command

from diffumask_datasets import errors
from diffumask_datasets.cli.app import app
from diffumask_datasets.recipes import augment_settings, prompt_settings
from diffumask_datasets.recipes import settings as recipe_settings
from diffumask_datasets.recipes.recipe import Recipe
from diffumask_datasets.segmentation.settings import TrainingSettings

ROOT = Path(__file__).parent.parent

GROUPS: tuple[type[BaseModel], ...] = (
    *(recipe_settings.LoadSettings, recipe_settings.GenerateSettings, recipe_settings.CaptureSettings),
    *(recipe_settings.MaskSettings, recipe_settings.AttemptSettings),
)
"""The groups of recipe fields; what is in none of them stands first on the page."""

SOURCES = (prompt_settings.SubClassPrompts, prompt_settings.CaptionPrompts, prompt_settings.RetrievalPrompts)
STEPS = (augment_settings.Compose, augment_settings.Splice, augment_settings.Blur, augment_settings.Occlude)


def commands_page() -> str:
    """Every command with its arguments and options, as ``--help`` tells them."""
    program: Any = get_command(app)
    lines = ["# Commands", "", "`diffumask COMMAND --help` says the same in the terminal.", ""]
    for name, command in program.commands.items():
        lines += [f"## diffumask {name}", "", str(command.help), "", "| option | default | meaning |", "|---|---|---|"]
        lines += [_option(parameter) for parameter in command.params if parameter.name != "help"]
        lines.append("")
    return "\n".join(lines)


def recipe_page() -> str:
    """Every field of a recipe, of its prompt sources and its augmentations."""
    inherited = {name for group in GROUPS for name in group.model_fields}
    own = [name for name in Recipe.model_fields if name not in inherited]
    parts = ["# Fields of a recipe", "", _prose(Recipe), "", *_table(Recipe, own)]
    for group in GROUPS:
        parts += [f"## {_words(group.__name__.removesuffix('Settings'))}", "", _prose(group), "", *_table(group)]
    parts += ["## Prompt sources", "", "The values of `prompt_source`, by `kind`.", ""]
    parts += _kinds((*SOURCES, prompt_settings.LanguageModelPrompts))
    parts += ["## Augmentations", "", "The steps of `augment`, by `kind`.", ""]
    parts += _kinds((*STEPS, augment_settings.Perspective))
    parts += ["## Trainings", "", _prose(TrainingSettings), "", *_table(TrainingSettings)]
    return "\n".join(parts)


def errors_page() -> str:
    """Every error class of the package and what it means."""
    lines = ["# Errors", "", "All are in `diffumask_datasets.errors`; the command line shows them as one line.", ""]
    lines += ["| error | is also | meaning |", "|---|---|---|"]
    for name in sorted(errors.__all__):
        kind = getattr(errors, name)
        if inspect.isclass(kind):
            bases = ", ".join(f"`{base.__name__}`" for base in kind.__bases__)
            lines.append(f"| `{name}` | {bases} | {_cell(_prose(kind))} |")
    return "\n".join([*lines, ""])


PAGES = {
    "reference/commands.md": commands_page,
    "reference/recipe.md": recipe_page,
    "reference/errors.md": errors_page,
    "changelog.md": lambda: (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"),
}


def on_files(files: Any, config: Any) -> Any:
    """Adds the pages (called by mkdocs)."""
    from mkdocs.structure.files import File

    for path, page in PAGES.items():
        files.append(File.generated(config, path, content=page()))
    return files


def on_page_content(html: str, **_: Any) -> str:
    """Takes the roles of Sphinx out of rendered docstrings (called by mkdocs)."""
    return re.sub(r":(?:class|func|data|meth|mod):<code>~?", "<code>", html)


def _option(parameter: Any) -> str:
    names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts) if name.startswith("-"))
    default = "required" if parameter.required else _default(parameter.default)
    meaning = _cell(getattr(parameter, "help", None) or "")
    return f"| {names or f'`{parameter.name.upper()}`'} | {default} | {meaning} |"


def _kinds(models: tuple[type[BaseModel], ...]) -> Iterator[str]:
    for model in models:
        kind = model.model_fields["kind"].default
        yield from (
            f"### {kind}",
            "",
            _prose(model),
            "",
            *_table(model, [n for n in model.model_fields if n != "kind"]),
        )


def _table(model: type[BaseModel], names: list[str] | None = None) -> list[str]:
    fields = {name: model.model_fields[name] for name in names or model.model_fields}
    rows = [f"| `{name}` | {_type(field)} | {_default_of(field)} |" for name, field in fields.items()]
    return ["| field | type | default |", "|---|---|---|", *rows, ""]


def _type(field: FieldInfo) -> str:
    text = inspect.formatannotation(field.annotation)
    text = re.sub(r"\b(?:[a-z_]\w*\.)+(?=\w)", "", text).replace("Literal[", "one of [")
    text = re.sub(r"Annotated\[(\w+),[^\]]*\]", r"\1", text)
    bounds = ", ".join(
        f"{sign} {getattr(bound, name)}"
        for bound in field.metadata
        for name, sign in (("gt", ">"), ("ge", "≥"), ("lt", "<"), ("le", "≤"))
        if getattr(bound, name, None) is not None
    )
    return _cell(f"`{text if len(text) < 90 else 'a mapping, or its kind'}`" + (f", {bounds}" if bounds else ""))


def _default_of(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "required" if field.is_required() else "empty"
    return _default(field.default)


def _default(value: Any) -> str:
    if value is None or value in ((), ""):
        return ""
    if isinstance(value, BaseModel):
        return f"`{getattr(value, 'kind', type(value).__name__)}`"
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return _cell(f"`{text}`" if len(text) < 60 else f"`{text[:57]}…`")


def _prose(kind: type) -> str:
    text = re.sub(r":\w+:`~?([^`]*)`", r"`\1`", inspect.getdoc(kind) or "").replace("``", "`")
    return re.sub(r"\n(?:Raises|Args):\n.*", "", text, flags=re.DOTALL).strip()


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _words(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).capitalize()
