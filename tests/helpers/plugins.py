"""A package that lies beside ours as if it were installed: its code, and what it offers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.docs.blocks import Block, blocks


def offer(site: Path, monkeypatch: pytest.MonkeyPatch, *, points: str, **modules: str) -> None:
    """Puts modules, and the entry points of a distribution, into a folder and that on Python's path."""
    info = site / "plugged_in-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugged-in\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(points, encoding="utf-8")
    for name, code in modules.items():
        (site / f"{name}.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(site)


def contributed() -> tuple[str, Mapping[str, str]]:
    """The plugins that CONTRIBUTING.md shows: their entry points, and their modules by name."""
    page = [block for block in blocks("python", "toml") if block.page == "CONTRIBUTING.md"]
    named = {_name(block): block.code for block in page if block.language == "python"}
    tables = [block.code for block in page if block.language == "toml"]
    points = "\n".join(tables).replace('project.entry-points."', "").replace('"]', "]").replace('"', "")
    return points, named


def _name(block: Block) -> str:
    first = block.code.partition("\n")[0]
    return first.removeprefix("# ").removesuffix(".py")
