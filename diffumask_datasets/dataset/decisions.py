"""``decisions.jsonl``: one verdict a line, keyed by sample id, so that it outlives every copy of the dataset.

{"sample_id": "0123456789ab-00000003", "verdict": "rejected", "reason": "two boats as one", "tags": ["merge"]}
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from diffumask_datasets.dataset.storage import Location, parse_location, read_file
from diffumask_datasets.errors import DataError, ReviewError, suggestion
from diffumask_datasets.recipes.bounded_text import MOST_LINES_BYTES
from diffumask_datasets.recipes.json_reader import parse_json_lines
from diffumask_datasets.recipes.text_lists import decode_text

__all__ = [
    "ACCEPTED",
    "BY_HAND",
    "CORRECTED",
    "DECISIONS_FILE",
    "REJECTED",
    "Decision",
    "decisions_text",
    "find_decisions",
    "merge_decisions",
    "read_decisions",
]

ACCEPTED, REJECTED = "accepted", "rejected"
VERDICTS = (ACCEPTED, REJECTED)
DECISIONS_FILE = "decisions.jsonl"

CORRECTED = "corrected"
"""The tag of samples whose masks a person corrected."""

BY_HAND = "corrected by hand"
"""The reason of their decision, unless the reviewer gave one."""

CONFLICTS = ("error", "reject", "last")
SHOWN = 3

_FIELDS = {"sample_id", "verdict", "reason", "tags"}


@dataclass(frozen=True, slots=True)
class Decision:
    """What a reviewer said of a sample. ``verdict`` is ``accepted`` or ``rejected``; undecided samples have none.

    Raises:
        ReviewError: an unknown verdict, or a cell of the wrong type.
    """

    sample_id: str
    verdict: str
    reason: str = ""
    tags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            hint = suggestion(str(self.verdict), VERDICTS)
            raise ReviewError(f"verdict {self.verdict!r}{hint}: expected {' or '.join(VERDICTS)}")
        texts = (self.sample_id, self.reason, *self.tags)
        if not self.sample_id or not all(isinstance(text, str) for text in texts):
            raise ReviewError("sample_id, reason and tags are text, and sample_id is not empty")


def decisions_text(decisions: Iterable[Decision]) -> str:
    """The file's text, ordered by sample id."""
    lines = (asdict(decision) for decision in sorted(decisions, key=lambda decision: decision.sample_id))
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def read_decisions(path: str | Path) -> dict[str, Decision]:
    """Sample id → decision, from one reviewer's file or URL; of two lines for one sample the later holds.

    Raises:
        ReviewError: the file is missing, or a line is no decision; the message names it.
    """
    decisions = find_decisions(parse_location(path))
    if decisions is None:
        raise ReviewError(f"decisions: cannot read {path}: there is no such file")
    return decisions


def find_decisions(location: Location) -> dict[str, Decision] | None:
    """As :func:`read_decisions`; None where there is no file."""
    data = read_file(location, what="decisions:", error=ReviewError, most_bytes=MOST_LINES_BYTES)
    if data is None:
        return None
    try:
        text = decode_text(data, where=str(location))
    except DataError as error:
        raise ReviewError(f"decisions: {error}") from error
    decisions = itertools.starmap(_decision, parse_json_lines(text, where=str(location), error=ReviewError))
    return {decision.sample_id: decision for decision in decisions}


def merge_decisions(files: Sequence[Mapping[str, Decision]], *, conflicts: str = "error") -> dict[str, Decision]:
    """The decisions of several reviewers as one.

    Where verdicts differ, ``conflicts`` says what holds: ``error`` refuses, ``reject`` rejects, ``last`` takes the later
    file. Tags and reasons of reviewers who agree are joined.

    Raises:
        ReviewError: verdicts differ and ``conflicts`` is ``error``.
    """
    if conflicts not in CONFLICTS:
        raise ReviewError(f"conflicts {conflicts!r}: expected {', '.join(CONFLICTS)}")
    merged: dict[str, Decision] = {}
    differing = []
    for decisions in files:
        for sample_id, decision in decisions.items():
            before = merged.get(sample_id)
            if before is not None and before.verdict != decision.verdict:
                differing.append(sample_id)
            merged[sample_id] = _joined(before, decision, conflicts)
    if differing and conflicts == "error":
        raise ReviewError(
            f"reviewers disagree about {len(differing)} samples ({', '.join(differing[:SHOWN])}…): "
            "let them settle it, or take --conflicts reject (one no is enough) or --conflicts last (the later file)"
        )
    return merged


def _joined(before: Decision | None, now: Decision, conflicts: str) -> Decision:
    if before is None:
        return now
    if before.verdict != now.verdict:
        return before if conflicts == "reject" and before.verdict == REJECTED else now
    reasons = dict.fromkeys(reason for reason in (before.reason, now.reason) if reason)
    return Decision(now.sample_id, now.verdict, "; ".join(reasons), tuple(dict.fromkeys((*before.tags, *now.tags))))


def _decision(place: str, fields: Any) -> Decision:
    if not isinstance(fields, dict) or not {"sample_id", "verdict"} <= set(fields) <= _FIELDS:
        raise ReviewError(f'{place}: expected {{"sample_id": …, "verdict": …}}, and optionally reason and tags')
    tags = fields.get("tags") or []
    if not isinstance(tags, list):
        raise ReviewError(f"{place}: tags: expected a list of words")
    try:
        return Decision(fields["sample_id"], fields["verdict"], fields.get("reason") or "", tuple(tags))
    except ReviewError as error:
        raise ReviewError(f"{place}: {error}") from None
    except TypeError as error:
        raise ReviewError(f"{place}: {error}") from error
