"""What a docstring in Google's style leaves out."""

from __future__ import annotations

import re
from collections.abc import Iterable


def left_out(text: str, parameters: Iterable[str], *, gives: bool) -> set[str]:
    """The parameters that a docstring does not describe, and "return" where the function ``gives`` something unsaid."""
    described = set(re.findall(r"^    \**(\w+): ", text.partition("\nArgs:\n")[2], re.MULTILINE))
    if "\nReturns:\n" in text:
        described.add("return")
    return {*parameters, *(["return"] if gives else [])} - described
