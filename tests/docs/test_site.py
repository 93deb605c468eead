"""The site of the documentation holds every page, and the page of the Python API names what exists."""

import dataclasses
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterator
from typing import Any

import yaml
from pydantic import BaseModel

import diffumask_datasets
from tests.docs.blocks import ROOT
from tests.helpers.docstrings import left_out
from tools.reference import PAGES

SITE = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))


def pages_of(nav: Any) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
        return
    for part in nav.values() if isinstance(nav, dict) else nav:
        yield from pages_of(part)


def test_every_page_is_in_the_navigation_once() -> None:
    written = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert sorted(pages_of(SITE["nav"])) == sorted(written | set(PAGES))


def test_the_site_loads_nothing_from_elsewhere() -> None:
    assert SITE["theme"]["font"] is False
    assert "offline" not in SITE["plugins"]  # it fetches a script from a server
    assert not any("http" in str(value) for key, value in SITE.items() if key.startswith("extra"))
    assert (ROOT / SITE["hooks"][0]).is_file()


def named_on_the_page() -> dict[str, Any]:
    page = (ROOT / "docs" / "reference" / "api.md").read_text(encoding="utf-8")
    return {name: pkgutil.resolve_name(name) for name in re.findall(r"^::: (\S+)$", page, re.MULTILINE)}


def undescribed(function: Callable[..., Any]) -> set[str]:
    signature = inspect.signature(function)
    gives = not isinstance(function, type) and signature.return_annotation != "None"
    missing = left_out(inspect.getdoc(function) or "", signature.parameters, gives=gives)
    return missing if len(signature.parameters) > 2 else set()


def is_record(thing: Any) -> bool:
    return dataclasses.is_dataclass(thing) or (isinstance(thing, type) and issubclass(thing, BaseModel))


def test_the_page_of_the_api_has_every_public_name() -> None:
    named = named_on_the_page()
    assert [name for name, thing in named.items() if not thing.__doc__] == []
    exported = {
        getattr(diffumask_datasets, name) for name in set(diffumask_datasets.__all__) - {"__version__", "register"}
    }
    assert exported - {*named.values()} == set()


def test_functions_of_the_page_describe_parameters_and_result() -> None:
    # Records describe their fields where they declare them.
    functions = {name: thing for name, thing in named_on_the_page().items() if not is_record(thing)}
    assert len(functions) > 15
    assert {name: missing for name, thing in functions.items() if (missing := undescribed(thing))} == {}
