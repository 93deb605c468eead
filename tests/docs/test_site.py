"""The site of the documentation holds every page, and the page of the Python API names what exists."""

import pkgutil
import re
from collections.abc import Iterator
from typing import Any

import yaml

from tests.docs.blocks import ROOT
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


def test_what_the_page_of_the_api_names_has_a_docstring() -> None:
    page = (ROOT / "docs" / "reference" / "api.md").read_text(encoding="utf-8")
    named = re.findall(r"^::: (\S+)$", page, re.MULTILINE)
    assert len(named) > 8
    assert [name for name in named if not pkgutil.resolve_name(name).__doc__] == []
