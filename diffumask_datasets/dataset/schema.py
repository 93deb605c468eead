"""Sample ↔ row of a ``datasets.Dataset``: the one place that knows the columns of the config ``default``.

A row is a plain dict whose images are encoded bytes, ``{"bytes": png, "path": None}``, as ``datasets.Image`` keeps them.
The other configs are views of these rows: see :mod:`diffumask_datasets.dataset.views`.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import datasets
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image

from diffumask_datasets.dataset.image_io import Pixels, read_image, read_label
from diffumask_datasets.errors import DataError, ExportError, short_repr
from diffumask_datasets.sample import BACKGROUND_NAME, ObjectAnnotation, Rle, Sample

__all__ = [
    "AMODAL",
    "FILTERS",
    "HEAT_MAPS",
    "OPINIONS",
    "REQUIRED",
    "THRESHOLD_CURVE",
    "Row",
    "class_names",
    "decode_image",
    "decode_label",
    "element_of",
    "encoded_bytes",
    "features_of",
    "from_payload",
    "image_of",
    "label_of",
    "objects_of",
    "png_cell",
    "row_of",
    "soft_maps_of",
    "to_payload",
    "without_heat_maps",
    "without_threshold_curve",
]

Row = dict[str, Any]
"""Column name → cell."""

HEAT_MAPS = "heat_maps"
"""The optional column: soft maps, from which other masks can be made without generating again."""

AMODAL = "amodal"
"""The optional column: the masks of the objects, in their order, with what others hide of them; None where unknown."""

REQUIRED = ("sample_id", "image", "label", "objects")
"""The columns without which a row is no labelled image; the others tell how it was made."""

THRESHOLD_CURVE = "threshold_curve"
"""The optional column: for each class prompted, the γ that were tried and what spoke for each."""


OPINIONS = "opinions"
"""The optional column: the scores that models gave to a curated sample; null where one was not asked."""

FILTERS = ("presence", "segmenter", "concepts", "question", "flip")
"""Whose they are."""


def row_of(sample: Sample) -> Row:
    """The ``default`` row of a sample."""
    visible = dict(zip(sample.prompted, sample.thresholds, strict=True))
    row: Row = {
        "sample_id": sample.sample_id,
        "image": png_cell(sample.image),
        "label": png_cell(sample.label),
        "objects": {
            "id": [found.instance_id for found in sample.objects],
            "category": [found.category for found in sample.objects],
            "bbox": [list(found.bbox_xywh) for found in sample.objects],
            "area": [found.area for found in sample.objects],
            "segmentation": [dict(found.segmentation) for found in sample.objects],
            "score": [found.score for found in sample.objects],
        },
        "classes": list(sample.classes),
        "prompt": sample.prompt,
        "seed": sample.seed,
        "model": sample.model,
        "threshold": [visible[category] for category in sample.classes],
        "quality": sample.quality,
    }
    if sample.heat_maps is not None:
        row[HEAT_MAPS] = {"category": list(sample.prompted), "map": [png_cell(soft) for soft in sample.heat_maps]}
    if sample.threshold_curves is not None:
        row[THRESHOLD_CURVE] = {
            "category": list(sample.prompted),
            "gamma": [list(curve.gammas) for curve in sample.threshold_curves],
            "score": [list(curve.scores) for curve in sample.threshold_curves],
        }
    return row


def soft_maps_of(row: Row) -> tuple[tuple[int, ...], npt.NDArray[np.uint8]]:
    """The class ids prompted and their soft maps, uint8 (classes, any height, any width).

    Raises:
        ExportError: the row has no heat maps.
        DataError: one of them cannot be read.
    """
    cell = row.get(HEAT_MAPS)
    if not cell or not cell["map"]:
        raise ExportError(f"{row.get('sample_id', 'a row')} has no heat maps: generate with keep_heat_maps=True")
    return tuple(cell["category"]), np.stack([decode_label(soft) for soft in cell["map"]])


def without_threshold_curve(row: Row) -> Row:
    """The row without its thresholds' scores."""
    return {name: cell for name, cell in row.items() if name != THRESHOLD_CURVE}


def without_heat_maps(row: Row) -> Row:
    """The row without its soft maps."""
    return {name: cell for name, cell in row.items() if name != HEAT_MAPS}


def features_of(
    classes: Sequence[str],
    *,
    heat_maps: bool = False,
    threshold_curve: bool = False,
    amodal: bool = False,
    opinions: bool = False,
) -> datasets.Features:
    """Gives the features of the ``default`` config.

    Args:
        classes: The names of the values 1..K of ``label``, in order.
        heat_maps: Whether there is the column ``heat_maps``.
        threshold_curve: Whether there is the column ``threshold_curve``.
        amodal: Whether there is the column ``amodal``.
        opinions: Whether there is the column ``opinions``.

    Returns:
        The features.
    """
    category = datasets.ClassLabel(names=[BACKGROUND_NAME, *classes])
    masks = [{"size": [datasets.Value("int32")], "counts": datasets.Value("string")}]
    columns: dict[str, Any] = {
        "sample_id": datasets.Value("string"),
        "image": datasets.Image(),
        "label": datasets.Image(),
        "objects": {
            "id": [datasets.Value("int32")],
            "category": [category],
            "bbox": [[datasets.Value("float32")]],
            "area": [datasets.Value("int64")],
            "segmentation": masks,
            "score": [datasets.Value("float32")],
        },
        "classes": [category],
        "prompt": datasets.Value("string"),
        "seed": datasets.Value("int64"),
        "model": datasets.Value("string"),
        "threshold": [datasets.Value("float32")],
        "quality": datasets.Value("float32"),
    }
    if heat_maps:
        columns[HEAT_MAPS] = {"category": [category], "map": [datasets.Image()]}
    if threshold_curve:
        numbers = [[datasets.Value("float32")]]
        columns[THRESHOLD_CURVE] = {"category": [category], "gamma": numbers, "score": numbers}
    if amodal:
        columns[AMODAL] = masks
    if opinions:
        columns[OPINIONS] = {name: datasets.Value("float32") for name in FILTERS}
    return datasets.Features(columns)


def to_payload(row: Row, features: datasets.Features) -> bytes:
    """A row as one Arrow record batch, for the sample store."""
    sink = io.BytesIO()
    schema = features.arrow_schema
    with pa.ipc.new_stream(sink, schema) as writer:
        writer.write_table(pa.Table.from_pylist([row], schema=schema))
    return sink.getvalue()


def from_payload(payload: bytes) -> Row:
    """The row that :func:`to_payload` wrote."""
    with pa.ipc.open_stream(payload) as reader:
        row: Row = reader.read_all().to_pylist()[0]
    return row


def quality_of(payload: bytes) -> float:
    """The quality of the row that :func:`to_payload` wrote; nothing else of it is decoded."""
    with pa.ipc.open_stream(payload) as reader:
        quality: float = reader.read_all()["quality"][0].as_py()
    return quality


def class_names(features: Mapping[str, Any]) -> tuple[str, ...]:
    """The classes 1..K, in order, that the features of a ``default`` dataset name."""
    return tuple(element_of(features["objects"]["category"]).names[1:])


def element_of(feature: Any) -> Any:
    """The feature of the elements of a list: datasets 3 has lists where 4 has ``List``."""
    return feature[0] if isinstance(feature, list) else feature.feature


def objects_of(row: Row) -> tuple[ObjectAnnotation, ...]:
    """The instances of a row, in its order."""
    cell = row["objects"]
    fields = zip(*(cell[name] for name in ("id", "category", "bbox", "area", "segmentation", "score")), strict=True)
    return tuple(
        ObjectAnnotation(number, category, tuple(bbox), area, Rle(size=list(rle["size"]), counts=rle["counts"]), score)
        for number, category, bbox, area, rle, score in fields
    )


def encoded_bytes(cell: Any) -> bytes:
    """The image file that an encoded image cell holds.

    Raises:
        DataError: it holds none. The path of a cell is never opened: whoever made the row may have named any file there.
    """
    data = cell.get("bytes") if isinstance(cell, Mapping) else None
    if isinstance(data, bytes) and data:
        return data
    if isinstance(cell, Mapping) and cell.get("path"):
        raise DataError(
            f"it is the path {short_repr(cell['path'])} and not opened, as a row that others made may name any file of this "
            "machine; put its bytes into the row, as to_parquet of datasets does"
        )
    raise DataError(f"expected a picture as datasets.Image keeps it, got {short_repr(cell)}")


def decode_image(cell: Any, *, name: str = "an image") -> Pixels:
    """The pixels of an image cell, encoded or decoded: upright RGB, uint8 (height, width, 3).

    Raises:
        DataError: it cannot be read; calls it ``name``. See :func:`diffumask_datasets.dataset.image_io.read_image`.
    """
    return read_image(_source(cell), name=name)


def decode_label(cell: Any, *, name: str = "a mask") -> Pixels:
    """The exact values of a mask or soft map, encoded or decoded: uint8 (height, width).

    Raises:
        DataError: it cannot be read; calls it ``name``. See :func:`diffumask_datasets.dataset.image_io.read_label`.
    """
    return read_label(_source(cell), name=name)


def image_of(row: Mapping[str, Any]) -> Pixels:
    """The image of a row, as :func:`decode_image` gives it; an error names the sample."""
    return decode_image(row["image"], name=f"the image of sample {row.get('sample_id', '?')}")


def label_of(row: Mapping[str, Any]) -> Pixels:
    """The semantic mask of a row, as :func:`decode_label` gives it; an error names the sample."""
    return decode_label(row["label"], name=f"the mask of sample {row.get('sample_id', '?')}")


def _source(cell: Any) -> bytes | Image.Image:
    return cell if isinstance(cell, Image.Image) else encoded_bytes(cell)


def png_cell(pixels: npt.NDArray[np.uint8]) -> Row:
    """An image cell, lossless, of uint8 (height, width) or (height, width, 3) pixels."""
    # Encoded here: datasets stores a palette image as TIFF and maps palette indices to grey levels.
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return {"bytes": buffer.getvalue(), "path": None}
