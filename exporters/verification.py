"""Reads an export back and compares it with its source: ``diffumask_datasets.verify`` and ``diffumask verify``."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

from diffumask_datasets.dataset.density import Density, image_density
from diffumask_datasets.dataset.opened import OpenDataset
from diffumask_datasets.dataset.storage import fetched, parse_location
from diffumask_datasets.errors import ExportError, HubError
from diffumask_datasets.exporters.contents import Contents, ExportSample
from diffumask_datasets.exporters.encoding import Item
from diffumask_datasets.exporters.journal import WORK, file_hash
from diffumask_datasets.exporters.protocol import Check, Reader, Tally
from diffumask_datasets.exporters.registry import make_exporter
from diffumask_datasets.exporters.run import HASH_SPACE, contents_of, exported_rows, open_exportable
from diffumask_datasets.exporters.target import MANIFEST, read_manifest

__all__ = ["verify"]

SHOWN_LOSSES = 20


def verify(folder: str | Path, *, format: str | None = None, source: Any = None) -> Iterator[Check]:
    """Checks an export: every file is as it was written, and the format's reader takes it.

    Args:
        folder: The folder or URL of the export.
        format: The format that it must have; default: whatever its manifest says.
        source: The dataset that was exported, with which everything read back is compared, pixel for pixel.

    Returns:
        One :class:`Check` after another.

    Raises:
        ExportError: No finished export, or one of another format or version.
    """
    with fetched(parse_location(folder)) as copy:
        yield from _verified(copy, format, source)


def _verified(folder: Path, name: str | None, source: Any) -> Iterator[Check]:
    manifest = _manifest(folder, name)
    exported = manifest["export"]
    contents = Contents(tuple(exported["classes"]), tuple(exported["splits"]))
    exporter = make_exporter(exported["format"], exported["options"])
    if exported["layout"] != exporter.layout:
        raise ExportError(
            f"{folder} was written by another version (layout {exported['layout']} of {exported['format']}, now "
            f"{exporter.layout}): export again"
        )
    yield _files(folder, manifest)
    yield from _losses(manifest)
    try:
        reader = exporter.read(folder, contents)
        yield from reader.checks()
        if source is not None:
            opened = open_exportable(source, num_samples=exported["source"].get("num_samples"))
            yield from _compared(reader, opened, manifest)
    except (OSError, LookupError, ValueError, TypeError, AttributeError, SyntaxError, RecursionError) as error:
        if isinstance(error, ExportError | HubError):
            raise
        # Whatever a foreign reader trips over is a finding, not a fault of the one who asked.
        yield Check("reading", False, f"{type(error).__name__}: {error}")


def _manifest(folder: Path, name: str | None) -> dict[str, Any]:
    manifest = read_manifest(folder)
    if manifest is None:
        state = "is not finished: export again to go on" if (folder / WORK).is_dir() else f"has no {MANIFEST}"
        raise ExportError(f"{folder} {state}")
    if name not in (None, manifest["export"]["format"]):
        raise ExportError(f"{folder} is an export of the format {manifest['export']['format']}, not {name}")
    return manifest


def _files(folder: Path, manifest: dict[str, Any]) -> Check:
    files, content = 0, 0
    for root, _, names in os.walk(folder):
        for name in names:
            path = (Path(root) / name).relative_to(folder).as_posix()
            if path != MANIFEST:
                files, content = files + 1, content + file_hash(folder, path)[0]
    same = files == manifest["files"] and f"{content % HASH_SPACE:064x}" == manifest["content"]
    return Check("files", same, f"{files} of {manifest['files']}, {'as written' if same else 'changed since'}")


def _losses(manifest: dict[str, Any]) -> Iterator[Check]:
    """One line for each file that holds less than its sample, the worst first; no failures."""
    worst = sorted(manifest["losses"].items(), key=lambda item: (item[1]["lowest_iou"], item[0]))
    for path, loss in worst[:SHOWN_LOSSES]:
        yield Check(path, True, f"{_counted(loss)} with other pixels, as the format cannot help")
    if len(worst) > SHOWN_LOSSES:
        yield Check("losses", True, f"{len(worst) - SHOWN_LOSSES} more files, all listed in {MANIFEST}")


def _counted(loss: dict[str, Any]) -> str:
    objects = "1 object" if loss["objects"] == 1 else f"{loss['objects']} objects"
    # Rounded down: what is not exact must not read 1.00.
    return f"{objects} (IoU {math.floor(100 * loss['lowest_iou']) / 100:.2f} at worst)"


def _compared(reader: Reader, source: OpenDataset, manifest: dict[str, Any]) -> Iterator[Check]:
    contents, tally, density = contents_of(source), Tally(), Density()
    if list(contents.classes) != manifest["export"]["classes"]:
        yield Check("classes", False, f"the source has {', '.join(contents.classes)}")
        return
    digests, counts = hashlib.sha256(), dict.fromkeys(contents.splits, 0)
    with tqdm(total=sum(manifest["samples"].values()), unit="image", disable=None) as progress:
        for split in contents.splits:
            for row in exported_rows(source, split):
                item = Item(row, split, sum(counts.values()) + 1, counts[split])
                counts[split] += 1
                sample = ExportSample.of(**item._asdict(), class_count=len(contents.classes))
                digests.update(sample.digest.encode())
                reader.compare(sample, tally)
                density.add(image_density(row, source.stuff))
                progress.update()
    yield Check("samples", counts == manifest["samples"], f"{counts} in the source, {manifest['samples']} exported")
    same = digests.hexdigest() == manifest["source"]
    yield Check("source", same, "the one exported" if same else "not the one exported")
    yield Check("density", True, str(density))
    yield from tally.checks()
