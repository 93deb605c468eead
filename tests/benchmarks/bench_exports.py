"""Exports side by side: COCO against FiftyOne, VOC against a plain Pillow loop, memory, and reading back.

Run by ``make bench-exports``. The figure against FiftyOne needs fiftyone and its database; without them it is left out,
and a line says so.
"""

from __future__ import annotations

import io
import itertools
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from diffumask_datasets import export, verify
from diffumask_datasets.dataset.contact_sheet import class_colours
from diffumask_datasets.dataset.schema import Row, png_cell
from diffumask_datasets.dataset.writer import write_folder
from diffumask_datasets.masks import rle
from diffumask_datasets.recipes.recipe import Recipe
from tests.benchmarks.harness import paired_ratio, run

CLASSES = ("car", "boat", "bird", "cat", "dog")
SIDE = 512
WORKERS = os.cpu_count() or 1


def measure(quick: bool) -> Mapping[str, float]:
    few, speed, many, rounds = (40, 60, 240, 3) if quick else (500, 2000, 5000, 3)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = folder / "source"
        write_folder(source, {"train": _rows(many)}, recipe=Recipe.of(classes=CLASSES), sizes={"train": many})
        return {
            **_voc_speed(source, folder, speed, rounds),
            **_coco_speed(source, folder, speed, rounds),
            **_memory(source, folder, few, many),
            **_reading_back(source, folder, few),
        }


def _rows(count: int) -> Iterator[Row]:
    """Samples of one to six discs and rings on a background of soft noise."""
    for number in range(count):
        generator = np.random.default_rng(number)
        rows, columns = np.mgrid[:SIDE, :SIDE]
        soft = generator.normal(0, 6, (SIDE, SIDE, 3)) + generator.integers(40, 200, 3) + columns[..., None] / 12
        instances = np.zeros((SIDE, SIDE), dtype=np.uint8)
        for place in range(1, 1 + int(generator.integers(1, 7))):
            row, column = generator.integers(40, SIDE - 40, 2)
            distance = np.hypot(rows - row, (columns - column) * generator.uniform(0.5, 2))
            outer = generator.uniform(20, 120)
            instances[(distance < outer) & (distance > outer * generator.choice([0, 0.4]))] = place
        soft += 15.0 * instances[..., None]
        yield _row(np.clip(soft, 0, 255).astype(np.uint8), instances, number)


def _row(image: np.ndarray, instances: np.ndarray, number: int) -> Row:
    places = [int(place) for place in np.unique(instances) if place]
    categories = [1 + place % len(CLASSES) for place in places]
    label = np.zeros_like(instances)
    for place, category in zip(places, categories, strict=True):
        label[instances == place] = category
    runs = [rle.encode(instances == place) for place in places]
    return {
        "sample_id": f"bench-{number:08d}",
        "image": png_cell(image),
        "label": png_cell(label),
        "objects": {
            "id": places,
            "category": categories,
            "bbox": [list(rle.bbox_xywh(found)) for found in runs],
            "area": [rle.area(found) for found in runs],
            "segmentation": runs,
            "score": [1.0] * len(runs),
        },
        "classes": sorted(set(categories)),
        "prompt": "",
        "seed": number,
        "model": "drawn",
        "threshold": [0.5] * len(set(categories)),
        "quality": 1.0,
    }


def _export(source: Path, folder: Path, name: str, samples: int) -> None:
    shutil.rmtree(folder / name, ignore_errors=True)
    export(source, folder / name, format=name, num_samples=samples, workers=WORKERS)


def _voc_speed(source: Path, folder: Path, samples: int, rounds: int) -> dict[str, float]:
    def plain() -> None:
        shutil.rmtree(folder / "plain", ignore_errors=True)
        _plain_voc(source, folder / "plain", samples)

    ratio, spread = paired_ratio(plain, lambda: _export(source, folder, "voc", samples), rounds=rounds)
    return {"voc_vs_pil_speed": ratio, "voc_vs_pil_speed_spread": spread}


def _plain_voc(source: Path, folder: Path, samples: int) -> None:
    """The loop that one would write: the same four files a sample, by Pillow alone."""
    for name in ("JPEGImages", "SegmentationClass", "SegmentationObject", "Annotations"):
        (folder / name).mkdir(parents=True)
    palette = class_colours().tobytes()
    for row in itertools.islice(_source_rows(source), samples):
        name, objects = row["sample_id"], row["objects"]
        picture = Image.open(io.BytesIO(row["image"]["bytes"]))
        picture.save(folder / "JPEGImages" / f"{name}.jpg", quality=95, subsampling=0)
        label = np.asarray(Image.open(io.BytesIO(row["label"]["bytes"])))
        instances = np.where(label == 255, 255, 0).astype(np.uint8)
        root = ElementTree.Element("annotation")
        for place, (category, box) in enumerate(zip(objects["category"], objects["bbox"], strict=True), start=1):
            instances[rle.decode(objects["segmentation"][place - 1], instances.shape)] = place
            element = ElementTree.SubElement(root, "object")
            ElementTree.SubElement(element, "name").text = CLASSES[category - 1]
            ElementTree.SubElement(element, "bndbox").text = str(box)
        ElementTree.ElementTree(root).write(folder / "Annotations" / f"{name}.xml")
        for kind, values in (("SegmentationClass", label), ("SegmentationObject", instances)):
            mask = Image.fromarray(values).convert("P")
            mask.putpalette(palette)
            mask.save(folder / kind / f"{name}.png")


def _source_rows(source: Path) -> Iterator[Row]:
    for path in sorted((source / "data").glob("*.parquet")):
        for batch in pq.ParquetFile(path).iter_batches(16):
            yield from batch.to_pylist()


def _coco_speed(source: Path, folder: Path, samples: int, rounds: int) -> dict[str, float]:
    theirs = _fiftyone_export(source, folder, samples)
    if theirs is None:
        return {}
    ratio, spread = paired_ratio(theirs, lambda: _export(source, folder, "coco", samples), rounds=rounds)
    return {"coco_vs_fiftyone_speed": ratio, "coco_vs_fiftyone_speed_spread": spread}


def _fiftyone_export(source: Path, folder: Path, samples: int) -> Callable[[], None] | None:
    """FiftyOne's COCO export of the same samples, whose images and masks it already holds; None where it cannot run."""
    try:
        import fiftyone as fo

        fo.list_datasets()
    except Exception as error:  # noqa: BLE001 - its database fails in its own, undocumented ways
        print(f"coco_vs_fiftyone_speed: not measured, fiftyone is not there ({type(error).__name__})")
        return None
    dataset = fo.Dataset()
    images = folder / "fiftyone-images"
    images.mkdir()
    for row in itertools.islice(_source_rows(source), samples):
        (images / f"{row['sample_id']}.png").write_bytes(row["image"]["bytes"])
        dataset.add_sample(_fiftyone_sample(fo, images, row))

    def theirs() -> None:
        shutil.rmtree(folder / "fiftyone", ignore_errors=True)
        dataset.export(
            export_dir=str(folder / "fiftyone"),
            dataset_type=fo.types.COCODetectionDataset,
            label_field="objects",
            progress=False,
        )

    return theirs


def _fiftyone_sample(fo: Any, images: Path, row: Row) -> Any:
    detections = []
    objects = row["objects"]
    for category, box, segmentation in zip(objects["category"], objects["bbox"], objects["segmentation"], strict=True):
        left, top, width, height = (int(number) for number in box)
        mask = rle.decode(segmentation, (SIDE, SIDE))[top : top + height, left : left + width]
        relative = [number / SIDE for number in (left, top, width, height)]
        detections.append(fo.Detection(label=CLASSES[category - 1], bounding_box=relative, mask=mask))
    return fo.Sample(filepath=str(images / f"{row['sample_id']}.png"), objects=fo.Detections(detections=detections))


def _memory(source: Path, folder: Path, few: int, many: int) -> dict[str, float]:
    short, long = (_peak_mb(source, folder / f"memory {samples}", samples) for samples in (few, many))
    return {"memory_growth": long / short - 1, "memory_peak_mb": long}


def _peak_mb(source: Path, target: Path, samples: int) -> float:
    """Peak memory of a fresh process that exports so many samples."""
    arguments = [str(source), str(target), str(samples)]
    code = "import sys; from tests.benchmarks.bench_exports import export_once; export_once(*sys.argv[1:])"
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    shutil.rmtree(target)
    return float(done.stdout)


def export_once(source: str, target: str, samples: str) -> None:
    export(source, target, format="coco", num_samples=int(samples))
    status = Path("/proc/self/status").read_text()
    print(int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024)  # type: ignore[index]


def _reading_back(source: Path, folder: Path, samples: int) -> dict[str, float]:
    differing, failed = 0, 0
    options: dict[str, dict[str, Any]] = {
        "coco": {"parts": ["instances", "panoptic", "stuff", "captions"]},
        "voc": {},
        "cityscapes": {"class_map": {name: "truck" for name in CLASSES if name != "car"}},
        "ade20k": {},
        "imagefolder": {},
        "webdataset": {},
        "yolo": {},
    }
    for name, how in options.items():
        target = folder / f"read {name}"
        export(source, target, format=name, num_samples=samples, workers=WORKERS, **how)
        for check in verify(target, source=source):
            if not check.passed:
                failed += 1
                print(f"{name}: {check.name}: {check.detail}")
            found = re.match(r"(\d+) of \d+ differ", check.detail)
            if found and "pixels" in check.name:
                differing += int(found[1])
        shutil.rmtree(target)
    return {"differing_pixels": differing, "failed_checks": failed}


if __name__ == "__main__":
    run("exports", measure)
