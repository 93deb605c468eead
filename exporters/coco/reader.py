"""Reads a COCO export by pycocotools, and panoptic pictures by their definition."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools.coco import COCO

from diffumask_datasets.dataset.image_io import open_image
from diffumask_datasets.errors import ExportError
from diffumask_datasets.exporters.coco.convert import (
    panoptic_segments,
    segment_ids,
    stuff_annotations,
    stuff_map,
)
from diffumask_datasets.exporters.coco.writer import CocoWriter
from diffumask_datasets.exporters.contents import Contents, ExportSample
from diffumask_datasets.exporters.protocol import Check, Tally
from diffumask_datasets.recipes.json_reader import read_json

__all__ = ["CocoReader", "load_coco"]

ANNOTATION_BYTES = 4 * 2**30
"""Size of the largest annotation file that is read; that of COCO's 118,000 training images has 450 MB."""


class CocoReader:
    """A finished COCO export. Its JSON is held in memory, as pycocotools does."""

    def __init__(self, folder: Path, contents: Contents, writer: CocoWriter) -> None:
        self._folder, self._contents, self._writer = folder, contents, writer

    @cached_property
    def _files(self) -> dict[tuple[str, str], Any]:
        return {
            (part, split): load_coco(self._folder / self._writer.annotation_file(part, split))
            for part in self._writer.parts
            for split in self._contents.splits
        }

    @cached_property
    def _image_ids(self) -> dict[tuple[str, str, str], int]:
        return {
            (part, split, image["file_name"]): image["id"]
            for (part, split), file in self._files.items()
            for image in file.dataset["images"]
        }

    def checks(self) -> Iterator[Check]:
        """pycocotools loads each JSON; ids are unique and every annotation has its image and category."""
        for (part, split), file in self._files.items():
            annotations, images = file.dataset["annotations"], file.dataset["images"]
            ids = [annotation.get("id", annotation["image_id"]) for annotation in annotations]
            known = {image["id"] for image in images}
            whole = len(set(ids)) == len(ids) and {annotation["image_id"] for annotation in annotations} <= known
            detail = f"{len(images)} images, {len(annotations)} annotations"
            yield Check(self._writer.annotation_file(part, split), whole, detail)
        for (part, split), file in self._files.items():
            ids = [category["id"] for category in file.dataset.get("categories", ())]
            twice = sorted({number for number in ids if ids.count(number) > 1})
            detail = f"category ids {twice} occur twice" if twice else f"{len(ids)} ids"
            yield Check(f"categories of {part} {split}", not twice, detail)

    def compare(self, sample: ExportSample, tally: Tally) -> None:
        """The image's bytes and whatever each part says of it."""
        suffix, image = self._writer.image_file(sample)
        name = f"{sample.sample_id}{suffix}"
        there = (self._folder / self._writer.folder(sample.split) / name).read_bytes()
        tally.add("images", differing=int(there != image), compared=1)
        for part in self._writer.parts:
            image_id = self._image_ids.get((part, sample.split, name))
            tally.add("image records", differing=int(image_id is None), compared=1)
            if image_id is not None:
                getattr(self, f"_compare_{part}")(sample, self._files[part, sample.split], image_id, tally)

    def _compare_instances(self, sample: ExportSample, file: Any, image_id: int, tally: Tally) -> None:
        found = file.imgToAnns[image_id]
        tally.add("object counts", differing=int(len(found) != len(sample.objects)), compared=1)
        for annotation, wanted, mask in zip(found, sample.objects, sample.masks, strict=False):
            known = self._writer.classes[wanted.category - 1]
            name = file.cats[annotation["category_id"]]["name"]
            tally.add("category ids", differing=int(annotation["category_id"] != known.number), compared=1)
            tally.add("category names", differing=int(name != known.name), compared=1)
            tally.add("boxes", differing=int(annotation["bbox"] != list(wanted.bbox_xywh)), compared=1)
            tally.add("areas", differing=int(annotation["area"] != wanted.area), compared=1)
            differing = int((file.annToMask(annotation).astype(bool) != mask).sum())
            tally.add("instance pixels", differing=differing, compared=mask.size)

    def _compare_captions(self, sample: ExportSample, file: Any, image_id: int, tally: Tally) -> None:
        captions = [annotation["caption"] for annotation in file.imgToAnns[image_id]]
        tally.add("captions", differing=int(captions != [str(sample.row.get("prompt", ""))]), compared=1)

    def _compare_stuff(self, sample: ExportSample, file: Any, image_id: int, tally: Tally) -> None:
        regions, classes = self._writer.regions, self._writer.classes
        wanted = stuff_annotations(sample, classes, stuff=regions)
        found = [{key: a[key] for key in a if key != "id"} for a in file.imgToAnns[image_id]]
        tally.add("stuff regions", differing=int(found != wanted), compared=1)
        expected = stuff_map(sample, classes, stuff=regions)
        there = np.asarray(open_image(self._folder / self._writer.pixel_map(sample.split, sample.sample_id)))
        tally.add("stuff pixels", differing=int((there != expected).sum()), compared=expected.size)

    def _compare_panoptic(self, sample: ExportSample, file: Any, image_id: int, tally: Tally) -> None:
        segments, infos = panoptic_segments(sample, self._writer.classes, stuff=self._writer.stuff)
        found = [info for annotation in file.imgToAnns[image_id] for info in annotation["segments_info"]]
        tally.add("panoptic segments", differing=int(found != infos), compared=max(len(infos), 1))
        path = self._folder / self._writer.panoptic_map(sample.split, sample.sample_id)
        there = segment_ids(np.asarray(open_image(path)))
        tally.add("panoptic pixels", differing=int((there != segments).sum()), compared=segments.size)


def load_coco(path: Path) -> Any:
    """The file in pycocotools' class, indexed as its constructor does.

    That one writes to the standard output, which belongs to the whole process, and refuses panoptic files, whose annotations
    have no id.
    """
    file = COCO()
    file.dataset = read_json(path, what="the annotations", error=ExportError, most_bytes=ANNOTATION_BYTES)
    file.imgs = {image["id"]: image for image in file.dataset["images"]}
    file.cats = {category["id"]: category for category in file.dataset.get("categories", ())}
    for annotation in file.dataset["annotations"]:
        file.imgToAnns[annotation["image_id"]].append(annotation)
        if "id" in annotation:
            file.anns[annotation["id"]] = annotation
        if "category_id" in annotation:  # captions have none
            file.catToImgs[annotation["category_id"]].append(annotation["image_id"])
    return file
