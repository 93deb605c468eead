"""The data type shared by all modules: one image, its mask, its objects and its provenance; and class ids.

Class ids: 0 is background, 1..K are the classes in the order given, 255 is ignored.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

from diffumask_datasets.errors import DataError, ShapeError, UnknownClassError, suggestion

__all__ = [
    "BACKGROUND",
    "BACKGROUND_NAME",
    "IGNORE",
    "MAX_CLASS_ID",
    "ObjectAnnotation",
    "Rle",
    "Sample",
    "ThresholdCurve",
    "check_array",
    "check_known",
    "check_sample_id",
    "id2label",
]

BACKGROUND = 0
"""Semantic mask value of pixels that belong to no class."""

BACKGROUND_NAME = "background"

IGNORE = 255
"""Semantic mask value of pixels that nobody should train or be judged on."""

MAX_CLASS_ID = 254
"""Class ids are 1..254: 0 is background and 255 is ignore."""

_SAMPLE_ID = re.compile(r"\w[\w-]*(\.\w[\w-]*)*")
_LONGEST_SAMPLE_ID = 128
"""Bytes of UTF-8: exports add to an id what tells their files apart, and a file name has 255."""


class Rle(TypedDict):
    """COCO run-length encoding: ``size`` is [height, width], ``counts`` the compressed column-major runs."""

    size: list[int]
    counts: str


@dataclass(frozen=True, slots=True)
class ObjectAnnotation:
    """One instance. ``category`` is a class id (1..254), boxes are pixels, ``area`` counts mask pixels.

    ``instance_id`` is its value in ``Sample.instances`` (from 1); ``score`` in [0, 1] is the mean probability of its class
    over its pixels, from attention alone (refined probabilities are all close to 1 and tell nothing).
    """

    instance_id: int
    category: int
    bbox_xywh: tuple[float, float, float, float]
    area: int
    segmentation: Rle
    score: float


@dataclass(frozen=True, slots=True)
class ThresholdCurve:
    """The γ that were tried for one class, ascending, and what spoke for each; empty where γ was not searched for."""

    gammas: tuple[float, ...] = ()
    scores: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One labelled image; arrays share height and width. Compared by identity, as arrays have no single equality.

    ``label`` is the semantic mask (0 background, 1..254 class ids, 255 ignore), ``instances`` 0 or an instance id.
    ``prompted`` are the class ids that the prompt names, in its order, and ``classes`` those visible in ``label``.
    ``thresholds`` (γ), ``threshold_curves`` and ``heat_maps`` (0 stands for 0.0 and 255 for 1.0; often smaller than the
    image) hold one entry per class of ``prompted``.
    ``quality`` lies in [0, 1].

    Raises:
        ShapeError: an array of the wrong shape or dtype, or a number out of its range; says expected and actual.
    """

    sample_id: str
    image: npt.NDArray[np.uint8]  # (height, width, 3) RGB
    label: npt.NDArray[np.uint8]  # (height, width)
    instances: npt.NDArray[np.uint16]  # (height, width)
    objects: tuple[ObjectAnnotation, ...]
    prompted: tuple[int, ...]
    classes: tuple[int, ...]
    prompt: str
    seed: int
    model: str
    thresholds: tuple[float, ...]
    quality: float
    heat_maps: npt.NDArray[np.uint8] | None = None  # (classes prompted, any height, any width)
    threshold_curves: tuple[ThresholdCurve, ...] | None = None

    def __post_init__(self) -> None:
        height, width, _ = check_array("image", self.image, shape=("height", "width", 3), dtype="uint8")
        check_array("label", self.label, shape=(height, width), dtype="uint8")
        check_array("instances", self.instances, shape=(height, width), dtype="uint16")
        if len(self.thresholds) != len(self.prompted):
            raise ShapeError(f"thresholds: expected one of each of {len(self.prompted)} classes, got {self.thresholds}")
        if self.heat_maps is not None:
            check_array("heat_maps", self.heat_maps, shape=(len(self.prompted), "height", "width"), dtype="uint8")
        if not all(1 <= class_id <= MAX_CLASS_ID for class_id in self.classes):
            raise ShapeError(f"classes: expected class ids in 1..{MAX_CLASS_ID}, got {self.classes}")
        if not 0 <= self.quality <= 1:
            raise ShapeError(f"quality: expected a number in [0, 1], got {self.quality}")

    @property
    def maskless(self) -> tuple[int, ...]:
        """The class ids that were prompted and are not visible, ascending."""
        return tuple(sorted(set(self.prompted) - set(self.classes)))


def check_sample_id(sample_id: object) -> str:
    """The sample id, once it is known to be one: ids become file names and keys.

    Raises:
        DataError: no text, too long, or a character that file names do not have everywhere.
    """
    if (
        not isinstance(sample_id, str)
        or not _SAMPLE_ID.fullmatch(sample_id)
        or len(sample_id.encode()) > _LONGEST_SAMPLE_ID
    ):
        shown = repr(sample_id)
        raise DataError(
            f"invalid sample_id {shown if len(shown) < 80 else shown[:77] + '…'}: expected letters, digits, '_', '-' and "
            f"single '.' between them, at most {_LONGEST_SAMPLE_ID} bytes; rename it"
        )
    return sample_id


def check_array(name: str, array: npt.NDArray[Any], *, shape: tuple[int | str, ...], dtype: str) -> tuple[int, ...]:
    """Checks shape and dtype of an array.

    Args:
        name: What messages call it.
        array: The array.
        shape: Numbers must match, a word stands for any size from 1 up.
        dtype: The dtype.

    Returns:
        The array's shape.

    Raises:
        ShapeError: It does not fit, e.g. ``image: expected uint8 (height, width, 3), got float32 (8, 8, 3)``.
    """
    given = np.asarray(array)
    sizes_fit = given.ndim == len(shape) and all(
        size >= 1 if isinstance(wanted, str) else size == wanted
        for size, wanted in zip(given.shape, shape, strict=True)
    )
    if not (sizes_fit and given.dtype == np.dtype(dtype) and isinstance(array, np.ndarray)):
        expected = ", ".join(str(size) for size in shape)
        raise ShapeError(f"{name}: expected {dtype} ({expected}), got {_describe(array)}")
    return given.shape


def _describe(array: object) -> str:
    if not isinstance(array, np.ndarray):
        return type(array).__name__
    return f"{array.dtype} ({', '.join(str(size) for size in array.shape)})"


def id2label(classes: Sequence[str]) -> dict[int, str]:
    """Class id → name, background included, as transformers' ``id2label.json`` holds it."""
    return dict(enumerate([BACKGROUND_NAME, *classes]))


def check_known(classes: Sequence[str], known: Sequence[str], *, model: str) -> None:
    """Checks the classes of a model that knows a closed list of them.

    Args:
        classes: The classes.
        known: The list.
        model: The model's name, for messages.

    Raises:
        UnknownClassError: A class is not on it; says which name is near.
    """
    for name in classes:
        if name.lower() not in known:
            raise UnknownClassError(
                f"the model {model!r} cannot generate {name!r}{suggestion(name, known)}; it knows: {', '.join(known)}"
            )
