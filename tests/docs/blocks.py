"""The documents, and the fenced blocks of code in them."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CODE_OF_CONDUCT.md")]
PAGES += sorted((ROOT / "docs").rglob("*.md"))
FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<code>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL
)


class Block(NamedTuple):
    page: str
    line: int
    language: str
    code: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks_in(page: str, text: str) -> Iterator[Block]:
    for found in FENCE.finditer(text):
        indent = found["indent"]
        code = "".join(line.removeprefix(indent) for line in found["code"].splitlines(keepends=True))
        yield Block(page, text.count("\n", 0, found.start()) + 1, found["language"], code)


def blocks(*languages: str) -> list[Block]:
    found = [
        block
        for path in PAGES
        for block in blocks_in(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))
    ]
    return [block for block in found if block.language in languages]


def running_blocks(comment: str = "runs") -> list[Block]:
    """The blocks that say that they run as they stand: those after the comment ``<!-- runs -->``, or another one."""
    found = []
    for block in blocks("python", "bash"):
        lines = (ROOT / block.page).read_text(encoding="utf-8").splitlines()
        if lines[block.line - 2] == f"<!-- {comment} -->":
            found.append(block)
    return found


def prose(text: str) -> str:
    """A page without its blocks and inline code."""
    return re.sub(r"`[^`\n]*`", "", FENCE.sub("", text))
