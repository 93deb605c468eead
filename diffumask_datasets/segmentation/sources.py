"""From the sources of a training to one run of rows, mixed by weight and in the class ids of the model."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import numpy.typing as npt

from diffumask_datasets.dataset.image_listing import LeftOut, merged
from diffumask_datasets.dataset.mask_decoding import ColourTable
from diffumask_datasets.dataset.parquet import split_files
from diffumask_datasets.dataset.storage import dataset_location, join, parse_location, read_file
from diffumask_datasets.errors import DataError, DiffuMaskError, short_repr
from diffumask_datasets.recipes.text_lists import decode_text
from diffumask_datasets.recipes.trust import is_hub_id
from diffumask_datasets.sample import BACKGROUND, BACKGROUND_NAME, IGNORE
from diffumask_datasets.segmentation.foreign_files import own_files_only
from diffumask_datasets.segmentation.labelled import COLUMNS, LabelledImages, plain_name, translation, undecoded
from diffumask_datasets.segmentation.layout_classes import names_from_id2label
from diffumask_datasets.segmentation.layouts import read_layout
from diffumask_datasets.segmentation.settings import Source
from diffumask_datasets.toybox.rendered import CONFIG_NAME as RENDERED
from diffumask_datasets.toybox.rendered import DEFAULT_SIZES

__all__ = ["Mixture", "labelled_of", "mix", "open_source"]

_LOADING_ERRORS = (
    OSError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    RuntimeError,
    datasets.exceptions.DatasetsError,
)
"""What ``datasets`` raises at files that are none; RuntimeError is also what version 3 leaves of a Hub out of reach."""

SOURCE = "source"
"""Column of a mixture: which source a row comes from."""

OTHERS = {"error": None, "background": BACKGROUND, "ignore": IGNORE}


@dataclass(frozen=True)
class Mixture:
    """``rows`` have a column :data:`SOURCE`; ``tables[source]`` (256,) turns its mask values into class ids, and
    ``colours[source]`` the colours of its masks into mask values.

    ``classes`` are the model's, in the order of their ids, background included where there is one.
    """

    rows: Any
    tables: npt.NDArray[np.int16]
    classes: tuple[str, ...]
    colours: tuple[ColourTable | None, ...]
    left_out: LeftOut

    @property
    def fingerprint(self) -> str:
        """Changes when the rows or the meaning of their masks do; rows of a stream are decided by its settings."""
        meaning = hashlib.sha256(self.tables.tobytes() + repr(self.colours).encode()).hexdigest()[:12]
        return f"{getattr(self.rows, '_fingerprint', 'stream')}-{meaning}"


def open_source(source: Source, *, split: str = "train") -> LabelledImages:
    """The labelled images that a source names; ``split``, train or test, is read where the source names none.

    Raises:
        DataError: it does not exist, lacks a column, or has no rows.
        RecipeError: what it generates has an illegal field.
    """
    if source.layout is not None:
        # What is not trained on is what the layout publishes figures on, whatever it calls that; a folder has no splits.
        training = split if split == "train" and source.layout != "folder" else None
        data = read_layout(source.layout, Path(str(source.root)), split=source.split or training)
    else:
        data = labelled_of(_load(source, source.split or split), label_column=source.label_column, where=source)
    rows = _cut(data.rows, source)
    if source.dataset is not None and source.dataset != RENDERED:
        rows = own_files_only(rows, str(source.dataset))
    if not data.streaming and len(rows) == 0:
        raise DataError(f"{source}: no rows from {source.first} on; the split is empty or shorter than that")
    return dataclasses.replace(data, rows=rows)


def labelled_of(rows: Any, *, label_column: str = "label", where: object = "dataset") -> LabelledImages:
    """Takes the labelled images of a dataset. Class names are those of its ClassLabel features, or of the ``id2label.json``
    beside it.

    Args:
        rows: A ``datasets`` dataset with the column ``image``.
        label_column: The column of the masks.
        where: The dataset, for messages.

    Returns:
        The labelled images.

    Raises:
        DataError: A column or the class names are missing.
    """
    features = rows.features or {}
    for column in ("image", label_column):
        if column not in features:
            raise DataError(f"{where}: no column {column!r} among {', '.join(features) or 'none'}")
    for column in ("image", label_column):
        if features[column] not in (datasets.Image(), datasets.Image(decode=False), datasets.Value("string")):
            raise DataError(f"{where}: the column {column!r} holds {short_repr(features[column])}, no pictures")
    names = _class_names(features) or _names_beside(where)
    if not names:
        raise DataError(f"{where}: no class names; put an id2label.json beside the data or give the column 'classes'")
    if label_column != "label":
        rows = rows.rename_column(label_column, "label")
    if "sample_id" not in features:
        rows = _numbered(rows)
    ignored = frozenset({IGNORE} - names.keys())
    return LabelledImages(undecoded(rows.select_columns(list(COLUMNS))), names, _background_of(names), ignored)


def mix(
    sources: Sequence[Source], data: Sequence[LabelledImages], *, classes: Sequence[str] | None, seed: int
) -> Mixture:
    """Mixes sources to one run of rows, in which each has the share of its weight.

    Args:
        sources: Weights, names and shares of the sources.
        data: Their labelled images.
        classes: What the model learns; None for all classes that a source has (after renaming), in order of appearance.
        seed: Decides the order.

    Returns:
        The mixture.

    Raises:
        UnknownClassError: A source has a class that is not in ``classes`` and does not say what becomes of it.
    """
    with_background = any(part.background is not None for part in data) or any(
        s.others == "background" for s in sources
    )
    known = tuple(classes) if classes else _all_classes(sources, data)
    known = tuple(name for name in known if name != BACKGROUND_NAME)
    background = BACKGROUND if with_background else IGNORE
    tables = [
        translation(part, known, rename=source.rename, others=OTHERS[source.others], background=background)
        for source, part in zip(sources, data, strict=True)
    ]
    rows = _interleaved([part.rows for part in data], [source.weight for source in sources], seed)
    return Mixture(
        rows,
        np.stack(tables),
        (BACKGROUND_NAME, *known) if with_background else known,
        tuple(part.colours for part in data),
        merged(part.left_out for part in data),
    )


def _load(source: Source, split: str) -> Any:
    if source.generate is not None:
        return datasets.load_dataset("diffumask", split=split, streaming=source.stream, **source.generate)
    if source.dataset == RENDERED:
        # Only what is read is drawn.
        extent = {"splits": {split: DEFAULT_SIZES[split]}} if split in DEFAULT_SIZES else {}
        return datasets.load_dataset("diffumask", RENDERED, split=split, streaming=source.stream, **extent)
    config: dict[str, Any] = {"name": source.config} if source.config else {}
    name, location = str(source.dataset), parse_location(str(source.dataset))
    if isinstance(location, str):
        name, config = "parquet", {"data_files": _parquet_files(location)}
    elif not location.exists() and not is_hub_id(name):
        # load_dataset would take a dataset of that name that it has in its cache.
        raise DataError(f"there is no dataset {name!r}: give a folder, a URL, or a dataset of the Hub as owner/name")
    try:
        return datasets.load_dataset(name, split=split, streaming=source.stream, **config)
    except DiffuMaskError:
        raise
    except _LOADING_ERRORS as error:
        problem = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"cannot read the dataset {source.dataset!r}: {problem[:200]}") from error


def _parquet_files(url: str) -> dict[str, list[str]]:
    files = split_files(url)
    if not files:
        raise DataError(f"{url} is no dataset: expected data/*.parquet, as diffumask generate writes them")
    return {split: [str(file) for file in paths] for split, paths in files.items()}


def _class_names(features: Any) -> dict[int, tuple[str, ...]]:
    for feature in (features.get("classes"), features.get("label")):
        inner = getattr(feature, "feature", feature[0] if isinstance(feature, list) else feature)
        if isinstance(inner, datasets.ClassLabel):
            return {number: (name,) for number, name in enumerate(inner.names) if name != BACKGROUND_NAME}
    return {}


def _names_beside(where: object) -> dict[int, tuple[str, ...]]:
    if not isinstance(where, Source) or where.dataset is None:
        return {}
    place = join(dataset_location(where.dataset), "id2label.json")
    data = read_file(place, what="the class names", error=DataError)
    return {} if data is None else names_from_id2label(decode_text(data, where=str(place)), where=str(place))


def _background_of(names: dict[int, tuple[str, ...]]) -> int | None:
    return None if BACKGROUND in names else BACKGROUND


def _numbered(rows: Any) -> Any:
    if isinstance(rows, datasets.Dataset):
        return rows.add_column("sample_id", [f"row {number}" for number in range(len(rows))])
    features = datasets.Features({**rows.features, "sample_id": datasets.Value("string")})
    return rows.map(lambda row, number: {"sample_id": f"row {number}"}, with_indices=True, features=features)


def _cut(rows: Any, source: Source) -> Any:
    if isinstance(rows, datasets.Dataset):
        if not source.first and source.limit is None:
            return rows
        stop = len(rows) if source.limit is None else min(len(rows), source.first + source.limit)
        return rows.select(list(range(source.first, stop)))
    rows = rows.skip(source.first) if source.first else rows
    return rows.take(source.limit) if source.limit else rows


def _all_classes(sources: Sequence[Source], data: Sequence[LabelledImages]) -> tuple[str, ...]:
    names: dict[str, str] = {}
    for source, part in zip(sources, data, strict=True):
        renamed = {plain_name(old): new for old, new in source.rename.items()}
        for shown in part.classes:
            name = renamed.get(plain_name(shown), shown)
            names.setdefault(plain_name(name), name)
    return tuple(names.values())


def _interleaved(parts: Sequence[Any], weights: Sequence[float], seed: int) -> Any:
    marked = [_marked(rows, number) for number, rows in enumerate(parts)]
    if len(marked) == 1:
        return marked[0]
    if any(isinstance(rows, datasets.IterableDataset) for rows in marked):
        marked = [rows.to_iterable_dataset() if isinstance(rows, datasets.Dataset) else rows for rows in marked]
    shares = [weight / sum(weights) for weight in weights]
    # All exhausted: the smaller source is read again, so that no image of the larger one is lost.
    return datasets.interleave_datasets(marked, probabilities=shares, seed=seed, stopping_strategy="all_exhausted")


def _marked(rows: Any, number: int) -> Any:
    if isinstance(rows, datasets.Dataset):
        return rows.add_column(SOURCE, [number] * len(rows))
    features = datasets.Features({**rows.features, SOURCE: datasets.Value("int64")})
    return rows.map(_mark, fn_kwargs={"number": number}, features=features)


def _mark(row: dict[str, Any], number: int) -> dict[str, Any]:
    return {**row, SOURCE: number}
