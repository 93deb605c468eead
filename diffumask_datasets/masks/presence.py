"""Whether each class is there where its mask is, as an image-text model sees it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from diffumask_datasets.masks.image_text import ImageText
from diffumask_datasets.sample import BACKGROUND, IGNORE

__all__ = ["PresenceJudge", "classes_in"]

MARGIN = 0.1
"""An object is shown with this share of its box's sides around it."""

NOTHING = "background"
"""What an object must not look like instead of its class."""

ODDS = 10.0
"""How much likelier something else must be than the class; with 1, a small CLIP rejected one right image in eleven."""

Label = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class PresenceJudge:
    """Shows an image-text model each class of a label, cut out in a square with a margin.

    A class is absent where the term of a class that the label does not have, or "background", fits the cut-out ``odds``
    times as well.

    Attributes:
        model: What is asked.
        terms: Of each class what it is called, in the order of the class ids from 1 up.
        template: A text with ``{}`` where the term goes.
        odds: The least ratio of the other's probability to that of the class.
    """

    model: ImageText
    terms: Sequence[str]
    template: str = "a photo of a {}"
    odds: float = ODDS

    def judge(self, image: Label, label: Label) -> tuple[float, str | None]:
        """The lowest probability of a class of a label, among those it must beat, and what it looks like if it is absent.

        Args:
            image: uint8 (height, width, 3).
            label: Class ids, uint8 (height, width).

        Returns:
            The probability, 1 for a label without classes; and the objection, None where each class is there.
        """
        classes = classes_in(label)
        judged = [self._judged(image, label, class_id, classes) for class_id in classes]
        return min(judged, key=lambda one: (one[1] is None, one[0]), default=(1.0, None))

    def _judged(self, image: Label, label: Label, class_id: int, classes: Sequence[int]) -> tuple[float, str | None]:
        absent = [term for number, term in enumerate(self.terms, start=1) if number not in classes]
        names = [self.terms[class_id - 1], *absent, NOTHING]
        texts = [NOTHING if name == NOTHING else self.template.format(name) for name in names]
        logits = self.model.compare(_cut_out(image, label == class_id), texts)
        shares = np.exp(logits - logits.max())
        shares /= shares.sum()
        best, own = int(shares.argmax()), float(shares[0])
        if shares[best] < self.odds * own:
            return own, None
        looks = f"looks more like {names[best]} ({shares[best]:.2f}) than like {names[0]} ({own:.2f})"
        return own, f"the {names[0]} {looks}"


def classes_in(label: Label) -> list[int]:
    """The class ids of a label, uint8 (height, width), in order."""
    return [int(value) for value in np.unique(label) if value not in (BACKGROUND, IGNORE)]


def _cut_out(image: Label, mask: npt.NDArray[np.bool_]) -> Label:
    """A square with the box of a mask and :data:`MARGIN` around it: CLIP sees no more than the middle square of an image.

    Its sides are parts of the image as far as that reaches, and have the mean colour beyond.
    """
    spans = [_span(np.flatnonzero(mask.any(axis=axis)), mask.shape[1 - axis]) for axis in (1, 0)]
    side = max(stop - start for start, stop in spans)
    rows, columns = (_widened(span, side, length) for span, length in zip(spans, mask.shape, strict=True))
    seen = image[rows, columns]
    square = np.empty((side, side, 3), np.uint8)
    square[:] = seen.mean(axis=(0, 1)).round()
    down, across = ((side - length) // 2 for length in seen.shape[:2])
    square[down : down + seen.shape[0], across : across + seen.shape[1]] = seen
    return square


def _span(places: npt.NDArray[np.intp], length: int) -> tuple[int, int]:
    """Where ``places`` begin and end, with :data:`MARGIN` around them, within 0 and ``length``."""
    first, last = int(places[0]), int(places[-1])
    margin = int(MARGIN * (last - first + 1)) + 1
    return max(0, first - margin), min(length, last + margin + 1)


def _widened(span: tuple[int, int], side: int, length: int) -> slice:
    """``side`` pixels around a span, moved into 0 and ``length``; all of these where they are fewer."""
    start = min(max(0, (sum(span) - side) // 2), max(0, length - side))
    return slice(start, min(length, start + side))
