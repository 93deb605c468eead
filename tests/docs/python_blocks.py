"""Whether Python of the documents could run: its imports exist, its names are bound, its calls take these arguments."""

import ast
import builtins
import importlib
import inspect
from collections.abc import Callable, Iterator
from typing import Any

from diffumask_datasets.exporters.registry import make_exporter
from diffumask_datasets.generation.config import DiffuMaskConfig
from diffumask_datasets.recipes.recipe import FIELDS

RECIPE_WORDS = {*FIELDS, *inspect.signature(DiffuMaskConfig).parameters}
"""What may be given where a function of ours takes the fields of a recipe."""

FOREIGN = ("detectron2",)
"""Packages that the documents import and no environment of ours has."""


def problems_of(code: str, names: dict[str, Any]) -> list[str]:
    """What is wrong with a block; ``names`` are those of the blocks above it on the page, and this one's are added."""
    tree = ast.parse(code)
    found = [problem for node in ast.walk(tree) for problem in _imported(node, names)]
    bound = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
    bound |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    bound |= {node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    for name in bound:
        names.setdefault(name, None)
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id not in names and not hasattr(builtins, node.id):
            found.append(f"{node.id} is not defined")
        if isinstance(node, ast.Call):
            found += _call_problems(node, names)
    return found


def _imported(node: ast.AST, names: dict[str, Any]) -> Iterator[str]:
    if isinstance(node, ast.ImportFrom) and str(node.module).partition(".")[0] in FOREIGN:
        names.update((alias.asname or alias.name, None) for alias in node.names)
    elif isinstance(node, ast.Import):
        for alias in node.names:
            module = importlib.import_module(alias.name)
            names[alias.asname or alias.name.partition(".")[0]] = (
                module if alias.asname else importlib.import_module(alias.name.partition(".")[0])
            )
    elif isinstance(node, ast.ImportFrom) and node.module:
        module = importlib.import_module(node.module)
        for alias in node.names:
            if not hasattr(module, alias.name):
                yield f"{node.module} has no {alias.name}"
            names[alias.asname or alias.name] = getattr(module, alias.name, None)


def _called(node: ast.expr, names: dict[str, Any]) -> Any:
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute):
        owner = _called(node.value, names)
        return None if owner is None else getattr(owner, node.attr)
    return None


def _call_problems(node: ast.Call, names: dict[str, Any]) -> Iterator[str]:
    try:
        function = _called(node.func, names)
    except AttributeError as error:
        yield str(error)
        return
    given = [word.arg for word in node.keywords if word.arg]
    legal = _keywords(function, node) if callable(function) else None
    if legal is not None:
        yield from (f"{ast.unparse(node.func)} takes no {word}" for word in given if word not in legal)


def _keywords(function: Callable[..., Any], node: ast.Call) -> set[str] | None:
    """The keywords that a call may have; None where anything goes."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:
        return None
    legal = {word.name for word in parameters if word.kind in (word.KEYWORD_ONLY, word.POSITIONAL_OR_KEYWORD)}
    if all(word.kind is not word.VAR_KEYWORD for word in parameters):
        return legal
    if getattr(function, "__name__", "") == "export":
        (name,) = [ast.literal_eval(word.value) for word in node.keywords if word.arg == "format"]
        return legal | set(inspect.signature(type(make_exporter(name, {}))).parameters)
    ours = getattr(function, "__module__", "").startswith("diffumask_datasets")
    first = node.args[0] if node.args else None
    builds = isinstance(first, ast.Constant) and first.value == "diffumask"
    return legal | RECIPE_WORDS if ours or builds else None
