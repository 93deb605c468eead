"""YOLO exports: polygons, drawn as each reader does, and masks of the semantic task."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from diffumask_datasets.sample import BACKGROUND_NAME, IGNORE
from tests.readers.exported import Export
from tests.readers.reading import Reading, number_of, renumbered


def by_supervision(folder: Path, export: Export) -> Iterator[Reading]:
    """Polygons drawn as supervision does."""
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
    """``check_det_dataset`` and ``verify_image_label``, from another folder; polygons drawn by ``polygon2mask``."""
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


def by_ultralytics_semantic(folder: Path, export: Export) -> Iterator[Reading]:
    """``check_det_dataset``, then ``verify_image_mask`` and ``read_mask`` as its ``SemanticDataset`` calls them."""
    from ultralytics.data.utils import check_det_dataset, img2label_paths, read_mask, verify_image_mask

    data = check_det_dataset(str(folder / "data.yaml"), autodownload=False)
    known = (BACKGROUND_NAME, *export.classes)
    numbers = {number: number_of(name, known) - 1 for number, name in data["names"].items()}
    values = np.arange(256)
    invalid = ((values >= len(data["names"])) & (values != IGNORE)).astype(np.uint8)
    for split in ("train", "val"):
        for path in sorted(Path(data[split]).iterdir()):
            mask = img2label_paths([str(path)], label_dir=data["masks_dir"], suffix=".png")[0]
            _, found, _, mode, missing, read, corrupt, message = verify_image_mask((str(path), mask, "", invalid))
            assert (found, missing, read, corrupt, message) == (mask, 0, 1, 0, "")
            mask_values = renumbered(read_mask(mask, mode), {**numbers, IGNORE: IGNORE})
            yield Reading(path.stem, np.asarray(Image.open(path)), mask=mask_values)
