"""Compares the masks of one sample with what a segmenter predicts for its image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from diffumask_datasets.sample import BACKGROUND, IGNORE

__all__ = ["Agreement", "Claim", "SampleAgreement", "sample_agreement"]

Label = npt.NDArray[np.uint8]
Probabilities = npt.NDArray[np.float32]

IMPROBABLE = 0.1
"""A pixel contradicts its label where the label's class is less probable than this."""

LEAST_EXTENT = 0.05
"""A prediction that covers less of the image counts as this much: a few stray pixels are no claim."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far a prediction confirms the mask of a class.

    Attributes:
        iou: IoU of the mask and the predicted class.
        shape: IoU of the mask and everything predicted to be an object, other classes of the image left out. A small
            segmenter knows an object's outline long before it knows its name.
        share: the class's part of the probability of all objects, over the pixels that both call an object.
        runner_up: the likeliest other class there, 0 for none.
        runner_up_share: the runner-up's part of that probability.
    """

    iou: float
    shape: float
    share: float
    runner_up: int
    runner_up_share: float


@dataclass(frozen=True, slots=True)
class Claim:
    """A predicted class that lies in the masks of other classes.

    Attributes:
        kept: share of the pixels predicted as the class that no mask of another class holds. Pixels where the other
            class is not improbable are not held against it.
        holder: the class whose mask holds most of the remaining pixels, 0 if there are none.
    """

    kept: float
    holder: int


@dataclass(frozen=True, slots=True)
class SampleAgreement:
    """How far a prediction confirms a sample.

    Attributes:
        masks: class id → agreement, for the classes of the label.
        claims: class id → claim, for the predicted classes. Without two labelled classes there are none: ``shape``
            and ``share`` say all there is to say of a single mask.
    """

    masks: Mapping[int, Agreement]
    claims: Mapping[int, Claim]


def sample_agreement(probabilities: Probabilities, label: Label) -> SampleAgreement:
    """Compares a label (height, width) with the likeliest classes; pixels that it ignores do not count.

    ``probabilities`` are float32 (class ids, height, width), background first.
    """
    predicted = probabilities.argmax(axis=0)
    classes = sorted({int(value) for value in np.unique(label)} - {BACKGROUND, IGNORE})
    masks = {class_id: _agreement(probabilities, predicted, label, class_id, classes) for class_id in classes}
    return SampleAgreement(masks, _claims(probabilities, predicted, label) if len(classes) > 1 else {})


def _agreement(
    probabilities: Probabilities, predicted: npt.NDArray[np.intp], label: Label, class_id: int, classes: Sequence[int]
) -> Agreement:
    mine, known = label == class_id, label != IGNORE
    seen = predicted != BACKGROUND
    # What is taken for a class that the image has belongs to that one.
    others = [other for other in classes if other != class_id]
    around = seen & (mine | ((label == BACKGROUND) & ~np.isin(predicted, others)))
    found, confirmed = (predicted == class_id) & known, mine & seen
    shares = _shares(probabilities[:, confirmed])
    runner_up = int(np.argmax(np.where(np.arange(len(shares)) == class_id, 0, shares)))
    return Agreement(
        iou=int(np.count_nonzero(mine & found)) / int(np.count_nonzero(mine | found)),
        shape=int(np.count_nonzero(confirmed)) / int(np.count_nonzero(mine | around)),
        share=float(shares[class_id]),
        runner_up=runner_up,
        runner_up_share=float(shares[runner_up]),
    )


def _shares(probabilities: Probabilities) -> npt.NDArray[np.float64]:
    """Of (class ids, pixels), each class's part of the whole; the background has none."""
    mass = probabilities.sum(axis=1, dtype=np.float64)
    mass[BACKGROUND] = 0
    total = mass.sum()
    return np.asarray(mass / total if total else mass)


def _claims(probabilities: Probabilities, predicted: npt.NDArray[np.intp], label: Label) -> dict[int, Claim]:
    known = label != IGNORE
    labelled, seen = label[known].astype(np.intp), predicted[known]
    own = np.take_along_axis(probabilities, np.where(known, label, BACKGROUND).astype(np.intp)[None], axis=0)[0][known]
    claimed = (own < IMPROBABLE) & (labelled != BACKGROUND) & (labelled != seen)
    count = len(probabilities)
    held = np.bincount(labelled[claimed] * count + seen[claimed], minlength=count**2).reshape(count, count)
    sizes = np.bincount(seen, minlength=count)
    least = LEAST_EXTENT * labelled.size
    return {
        class_id: Claim(
            kept=1 - int(held[:, class_id].sum()) / max(int(sizes[class_id]), least),
            holder=int(held[:, class_id].argmax()),
        )
        for class_id in np.flatnonzero(sizes).tolist()
        if class_id != BACKGROUND
    }
