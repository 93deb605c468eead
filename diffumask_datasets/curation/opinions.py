"""Second opinions about a sample, of models that know nothing of attention: a score and, where they object, a reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from diffumask_datasets.dataset.schema import image_of, label_of
from diffumask_datasets.errors import RecipeError
from diffumask_datasets.masks.concepts import Concept, ConceptSegmenter
from diffumask_datasets.masks.presence import PresenceJudge, classes_in
from diffumask_datasets.masks.promptable import Segmenter
from diffumask_datasets.masks.quality import iou
from diffumask_datasets.masks.sam import find_objects
from diffumask_datasets.masks.sam_prompts import PromptParts, regions_of
from diffumask_datasets.masks.working_size import shrink_image, working_size
from diffumask_datasets.sample import IGNORE
from diffumask_datasets.segmentation.vision_language import VisionLanguage

__all__ = ["ConceptAgreement", "FlipStability", "Heard", "Opinion", "Presence", "Question", "SegmenterAgreement"]

SURE = 0.95
"""Probability that a mask is shown with to a segmenter."""

STABLE = 0.6
"""S3OD's least IoU of a mask with that of the mirrored image."""

PRESENT = 0.5
"""Probability from which on a pixel, or a class, is there."""

Label = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Heard:
    """What was said of a sample: a score in [0, 1], and the reason against it, or None."""

    score: float
    objection: str | None = None


class Opinion(Protocol):
    """Judges a row of the config ``default`` by itself."""

    @property
    def filter(self) -> str:
        """What ``rejections.jsonl`` calls it."""

    def about(self, row: Mapping[str, Any]) -> Heard:
        """Its score of the row, and why the row is to be rejected, if it is."""


@dataclass(frozen=True, slots=True)
class Presence:
    """Whether an image-text model sees each class where its mask is."""

    judge: PresenceJudge

    @property
    def filter(self) -> str:
        """Its name."""
        return "presence"

    def about(self, row: Mapping[str, Any]) -> Heard:
        """The lowest probability of a class of the label, among those it must beat."""
        return Heard(*self.judge.judge(image_of(row), label_of(row)))


@dataclass(frozen=True, slots=True)
class Question:
    """Whether a vision-language model says yes when it is asked for each class of the label.

    Attributes:
        model: What is asked.
        terms: Of each class what it is called, in the order of the class ids from 1 up.
        template: A question with ``{}`` where the term goes.
    """

    model: VisionLanguage
    terms: Sequence[str]
    template: str = "Is there a {} in this image? Answer with yes or no."

    @property
    def filter(self) -> str:
        """Its name."""
        return "question"

    def about(self, row: Mapping[str, Any]) -> Heard:
        """The lowest probability of a yes."""
        image = image_of(row)
        terms = [self.terms[class_id - 1] for class_id in classes_in(label_of(row))]
        heard = [self._heard(term, self.model.agrees(image, self.template.format(term))) for term in terms]
        return min(heard, key=lambda one: one.score, default=Heard(1.0))

    def _heard(self, term: str, score: float) -> Heard:
        return Heard(score, None if score >= PRESENT else f"asked for a {term}, the model says no (yes: {score:.2f})")


@dataclass(frozen=True, slots=True)
class SegmenterAgreement:
    """How far a promptable segmenter confirms the masks that it is prompted with.

    Attributes:
        segmenter: What is asked.
        classes: The names of the classes, in the order of the class ids from 1 up.
        least: The IoU that the mask of each class must have with what the segmenter finds.
    """

    segmenter: Segmenter
    classes: Sequence[str]
    least: float = 0.7

    def __post_init__(self) -> None:
        _check_share(self.least)

    @property
    def filter(self) -> str:
        """Its name."""
        return "segmenter"

    def about(self, row: Mapping[str, Any]) -> Heard:
        """The lowest IoU of a class of the label with what is found of it; unsure pixels do not count."""
        label = label_of(row)
        size = working_size(*label.shape)
        image, known = shrink_image(image_of(row), size), _shrunk(label, size)
        classes = classes_in(known)
        if not classes:
            return Heard(1.0)
        masks = np.stack([known == class_id for class_id in classes])
        ious = [self._iou(image, masks, index, known != IGNORE) for index in range(len(classes))]
        lowest = int(np.argmin(ious))
        if ious[lowest] >= self.least:
            return Heard(ious[lowest])
        name = self.classes[classes[lowest] - 1]
        return Heard(ious[lowest], f"a segmenter sees another {name}: IoU {ious[lowest]:.2f} with its mask")

    def _iou(self, image: Label, masks: npt.NDArray[np.bool_], index: int, known: npt.NDArray[np.bool_]) -> float:
        labels = np.stack([~masks.any(axis=0), *masks])
        probabilities = np.where(labels, SURE, (1 - SURE) / len(masks)).astype(np.float32)
        regions = regions_of(index + 1, masks[index])
        found = find_objects(
            self.segmenter,
            image,
            regions,
            probabilities,
            np.ones(known.shape, np.float32),
            parts=PromptParts(),
            rounds=1,
            min_agreement=0.0,
        )
        if not found:
            return 1.0  # nothing large enough to ask about
        union = np.any([one.logits > 0 for one in found], axis=0)
        return iou(masks[index] & known, union & known)


@dataclass(frozen=True, slots=True)
class ConceptAgreement:
    """How far a model that is told nothing but the names of the classes finds the same masks.

    Attributes:
        segmenter: What is asked.
        terms: Of each class what it is called, in the order of the class ids from 1 up.
        least: The IoU that the mask of each class must have with what is found by its name.
    """

    segmenter: ConceptSegmenter
    terms: Sequence[str]
    least: float = 0.7

    def __post_init__(self) -> None:
        _check_share(self.least)

    @property
    def filter(self) -> str:
        """Its name."""
        return "concepts"

    def about(self, row: Mapping[str, Any]) -> Heard:
        """The lowest IoU of a class with what is found by its name, 0 where nothing is; unsure pixels do not count."""
        image, label = image_of(row), label_of(row)
        classes = classes_in(label)
        found = self.segmenter.find(image, [self.terms[class_id - 1] for class_id in classes])
        heard = [self._heard(label, class_id, concept) for class_id, concept in zip(classes, found, strict=True)]
        return min(heard, key=lambda one: one.score, default=Heard(1.0))

    def _heard(self, label: Label, class_id: int, concept: Concept) -> Heard:
        term, known = self.terms[class_id - 1], label != IGNORE
        if concept.presence < PRESENT:
            return Heard(0.0, f"no {term} is found by its name (presence {concept.presence:.2f})")
        score = iou((label == class_id) & known, (concept.probabilities > PRESENT) & known)
        if score >= self.least:
            return Heard(score)
        return Heard(score, f"by its name, another {term} is found: IoU {score:.2f} with its mask")


@dataclass(frozen=True, slots=True)
class FlipStability:
    """Whether the masks stay when the image is mirrored and labelled anew.

    Attributes:
        mirrored: Gives of a row the IoU of each class's mask with that of the mirrored image, by class id.
        classes: The names of the classes, in the order of the class ids from 1 up.
        least: The IoU that each class must have.
    """

    mirrored: Callable[[Mapping[str, Any]], Mapping[int, float]]
    classes: Sequence[str]
    least: float = STABLE

    @property
    def filter(self) -> str:
        """Its name."""
        return "flip"

    def about(self, row: Mapping[str, Any]) -> Heard:
        """The lowest IoU of a class."""
        ious = self.mirrored(row)
        if not ious:
            return Heard(1.0)
        class_id = min(ious, key=lambda number: (ious[number], number))
        if ious[class_id] >= self.least:
            return Heard(ious[class_id])
        name = self.classes[class_id - 1]
        return Heard(ious[class_id], f"mirrored, the image has another {name}: IoU {ious[class_id]:.2f}")


def _check_share(least: float) -> None:
    if not 0 <= least <= 1:
        raise RecipeError(f"the least agreement lies in [0, 1], got {least}")


def _shrunk(label: Label, size: tuple[int, int]) -> Label:
    """A label at ``size`` (height, width), each pixel that of the nearest one."""
    rows, columns = (np.arange(new) * old // new for new, old in zip(size, label.shape, strict=True))
    return np.asarray(label[np.ix_(rows, columns)])
