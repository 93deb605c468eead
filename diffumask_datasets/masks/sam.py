"""The refinement ``"sam"``: masks of a promptable segmenter that is prompted by the heat maps.

Heat says which object is meant and where the others are; the segmenter knows where an object ends. An object on which the
two do not agree is left to DenseCRF.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from diffumask_datasets.masks import densecrf
from diffumask_datasets.masks.promptable import LOGIT_LIMIT, Answer, Segmenter, load_segmenter
from diffumask_datasets.masks.quality import iou
from diffumask_datasets.masks.sam_prompts import PromptParts, Region, log_odds, prompt_of, regions_of
from diffumask_datasets.masks.unary import best_labels

__all__ = ["Found", "best_candidate", "find_objects", "refine"]

LEAST_REST = 0.2
"""What is left of a class after its objects were erased is asked for where it has this share of the smallest of them."""

Image = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Values = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """The answer to one region.

    ``logits`` are (height, width); ``score`` is the IoU that the segmenter promises, ``agreement`` the one
    with the heat's mask.
    """

    region: Region
    logits: Values
    score: float
    agreement: float


def refine(
    image: Image,
    probabilities: Values,
    heat_maps: Values,
    *,
    model: str,
    revision: str | None = None,
    points: int = 3,
    negatives: int = 4,
    box: bool = True,
    mask: bool = True,
    rounds: int = 2,
    min_agreement: float = 0.6,
) -> tuple[Values, float]:
    """Label probabilities by a promptable segmenter, and the temperature at which they can be believed.

    Args:
        image: uint8 (height, width, 3).
        probabilities: Of the labels by heat alone, float32 (1 + classes, height, width), background first.
        heat_maps: float32 (classes, height, width) in [0, 1].
        model: Folder or Hub id of the segmenter.
        revision: The content that it must have.
        points: Hot points of a prompt.
        negatives: Cold points of a prompt.
        box: Whether a prompt has a box.
        mask: Whether a prompt has the heat as a mask.
        rounds: How often objects are asked for, those found being erased in between.
        min_agreement: IoU with the heat's own mask below which an object is taken from DenseCRF.

    Returns:
        Probabilities of the same shape, and the temperature 1.

    Raises:
        ModelError: the segmenter cannot be loaded.
        MissingDependencyError: DenseCRF is needed and pydensecrf is not installed.
    """
    segmenter = load_segmenter(model, revision)
    parts = PromptParts(points=points, negatives=negatives, box=box, mask=mask)
    fallback = functools.cache(lambda: _by_densecrf(image, probabilities, heat_maps))
    scores = np.full(probabilities.shape, -LOGIT_LIMIT, np.float32)
    scores[0] = 0
    labels = best_labels(probabilities)
    for label in range(1, len(probabilities)):
        found = find_objects(
            segmenter,
            image,
            regions_of(label, labels == label),
            probabilities,
            heat_maps[label - 1],
            parts=parts,
            rounds=rounds,
            min_agreement=min_agreement,
        )
        for one in found:
            believed = one.agreement >= min_agreement
            logits = one.logits if believed else np.where(one.region.cell, fallback()[label], -LOGIT_LIMIT)
            scores[label] = np.maximum(scores[label], np.clip(logits, -LOGIT_LIMIT, LOGIT_LIMIT))
    return _softmax(scores), 1.0


def find_objects(
    segmenter: Segmenter,
    image: Image,
    regions: Sequence[Region],
    probabilities: Values,
    heat_map: Values,
    *,
    parts: PromptParts,
    rounds: int,
    min_agreement: float,
) -> list[Found]:
    """Asks for the regions of one class, erases what is found, and asks for the rest.

    Args:
        segmenter: What is asked.
        image: uint8 (height, width, 3).
        regions: The components of the class.
        probabilities: Of the labels, float32 (1 + classes, height, width).
        heat_map: That of the class, float32 (height, width).
        parts: What a prompt consists of.
        rounds: How often to ask.
        min_agreement: What an object of a later round must reach to count as found.

    Returns:
        One object for each region, and those of later rounds.
    """
    found: list[Found] = []
    erased: Mask | None = None
    for turn in range(rounds):
        if not regions:
            break
        prompts = [prompt_of(region, probabilities, heat_map, parts=parts, erased=erased) for region in regions]
        answers = segmenter.ask(image, prompts)
        fresh = [best_candidate(region, answer) for region, answer in zip(regions, answers, strict=True)]
        found += [one for one in fresh if turn == 0 or one.agreement >= min_agreement]
        believed = [one for one in found if one.agreement >= min_agreement]
        if not believed:
            break
        erased = np.any([one.logits > 0 for one in believed], axis=0)
        regions = _rest(found, erased, probabilities)
    return found


def best_candidate(region: Region, answer: Answer) -> Found:
    """The candidate with the largest product of promised IoU and agreement with the heat's mask."""
    agreements = [iou(logits > 0, region.mask) for logits in answer.logits]
    products = [max(float(score), 0.0) * agreement for score, agreement in zip(answer.scores, agreements, strict=True)]
    best = int(np.argmax(products))
    return Found(region, answer.logits[best], float(answer.scores[best]), agreements[best])


def _rest(found: Sequence[Found], erased: Mask, probabilities: Values) -> list[Region]:
    """The regions that no object found covers. The first label of them all is the class."""
    label = found[0].region.label
    smallest = min(int(np.count_nonzero(one.region.mask)) for one in found)
    left = (best_labels(probabilities) == label) & ~erased
    for one in found:
        if np.count_nonzero(one.region.mask & ~erased) == np.count_nonzero(one.region.mask):
            left &= ~one.region.mask  # asked for already, and not believed
    return regions_of(label, left, smallest=max(1, round(LEAST_REST * smallest)))


def _by_densecrf(image: Image, probabilities: Values, heat_maps: Values) -> Values:
    """Log-odds of each label by DenseCRF, at the scale of one pixel's own evidence."""
    refined, temperature = densecrf.refine(image, probabilities, heat_maps)
    return np.stack([log_odds(one) for one in refined]) / np.float32(temperature)


def _softmax(scores: Values) -> Values:
    powers = np.exp(scores - scores.max(axis=0, keepdims=True))
    return np.asarray(powers / powers.sum(axis=0, keepdims=True), dtype=np.float32)
