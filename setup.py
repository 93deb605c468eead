"""The long description of the package: README.md, whose relative links an index such as PyPI cannot follow.

Everything else about the package stands in pyproject.toml.
"""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import setup
from setuptools.config.pyprojecttoml import load_file

ROOT = Path(__file__).parent
RELATIVE_LINK = re.compile(r"(?P<picture>!?)\[(?P<text>[^\]]*)\]\((?!\w+:)(?P<target>[^)\s]+)\)")


def long_description(readme: str, repository: str | None) -> str:
    """The README with absolute links into the repository, or with their texts alone where no repository is named."""

    def absolute(link: re.Match[str]) -> str:
        if repository is None:
            return link["text"]
        if link["target"].startswith("#"):
            return f"[{link['text']}]({repository}{link['target']})"
        view = "raw" if link["picture"] else "blob"
        return f"{link['picture']}[{link['text']}]({repository}/{view}/HEAD/{link['target']})"

    return RELATIVE_LINK.sub(absolute, readme)


if __name__ == "__main__":
    urls = load_file(ROOT / "pyproject.toml")["project"]["urls"]
    setup(
        long_description=long_description((ROOT / "README.md").read_text(encoding="utf-8"), urls.get("Repository")),
        long_description_content_type="text/markdown",
    )
