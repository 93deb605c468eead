"""A dataset into a format: ``diffumask_datasets.export`` and ``diffumask export``."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from tqdm import tqdm

from diffumask_datasets.dataset.opened import OpenDataset
from diffumask_datasets.dataset.reader import open_dataset
from diffumask_datasets.dataset.schema import HEAT_MAPS, REQUIRED, Row
from diffumask_datasets.dataset.storage import parse_location
from diffumask_datasets.errors import ExportError
from diffumask_datasets.exporters.contents import Contents, Loss
from diffumask_datasets.exporters.encoding import Encoded, Encoder, Item, encode_all
from diffumask_datasets.exporters.journal import Journal, file_hash
from diffumask_datasets.exporters.protocol import Exporter, Writer
from diffumask_datasets.exporters.registry import make_exporter
from diffumask_datasets.exporters.target import Target, local_export

__all__ = ["HASH_SPACE", "contents_of", "export", "exported_rows", "open_exportable"]

HASH_SPACE = 1 << 256
"""File hashes are summed modulo this."""


def export(
    source: Any,
    output: str | Path,
    *,
    format: str,
    workers: int = 1,
    num_samples: int | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Writes a dataset in one of :func:`formats`.

    Started again after any end, it goes on where it stopped; the export is complete once ``diffumask-export.json`` is
    there, and exporting the same again then does nothing.

    Args:
        source: A folder, a URL, a Hub dataset ``owner/name``, a map-style dataset, a stream or a dict of splits, with the
            columns of the config ``default``.
        output: A folder or a URL, to which the finished export is uploaded.
        format: The name of the format.
        workers: Processes that encode side by side; the bytes do not depend on their number.
        num_samples: The most samples that are taken from each split; an endless stream needs it.
        **options: Those of the format.

    Returns:
        The manifest, as ``diffumask-export.json`` has it.

    Raises:
        ExportError: An unknown format or option, a dataset that the format cannot hold, or a target that holds something
            else or cannot be written.
    """
    if workers < 1:
        raise ExportError(f"workers: expected a number from 1 up, got {workers}")
    exporter = make_exporter(format, options)
    opened = open_exportable(source, num_samples=num_samples)
    writer = exporter.open(contents_of(opened))
    with local_export(parse_location(output)) as folder, Target(folder, _identity(format, exporter, opened)) as target:
        if target.finished is not None:
            return target.finished
        return _write(target, writer, opened, workers)


def open_exportable(source: Any, *, num_samples: int | None = None) -> OpenDataset:
    """The dataset to export; ``num_samples`` is the most that is taken from each split.

    Raises:
        ExportError: no dataset, an empty one, or one without the columns and class names that an export needs.
    """
    if num_samples is not None and num_samples < 1:
        raise ExportError(f"num_samples: expected a number from 1 up, got {num_samples}")
    opened = open_dataset(source, columns=REQUIRED, streams=True)
    return opened if num_samples is None else opened.first(num_samples)


def contents_of(source: OpenDataset) -> Contents:
    """What a format is told of the dataset as a whole."""
    return Contents(source.classes, tuple(source.sizes))


def exported_rows(source: OpenDataset, split: str, start: int = 0) -> Iterator[Row]:
    """Reads rows without heat maps: these are half of the bytes, and no format has a place for them.

    Args:
        source: The dataset.
        split: The split.
        start: The number of the first row.

    Returns:
        The rows.
    """
    return source.read(split, start, columns=[name for name in source.columns if name != HEAT_MAPS])


def _identity(name: str, exporter: Exporter, source: OpenDataset) -> dict[str, Any]:
    return {
        "format": name,
        "layout": exporter.layout,
        "options": _options(exporter),
        "classes": list(source.classes),
        "splits": list(source.sizes),
        "source": source.identity,
    }


def _options(exporter: Any) -> dict[str, Any]:
    return {field.name: getattr(exporter, field.name) for field in dataclasses.fields(exporter) if field.init}


def _write(target: Target, writer: Writer, source: OpenDataset, workers: int) -> dict[str, Any]:
    journals = {split: Journal(target.output, split) for split in source.sizes}
    ids = {line["id"] for journal in journals.values() for line in journal.lines()}
    encoder = Encoder(writer, target.output, len(source.classes))
    # Closed at once when something fails: its worker processes end here, and not when somebody collects the garbage.
    with closing(encode_all(_remaining(source, journals), encoder, workers=workers)) as encoded:
        for split, line, appended in _shown(encoded, source, journals):
            if line["id"] in ids:
                raise ExportError(
                    f"sample_id {line['id']!r} occurs twice, and its files would be overwritten; rename one"
                )
            ids.add(line["id"])
            journals[split].add(line, appended)
    if not ids:
        target.discard()
        raise ExportError("the dataset is empty: there is nothing to export")
    return _finish(target, writer, journals)


def _remaining(source: OpenDataset, journals: Mapping[str, Journal]) -> Iterator[Item]:
    """The rows that are not finished, numbered over all splits."""
    before = 0
    for split, journal in journals.items():
        done = journal.count
        rows = exported_rows(source, split, max(done - 1, 0))
        if done and next(rows, {"sample_id": None})["sample_id"] != journal.last_id:
            raise ExportError(
                f"the dataset has changed since this export began (sample {done} of {split} is no longer "
                f"{journal.last_id}); remove the unfinished folder and export again"
            )
        count = done
        for row in rows:
            count += 1
            yield Item(row, split, before + count, count - 1)
        before += count


def _shown(encoded: Iterator[Encoded], source: OpenDataset, journals: Mapping[str, Journal]) -> Iterator[Encoded]:
    sizes = [source.sizes[split] for split in journals]
    total = None if None in sizes else sum(size or 0 for size in sizes)
    done = sum(journal.count for journal in journals.values())
    with tqdm(encoded, total=total, initial=done, unit="image", disable=None) as progress:
        yield from progress


def _finish(target: Target, writer: Writer, journals: Mapping[str, Journal]) -> dict[str, Any]:
    shared = {name: size for journal in journals.values() for name, size in journal.appended.items()}
    gathered = target.gather(writer.close(journals), shared)
    files, size, content = 0, 0, 0
    losses: dict[str, dict[str, Any]] = {}
    source = hashlib.sha256()
    for journal in journals.values():
        for line in journal.lines():
            source.update(line["source"].encode())
            files += len(line["files"])
            size += sum(length for length, _ in line["files"].values())
            content += sum(int(number, 16) for _, number in line["files"].values())
            losses |= {path: Loss(*loss)._asdict() for path, loss in line["losses"].items()}
    for path in gathered | shared.keys():
        number, length = file_hash(target.output, path)
        files, size, content = files + 1, size + length, content + number
    manifest = {
        "export": target.identity,
        "samples": {split: journal.count for split, journal in journals.items()},
        "files": files,
        "bytes": size,
        "content": f"{content % HASH_SPACE:064x}",
        "source": source.hexdigest(),
        "losses": losses,
    }
    target.finish(manifest)
    return manifest
