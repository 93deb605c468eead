"""The refinement ``"sam"``: masks of a promptable segmenter that is prompted by the heat maps.

Heat says which object is meant and where the others are; the segmenter knows how far it reaches, on a grid that is coarser
than the image. DenseCRF starts from what the segmenter says where it can be believed, else from heat, and finds the edges.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from diffumask_datasets.masks import densecrf
from diffumask_datasets.masks.promptable import LOGIT_LIMIT, Answer, Prompt, Segmenter, load_segmenter
from diffumask_datasets.masks.quality import iou
from diffumask_datasets.masks.sam_prompts import PromptParts, Region, prompt_of, regions_of
from diffumask_datasets.masks.unary import best_labels

__all__ = ["Found", "best_candidate", "find_objects", "refine"]

LEAST_REST = 0.2
"""What is left of a class after its objects were erased is asked for where it has this share of the smallest of them."""

Image = npt.NDArray[np.uint8]
_TINY = 1e-6

Mask = npt.NDArray[np.bool_]
Values = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """The answer to one region.

    ``logits`` are (height, width); ``score`` is the IoU that the segmenter promises, ``agreement`` the one with the heat's
    mask. ``believed`` says whether it is good enough to stand for the object.
    """

    region: Region
    logits: Values
    score: float
    agreement: float
    believed: bool = True


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
    min_steadiness: float = 0.8,
) -> tuple[Values, float]:
    """Label probabilities by a promptable segmenter and DenseCRF, and the temperature at which they can be believed.

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
        min_agreement: IoU with the heat's own mask below which an object is left to heat and DenseCRF.
        min_steadiness: IoU with the answer to the same prompt without the heat as a mask, below which it is too.

    Returns:
        Probabilities of the same shape, and DenseCRF's temperature.

    Raises:
        ModelError: the segmenter cannot be loaded.
        MissingDependencyError: pydensecrf is not installed.
    """
    segmenter = load_segmenter(model, revision)
    parts = PromptParts(points=points, negatives=negatives, box=box, mask=mask)
    labels = best_labels(probabilities)
    found: dict[int, list[Found]] = {}
    held = heat_maps.copy()
    for label in range(1, len(probabilities)):
        found[label] = find_objects(
            segmenter,
            image,
            regions_of(label, labels == label),
            probabilities,
            heat_maps[label - 1],
            parts=parts,
            rounds=rounds,
            min_agreement=min_agreement,
            min_steadiness=min_steadiness,
        )
        if found[label] and all(one.believed for one in found[label]):
            held[label - 1] = 0  # there is nothing that DenseCRF could be held to
    return densecrf.refine(image, _evidence(probabilities, found), held)


def _evidence(probabilities: Values, found: Mapping[int, Sequence[Found]]) -> Values:
    """Label probabilities by the segmenter, and by heat around objects that are not believed."""
    if not any(one.believed for objects in found.values() for one in objects):
        return probabilities
    scores = np.log(probabilities + _TINY)
    scores -= np.maximum(scores[0], -LOGIT_LIMIT / 2)  # heat is never as sure as a segmenter can be
    for label, objects in found.items():
        believed = [np.clip(one.logits, -LOGIT_LIMIT, LOGIT_LIMIT) for one in objects if one.believed]
        doubted = [one.region.cell for one in objects if not one.believed]
        if believed:
            logits = np.max(believed, axis=0)
            by_heat = np.any(doubted, axis=0) if doubted else np.zeros(logits.shape, bool)
            scores[label] = np.where(by_heat, np.maximum(scores[label], logits), logits)
    return _softmax(scores)


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
    min_steadiness: float = 0.0,
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
        min_agreement: IoU with the heat's mask from which an object is believed.
        min_steadiness: IoU with the answer without the heat as a mask, from which it is.

    Returns:
        One object for each region, and those of later rounds that are believed.
    """
    found: list[Found] = []
    erased: Mask | None = None
    for turn in range(rounds):
        if not regions:
            break
        prompts = [prompt_of(region, probabilities, heat_map, parts=parts, erased=erased) for region in regions]
        fresh = bare = _answers(segmenter, image, regions, prompts)
        if parts.mask and min_steadiness:
            bare = _answers(segmenter, image, regions, [replace(prompt, mask=None) for prompt in prompts])
        for one, other in zip(fresh, bare, strict=True):
            steady = iou(one.logits > 0, other.logits > 0) >= min_steadiness
            one = replace(one, believed=steady and one.agreement >= min_agreement)
            found += [one] if turn == 0 or one.believed else []
        if not any(one.believed for one in found):
            break
        erased = np.any([one.logits > 0 for one in found if one.believed], axis=0)
        regions = _rest(found, erased, probabilities)
    return found


def _answers(segmenter: Segmenter, image: Image, regions: Sequence[Region], prompts: Sequence[Prompt]) -> list[Found]:
    asked = zip(regions, segmenter.ask(image, prompts), strict=True)
    return [best_candidate(region, answer) for region, answer in asked]


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


def _softmax(scores: Values) -> Values:
    powers = np.exp(scores - scores.max(axis=0, keepdims=True))
    return np.asarray(powers / powers.sum(axis=0, keepdims=True), dtype=np.float32)
