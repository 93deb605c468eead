"""Datasets drawn for the tests of exporters: any mask, any objects, without a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import numpy.typing as npt

from diffumask_datasets.dataset.schema import features_of, png_cell
from diffumask_datasets.exporters import ExportSample
from diffumask_datasets.masks import rle

CLASSES = ("car", "potted plant", "boat")

Values = npt.NDArray[np.uint8]


def made_row(label: Values, objects: Sequence[tuple[int, npt.NDArray[np.bool_]]], *, sample_id: str = "made-0") -> dict:
    """A ``default`` row: a semantic mask and (class id, mask) of each object; the image is noise."""
    runs = [rle.encode(mask) for _, mask in objects]
    noise = np.random.default_rng(len(sample_id) + label.size).integers(0, 256, (*label.shape, 3), dtype=np.uint8)
    return {
        "sample_id": sample_id,
        "image": png_cell(noise),
        "label": png_cell(label),
        "objects": {
            "id": list(range(1, len(objects) + 1)),
            "category": [category for category, _ in objects],
            "bbox": [list(rle.bbox_xywh(run)) for run in runs],
            "area": [rle.area(run) for run in runs],
            "segmentation": runs,
            "score": [0.5] * len(objects),
        },
        "classes": [int(value) for value in np.unique(label) if value not in (0, 255)],
        "prompt": f"a photo of {sample_id}",
        "seed": 3,
        "model": "planted",
        "threshold": [0.5 for value in np.unique(label) if value not in (0, 255)],
        "quality": 0.75,
    }


def row_of_instances(instances: npt.NDArray[np.integer], *, sample_id: str = "made-0", classes: int = 3) -> dict:
    """A row of an instance map: 0 background, 255 unsure, any other number an object of class 1 + number % classes."""
    numbers = [int(number) for number in np.unique(instances) if number not in (0, 255)]
    label = np.where(instances == 255, 255, 0).astype(np.uint8)
    for number in numbers:
        label[instances == number] = 1 + number % classes
    return made_row(label, [(1 + number % classes, instances == number) for number in numbers], sample_id=sample_id)


def drawn(number: int, *, height: int = 40, width: int = 56) -> dict:
    """Sample ``number`` of a small world: a disc with a hole, a bar that touches it, a pixel, an unsure band."""
    rows, columns = np.mgrid[:height, :width]
    distance = np.hypot(rows - 14, columns - 12 - number % 7)
    instances = np.zeros((height, width), dtype=np.int64)
    instances[(distance < 10) & (distance > 3)] = 1
    instances[24:30, 5:40] = 2
    instances[35, 50] = 3
    instances[30:32, 5:40] = 255
    return row_of_instances(instances, sample_id=f"made-{number:04d}")


def dataset(rows: Sequence[Mapping[str, Any]], *, classes: Sequence[str] = CLASSES, split: str = "train") -> Any:
    """The rows as a map-style dataset."""
    return datasets.Dataset.from_list(
        [dict(row) for row in rows], features=features_of(classes), split=datasets.Split(split)
    )


def sample_of(row: Mapping[str, Any], *, classes: int = 3) -> ExportSample:
    """The row as exporters see it."""
    return ExportSample.of(dict(row), split="train", ordinal=1, position=0, class_count=classes)


def instance_maps(*, most: int = 6) -> st.SearchStrategy[npt.NDArray[np.uint8]]:
    """Small non-square instance maps in which holes, single pixels, touching instances and 255 areas are common."""
    shapes = st.tuples(st.integers(1, 17), st.integers(1, 23))
    cells = st.sampled_from([0, *range(1, most + 1), 255])
    coarse = hnp.arrays(np.uint8, shapes, elements=cells, fill=st.sampled_from([0, 1]))
    return st.builds(
        lambda small, zoom: np.kron(small, np.ones((zoom, zoom), np.uint8)), coarse, st.sampled_from([1, 2])
    )


def extreme_maps() -> dict[str, npt.NDArray[np.int64]]:
    """The cases that break encoders, by name."""
    full = np.ones((9, 31), dtype=np.int64)
    ring = np.pad(np.zeros((3, 5), dtype=np.int64), 2, constant_values=1)
    nested = ring.copy()
    nested[3, 4] = 2
    return {
        "full image": full,
        "one pixel": np.pad(np.ones((1, 1), dtype=np.int64), ((0, 7), (11, 0))),
        "hole": ring,
        "object in a hole": nested,
        "diagonal": np.eye(12, dtype=np.int64),
        "checkerboard": np.indices((8, 13)).sum(axis=0) % 2,
        "comb": np.repeat([[1, 0, 1, 0, 1, 2]], 7, axis=0),
        "all unsure": np.full((5, 6), 255),
        "nothing": np.zeros((5, 6), dtype=np.int64),
    }


def tree(folder: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
