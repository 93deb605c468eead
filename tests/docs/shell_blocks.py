"""Whether commands of the documents could run: their options, targets, modules, files and extras exist."""

import importlib.util
import re
import shlex
from collections.abc import Callable, Iterator, Sequence

import click
from typer.main import get_command

from diffumask_datasets.cli.app import app
from diffumask_datasets.recipes.settings import MaskSettings
from diffumask_datasets.segmentation.settings import TrainingSettings
from tests.docs.blocks import ROOT
from tests.docs.python_blocks import RECIPE_WORDS

PROGRAM = get_command(app)
assert isinstance(PROGRAM, click.Group) or hasattr(PROGRAM, "commands")
SETTABLE = {"remask": set(MaskSettings.model_fields), "train": set(TrainingSettings.model_fields)}
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
TARGETS |= {f"bench-{path.stem[6:]}" for path in (ROOT / "tests" / "benchmarks").glob("bench_*.py")} | {"bench-NAME"}
PROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def commands(code: str) -> Iterator[list[str]]:
    """The words of each command of a block."""
    for line in code.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        start = 0
        for end in [*(place for place, word in enumerate(words) if word in ("&&", "|", "||", ";")), len(words)]:
            if words[start:end]:
                yield _without_variables(words[start:end])
            start = end + 1


def problems_of(words: Sequence[str]) -> list[str]:
    check = CHECKS.get(words[0])
    return [f"{shlex.join(words)}: {problem}" for problem in (check(words[1:]) if check else [])]


def _without_variables(words: list[str]) -> list[str]:
    while len(words) > 1 and re.match(r"\w+=", words[0]):
        words = words[1:]
    return words


def _diffumask(words: Sequence[str]) -> list[str]:
    if words[0].startswith("-"):
        return [] if words[0] in ("--help", "--version") else [f"no option {words[0]}"]
    command = PROGRAM.commands.get(words[0])
    if command is None:
        return [f"no command {words[0]}"]
    try:
        given = command.make_context(words[0], list(words[1:])).params
    except Exception as error:  # noqa: BLE001  # typer may bring a click of its own, whose errors are other classes
        return [str(error)]
    legal = SETTABLE.get(words[0], RECIPE_WORDS)
    fields = [pair.partition("=")[0] for pair in given.get("set_") or ()]
    return [f"no field {name}" for name in fields if name not in legal]


def _make(words: Sequence[str]) -> list[str]:
    return [f"no target {word}" for word in words if "=" not in word and word not in TARGETS]


def _pip(words: Sequence[str]) -> list[str]:
    extras = [extra for word in words for listed in re.findall(r"\[([\w,]+)\]", word) for extra in listed.split(",")]
    return [f"no extra {extra}" for extra in extras if not re.search(rf"^{extra} = \[", PROJECT, re.MULTILINE)]


def _python(words: Sequence[str]) -> list[str]:
    if words[0] == "-m" and words[1].partition(".")[0] in ("diffumask_datasets", "examples", "tests", "tools"):
        return [] if importlib.util.find_spec(words[1]) else [f"no module {words[1]}"]
    if words[0].startswith("examples/"):
        return [] if (ROOT / words[0]).is_file() else [f"no file {words[0]}"]
    return []


CHECKS: dict[str, Callable[[Sequence[str]], list[str]]] = {
    "diffumask": _diffumask,
    "make": _make,
    "pip": _pip,
    "python": _python,
}
