"""Class ids: 0 is background, 1..K are the classes in the order given, 255 is ignore."""

from __future__ import annotations

from collections.abc import Sequence

from diffumask_datasets.errors import UnknownClassError, suggestion

__all__ = ["BACKGROUND_NAME", "check_known", "id2label"]

BACKGROUND_NAME = "background"


def id2label(classes: Sequence[str]) -> dict[int, str]:
    """Class id → name, background included, as transformers' ``id2label.json`` holds it."""
    return dict(enumerate([BACKGROUND_NAME, *classes]))


def check_known(classes: Sequence[str], known: Sequence[str], *, model: str) -> None:
    """Raises UnknownClassError, with the nearest known name, for the first class that a closed model cannot paint."""
    for name in classes:
        if name.lower() not in known:
            raise UnknownClassError(
                f"the model {model!r} cannot paint {name!r}{suggestion(name, known)}; it knows: {', '.join(known)}"
            )
