"""YOLO exports: polygons, painted as each reader does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from tests.readers.exported import Export
from tests.readers.reading import Reading, number_of


def by_supervision(folder: Path, export: Export) -> Iterator[Reading]:
    """Polygons painted as supervision does."""
    import supervision

    for split in ("train", "val"):
        read = supervision.DetectionDataset.from_yolo(
            images_directory_path=str(folder / "images" / split),
            annotations_directory_path=str(folder / "labels" / split),
            data_yaml_path=str(folder / "data.yaml"),
            force_masks=True,
        )
        for path, image, found in read:
            numbers = [number_of(read.classes[number], export.classes) for number in found.class_id]
            objects = list(zip(numbers, found.mask.astype(bool), strict=True))
            yield Reading(Path(path).stem, image[..., ::-1], objects=objects)


def by_ultralytics(folder: Path, export: Export) -> Iterator[Reading]:
    """``check_det_dataset`` and ``verify_image_label``, from another folder; polygons painted by ``polygon2mask``."""
    from ultralytics.data.utils import check_det_dataset, img2label_paths, polygon2mask, verify_image_label

    data = check_det_dataset(str(folder / "data.yaml"), autodownload=False)
    for split in ("train", "val"):
        for path in sorted(Path(data[split]).iterdir()):
            label = img2label_paths([str(path)])[0]
            read = verify_image_label((str(path), label, "", False, len(data["names"]), 0, 0, False))
            _, rows, (height, width), segments, _, missing, found, empty, corrupt, message = read
            assert (missing, found, empty, corrupt, message) == (0, 1, 0, 0, "")
            numbers = [number_of(data["names"][int(row[0])], export.classes) for row in rows]
            masks = [
                polygon2mask((height, width), [(segment * (width, height)).reshape(-1)]).astype(bool)
                for segment in segments
            ]
            yield Reading(path.stem, np.asarray(Image.open(path)), objects=list(zip(numbers, masks, strict=True)))
