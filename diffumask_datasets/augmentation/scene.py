"""What an augmentation works on: the pixels of a sample, and who its instances are."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from diffumask_datasets.augmentation.resizing import smooth
from diffumask_datasets.dataset.schema import AMODAL, HEAT_MAPS, THRESHOLD_CURVE, Row, decode_label, image_of, label_of
from diffumask_datasets.errors import DataError
from diffumask_datasets.masks.quantization import soft_size
from diffumask_datasets.masks.rle import area, bbox_xywh, decode, encode, encode_instances
from diffumask_datasets.sample import IGNORE, check_array

__all__ = [
    "HeatMaps",
    "Origin",
    "Others",
    "Part",
    "Region",
    "Scene",
    "Thing",
    "annotate",
    "changed_columns",
    "joined",
    "scene_of",
    "tidied",
]

HeatMaps = Mapping[int, npt.NDArray[np.uint8]]

Region = tuple[slice, slice]

Part = tuple[Region, npt.NDArray[np.bool_]]
"""A mask that lies within a region of an image."""


@dataclass(frozen=True, slots=True)
class Thing:
    """One instance: its class id, and its score in [0, 1]."""

    category: int
    score: float


@dataclass(frozen=True, slots=True)
class Origin:
    """What is known of a sample that lent pixels: prompt, γ per class id, quality, its cell of ``threshold_curve``."""

    prompt: str = ""
    thresholds: Mapping[int, float] = field(default_factory=dict)
    quality: float = 0.0
    curves: Mapping[str, Sequence[Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A sample in pixels; arrays share height and width.

    ``label`` is the semantic mask; pixel value n > 0 of ``instances`` means ``things[n - 1]``. ``heat_maps`` are soft maps
    by class id, as large as the image. ``origins`` are the samples it was made of. ``amodal`` are the masks of ``things``
    with what others hide of them, where that is known.
    """

    image: npt.NDArray[np.uint8]  # (height, width, 3) RGB
    label: npt.NDArray[np.uint8]  # (height, width)
    instances: npt.NDArray[np.int32]  # (height, width)
    things: tuple[Thing, ...] = ()
    origins: tuple[Origin, ...] = (Origin(),)
    heat_maps: HeatMaps = field(default_factory=dict)
    amodal: tuple[Part, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        height, width = self.label.shape
        return height, width

    def replaced(self, **changes: Any) -> Scene:
        """The same scene with other fields."""
        return dataclasses.replace(self, **changes)


Others = Callable[[int, np.random.Generator], Sequence[Scene]]
"""As many other samples as asked for, drawn with the generator."""


def scene_of(row: Row) -> Scene:
    """The scene of a ``default`` row, encoded or decoded. Where objects overlap, the later one owns the pixel.

    Raises:
        DataError: no image or label, or not as ``datasets.Image`` gives them.
        ShapeError: image, label and objects differ in size, or the image is not RGB.
    """
    _check_pictures(row)
    image = np.ascontiguousarray(image_of(row))
    label = np.ascontiguousarray(label_of(row))
    height, width = check_array("label", label, shape=("height", "width"), dtype="uint8")
    check_array("image", image, shape=(height, width, 3), dtype="uint8")
    instances = np.zeros((height, width), np.int32)
    objects = row.get("objects") or {"category": [], "segmentation": [], "score": []}
    for number, rle in enumerate(objects["segmentation"], start=1):
        instances[decode(rle, (height, width))] = number
    scores = objects.get("score") or [1.0] * len(objects["category"])
    things = tuple(
        Thing(int(category), float(score)) for category, score in zip(objects["category"], scores, strict=True)
    )
    amodal = _amodal(row, things, (height, width))
    return Scene(image, label, instances, things, (_origin(row),), _heat_maps(row, height, width), amodal)


def tidied(scene: Scene) -> Scene:
    """The scene with instances numbered from 1 without gaps; those that have no pixel left are gone."""
    counts = np.bincount(scene.instances.ravel(), minlength=len(scene.things) + 1)
    kept = counts > 0
    kept[0] = False
    if kept[1:].all():
        return scene
    numbers = np.where(kept, np.cumsum(kept), 0).astype(np.int32)
    things, amodal = (tuple(itertools.compress(parts, kept[1:])) for parts in (scene.things, scene.amodal))
    return scene.replaced(instances=numbers[scene.instances], things=things, amodal=amodal)


def joined(scenes: Sequence[Scene]) -> tuple[tuple[Thing, ...], tuple[Origin, ...], list[int]]:
    """Things and origins of several scenes in one, and by how much the instance ids of each are moved up."""
    things = tuple(thing for scene in scenes for thing in scene.things)
    origins = tuple(origin for scene in scenes for origin in scene.origins)
    ends = np.cumsum([len(scene.things) for scene in scenes])
    return things, origins, [0, *ends[:-1].tolist()]


def annotate(scene: Scene) -> Row:
    """The columns of a row that follow from the pixels of a tidy scene: objects, classes, threshold, quality, prompt."""
    encoded = encode_instances(scene.instances, len(scene.things))
    present = np.flatnonzero(np.bincount(scene.label.ravel(), minlength=256)).tolist()
    classes = [value for value in present if value not in (0, IGNORE)]
    return {
        "objects": {
            "id": list(range(1, len(encoded) + 1)),
            "category": [thing.category for thing in scene.things],
            "bbox": [list(bbox_xywh(rle)) for rle in encoded],
            "area": [area(rle) for rle in encoded],
            "segmentation": [dict(rle) for rle in encoded],
            "score": [thing.score for thing in scene.things],
        },
        "classes": classes,
        "threshold": [
            _mean([origin.thresholds[c] for origin in scene.origins if c in origin.thresholds]) for c in classes
        ],
        "quality": _mean([origin.quality for origin in scene.origins]),
        "prompt": " | ".join(dict.fromkeys(origin.prompt for origin in scene.origins)),
    }


def changed_columns(scene: Scene, row: Row, cell_of: Callable[[npt.NDArray[np.uint8]], Any]) -> Row:
    """Makes the columns anew that the pixels of a scene decide.

    Args:
        scene: A tidy scene.
        row: The row that it came from.
        cell_of: Makes the cell of a picture.

    Returns:
        Column → cell.
    """
    made: Row = {name: cell for name, cell in annotate(scene).items() if name in row}
    made |= {"image": cell_of(scene.image), "label": cell_of(scene.label)}
    if row.get(HEAT_MAPS):
        height, width = soft_size(*scene.size)
        maps = {category: cell_of(smooth(soft, height, width)) for category, soft in sorted(scene.heat_maps.items())}
        made[HEAT_MAPS] = {"category": list(maps), "map": list(maps.values())}
    if AMODAL in row:
        made[AMODAL] = [_whole(part, scene.size) for part in scene.amodal] if scene.amodal or not scene.things else None
    if row.get(THRESHOLD_CURVE):
        # One of each sample after the other, as none is true of the whole.
        curves = [origin.curves for origin in scene.origins if origin.curves]
        made[THRESHOLD_CURVE] = {
            name: [value for cell in curves for value in cell[name]] for name in row[THRESHOLD_CURVE]
        }
    return made


def _check_pictures(row: Row) -> None:
    for name in ("image", "label"):
        cell = row.get(name)
        if not isinstance(cell, (Image.Image, Mapping)):
            raise DataError(
                f"column {name}: expected a picture as datasets.Image gives it, got {type(cell).__name__}; augmentation "
                f"takes rows of the config default, without with_format (columns: {', '.join(row)})"
            )


def _origin(row: Row) -> Origin:
    thresholds = dict(zip(row.get("classes") or (), row.get("threshold") or (), strict=False))
    # Annotations of others come without an estimate of their quality, and are taken as they are.
    quality = 1.0 if row.get("quality") is None else float(row["quality"])
    return Origin(str(row.get("prompt") or ""), thresholds, quality, row.get(THRESHOLD_CURVE) or {})


def _heat_maps(row: Row, height: int, width: int) -> HeatMaps:
    column = row.get(HEAT_MAPS)
    if not column:
        return {}
    cells = zip(column["category"], column["map"], strict=True)
    return {category: smooth(decode_label(cell), height, width) for category, cell in cells}


def _amodal(row: Row, things: Sequence[Thing], size: tuple[int, int]) -> tuple[Part, ...]:
    """Those that the row has, where it has them of all its objects."""
    masks = row.get(AMODAL) or ()
    everywhere = (slice(None), slice(None))
    return tuple((everywhere, decode(rle, size)) for rle in masks) if len(masks) == len(things) else ()


def _whole(part: Part, size: tuple[int, int]) -> dict[str, Any]:
    region, inside = part
    mask = np.zeros(size, bool)
    mask[region] = inside
    return dict(encode(mask))


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else 0.0
