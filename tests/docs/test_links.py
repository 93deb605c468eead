"""Relative links and anchors of the documents lead somewhere."""

import re
from functools import cache
from pathlib import Path

from tests.docs.blocks import FENCE, PAGES, ROOT, prose

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)


def anchor(heading: str) -> str:
    """The fragment that GitHub and mkdocs give a heading."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


@cache
def anchors(page: Path) -> set[str]:
    return {anchor(heading) for heading in HEADING.findall(FENCE.sub("", page.read_text(encoding="utf-8")))}


def dead_links(page: Path, text: str) -> list[str]:
    dead = []
    for target in LINK.findall(prose(text)):
        if re.match(r"\w+:", target):
            continue
        path, _, fragment = target.partition("#")
        place = (page.parent / path).resolve() if path else page
        if not place.exists() or (fragment and fragment not in anchors(place)):
            dead.append(target)
    return dead


def test_links_lead_somewhere() -> None:
    dead = {page.relative_to(ROOT).as_posix(): dead_links(page, page.read_text(encoding="utf-8")) for page in PAGES}
    assert {page: links for page, links in dead.items() if links} == {}
    assert sum(len(LINK.findall(page.read_text(encoding="utf-8"))) for page in PAGES) > 40


def test_dead_links_are_seen(tmp_path: Path) -> None:
    (tmp_path / "b.md").write_text("# What `suits` a model\n\n```bash\n# no heading\n```\n", encoding="utf-8")
    text = (
        "[1](b.md) [2](c.md) [3](b.md#what-suits-a-model) [4](b.md#no-heading) [5](https://x.org)\n"
        "`[6](d.md)`\n```python\nx[7](e.md)\n```\n"
    )
    assert dead_links(tmp_path / "a.md", text) == ["c.md", "b.md#no-heading"]
