"""Asks for second opinions, and keeps what was heard, so that an interruption loses none of it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffumask_datasets.curation.opinions import (
    ConceptAgreement,
    FlipStability,
    Heard,
    Opinion,
    Presence,
    Question,
    SegmenterAgreement,
)
from diffumask_datasets.dataset.reader import OpenDataset
from diffumask_datasets.errors import ExportError
from diffumask_datasets.recipes.json_reader import parse_json

__all__ = ["Flipped", "Hearing", "Panel", "panel_of"]

Flipped = Callable[[Mapping[str, Any]], Mapping[int, float]]


@dataclass(frozen=True, slots=True)
class Panel:
    """The opinions that are asked for.

    Attributes:
        opinions: They, in the order in which they are asked.
        described: What ``recipe.yaml`` says of each, by filter: models with their revision, and limits.
    """

    opinions: Sequence[Opinion]
    described: Mapping[str, Mapping[str, Any]]


def panel_of(
    source: OpenDataset,
    *,
    presence: str | None,
    segmenter: str | None,
    concepts: str | None,
    min_agreement: float,
    ask: str | None,
    flipped: Flipped | None,
) -> Panel:
    """Loads what is asked, each model as it is now.

    Args:
        source: The dataset that is judged.
        presence: An image-text model.
        segmenter: A promptable segmenter.
        concepts: A segmenter that takes names.
        min_agreement: The least IoU of a mask with what either segmenter finds.
        ask: A vision-language model.
        flipped: Gives of a row the IoU of each class with that of the mirrored image.

    Returns:
        The opinions.

    Raises:
        ModelError: a model cannot be found or loaded.
        RecipeError: ``min_agreement`` is no IoU.
    """
    # torch is loaded only where a model is asked.
    recipe = source.recipe
    terms = [recipe.words_of(name).terms[0] for name in recipe.classes]
    asked: dict[str, tuple[Opinion, dict[str, Any]]] = {}
    if presence is not None:
        from diffumask_datasets.masks.image_text import image_text_revision, load_image_text
        from diffumask_datasets.masks.presence import PresenceJudge

        pinned = {"model": presence, "revision": image_text_revision(presence)}
        judge = PresenceJudge(load_image_text(**pinned), terms)
        asked["presence"] = Presence(judge), {**pinned, "odds": judge.odds}
    if segmenter is not None:
        from diffumask_datasets.masks.promptable import load_segmenter, segmenter_revision
        from diffumask_datasets.masks.promptable_cost import tell_cost

        pinned = {"model": segmenter, "revision": segmenter_revision(segmenter)}
        tell_cost(**pinned)
        agreement = SegmenterAgreement(load_segmenter(**pinned), recipe.classes, min_agreement)
        asked["segmenter"] = agreement, {**pinned, "least": min_agreement}
    if concepts is not None:
        from diffumask_datasets.masks.concepts import load_concept_segmenter
        from diffumask_datasets.masks.promptable import segmenter_revision
        from diffumask_datasets.masks.promptable_cost import tell_concept_cost

        pinned = {"model": concepts, "revision": segmenter_revision(concepts)}
        tell_concept_cost(**pinned, remedy="--presence and --segmenter ask less of a machine")
        named = ConceptAgreement(load_concept_segmenter(**pinned), terms, min_agreement)
        asked["concepts"] = named, {**pinned, "least": min_agreement}
    if ask is not None:
        from diffumask_datasets.segmentation.vision_language import load_vision_language, vision_language_revision

        pinned = {"model": ask, "revision": vision_language_revision(ask)}
        asked["question"] = Question(load_vision_language(**pinned), terms), pinned
    if flipped is not None:
        stability = FlipStability(flipped, recipe.classes)
        asked["flip"] = stability, {"least": stability.least}
    return Panel(
        [opinion for opinion, _ in asked.values()], {name: described for name, (_, described) in asked.items()}
    )


class Hearing:
    """Asks a panel about samples; what a file has of an earlier, interrupted hearing is not asked again."""

    def __init__(self, panel: Panel, source: OpenDataset, folder: Path) -> None:
        content = json.dumps([source.identity, panel.described], sort_keys=True, default=str)
        self._panel = panel
        self._file = folder / f"opinions-{hashlib.sha256(content.encode()).hexdigest()[:12]}.jsonl"
        self._known = dict(map(_heard, _entries(self._file)))

    @property
    def asks(self) -> bool:
        """Whether there is anybody to ask."""
        return bool(self._panel.opinions)

    def about(self, row: Mapping[str, Any]) -> dict[str, Heard]:
        """Filter → what it says of a row."""
        sample_id = row["sample_id"]
        if self.asks and sample_id not in self._known:
            heard = {opinion.filter: opinion.about(row) for opinion in self._panel.opinions}
            self._known[sample_id] = heard
            told = {"sample_id": sample_id, **{name: dataclasses.asdict(one) for name, one in heard.items()}}
            with self._file.open("a", encoding="utf-8") as stream:
                # The line before may have been cut short.
                stream.write(f"\n{json.dumps(told)}")
        return self._known.get(sample_id, {})


def _entries(file: Path) -> list[dict[str, Any]]:
    """The entries of a file that was written whole."""
    if not file.exists():
        return []
    found = []
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            found.append(parse_json(line, where=str(file), error=ExportError))
        except ExportError:  # empty, or cut short by the interruption
            continue
    return found


def _heard(entry: dict[str, Any]) -> tuple[str, dict[str, Heard]]:
    return entry.pop("sample_id"), {name: Heard(**one) for name, one in entry.items()}
