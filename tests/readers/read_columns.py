"""Image folders and WebDataset tars, by the libraries that read them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tests.readers.exported import Export
from tests.readers.reading import Reading


def by_datasets(folder: Path, export: Export) -> Iterator[Reading]:
    """``load_dataset("imagefolder")`` and ``load_dataset("webdataset")``."""
    import datasets

    cache = str(folder.with_suffix(".cache"))
    if export.format == "imagefolder":
        read = datasets.load_dataset("imagefolder", data_dir=str(folder), cache_dir=cache)
        names = ("sample_id", "image", "label", "prompt")
    else:
        files = {split: str(folder / f"{split}-*.tar") for split in ("train", "validation")}
        read = datasets.load_dataset("webdataset", data_files=files, cache_dir=cache)
        names = ("__key__", "png", "label.png", "json")
    for row in (row for split in read.values() for row in split):
        sample_id, image, label, text = (row[name] for name in names)
        caption = text if isinstance(text, str) else text["prompt"]
        yield Reading(sample_id, np.asarray(image), mask=np.asarray(label), caption=caption)


def by_webdataset(folder: Path, export: Export) -> Iterator[Reading]:
    """The library itself; its ``rgb8`` makes masks three-channelled too."""
    import webdataset

    shards = [str(path) for path in sorted(folder.glob("*.tar"))]
    for row in webdataset.WebDataset(shards, shardshuffle=False).decode("rgb8"):
        mask = row["label.png"][..., 0]
        yield Reading(row["__key__"], row["png"], mask=mask, caption=row["json"]["prompt"])
