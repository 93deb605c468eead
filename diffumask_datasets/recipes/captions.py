"""Captions of real images: reading them, and which classes they mention."""

from __future__ import annotations

import functools
import hashlib
import itertools
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from diffumask_datasets.errors import DataError, RecipeError, suggestion
from diffumask_datasets.recipes.text import fold, normalise, word_key
from diffumask_datasets.recipes.text_lists import read_lines

__all__ = ["Words", "count_co_occurrence", "fingerprint_captions", "mentions", "read_captions"]

Words = tuple[tuple[str, str], ...]
"""(word, class) pairs: what a class is called in a text."""

_WORD = re.compile(r"[^\W_]+")
_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")

_NOT_LINES = (".csv", ".tsv", ".json", ".jsonl")
"""Files whose lines are more than a caption."""


def read_captions(
    source: str,
    *,
    column: str = "caption",
    split: str = "train",
    config: str | None = None,
    revision: str | None = None,
) -> tuple[str, ...]:
    """Reads captions, normalised by :func:`diffumask_datasets.recipes.text.normalise`.

    Args:
        source: A text file (one a line), a parquet file, or a dataset folder or Hub id.
        column: The text column, whose cells are texts or lists of texts.
        split: The split of a dataset.
        config: The config of a dataset.
        revision: The revision of a Hub dataset.

    Returns:
        The captions, each once, in order.

    Raises:
        RecipeError: It cannot be read, has no such column, or holds no caption.
    """
    path = Path(source).expanduser()
    if path.suffix in _NOT_LINES:
        raise RecipeError(
            f"{source}: expected a text file, one caption a line, a parquet file, or a dataset folder or Hub id"
        )
    if path.suffix == ".parquet" and path.is_file():
        cells = _parquet_cells(path, column)
    elif path.is_file():
        cells = _lines(path)
    elif source and path.is_dir():
        cells = _dataset_cells(str(path), column, split, config, revision)
    elif _HUB_ID.fullmatch(source) and path.suffix not in (".txt", ".parquet"):
        cells = _dataset_cells(source, column, split, config, revision)
    else:
        raise RecipeError(f"no captions at {source!r}: give a text file, a parquet file, a dataset folder or a Hub id")
    texts = map(normalise, _flat(cells, source))
    captions = tuple(dict.fromkeys(text for text in texts if text))
    if not captions:
        raise RecipeError(f"{source}: holds no caption; write one a line")
    return captions


def fingerprint_captions(captions: Iterable[str]) -> str:
    """Sixteen hex digits of the captions, wherever they lie."""
    return hashlib.sha256("\n".join(captions).encode()).hexdigest()[:16]


def mentions(text: str, words: Words) -> list[tuple[str, int, int]]:
    """(class, start, end) of every mention of a class, in reading order; regular plurals count, longer words win.

    Spellings that differ in case, in hyphens, underscores or blanks between the parts of a word, in the kind of apostrophe
    or in how accents are encoded are the same word. The spans point into ``text`` as it is given.
    """
    by_first_word = _forms(words)
    folded = fold(text)
    found: list[tuple[str, int, int]] = []
    free = 0
    for word in _WORD.finditer(folded.text):
        start = word.start()
        for form, name in by_first_word.get(word[0], ()) if start >= free else ():
            end = start + len(form)
            if folded.text.startswith(form, start) and not _goes_on(folded.text[end : end + 1]):
                found.append((name, *folded.span(start, end)))
                free = end
                break
    return found


def count_co_occurrence(captions: Iterable[str], words: Words) -> dict[str, dict[str, float]]:
    """For each class, in how many captions each other class is mentioned beside it."""
    pairs: Counter[tuple[str, str]] = Counter()
    for caption in captions:
        named = dict.fromkeys(name for name, _, _ in mentions(caption, words))
        pairs.update(itertools.permutations(named, 2))
    names = dict.fromkeys(name for _, name in words)
    return {first: {other: float(pairs[first, other]) for other in names if pairs[first, other]} for first in names}


@functools.lru_cache(maxsize=64)
def _forms(words: Words) -> Mapping[str, Sequence[tuple[str, str]]]:
    """First word → (form, class) of the words that begin with it and their plurals, folded, the longest first.

    A caption is then compared with few of them, however many classes there are.
    """
    owners: dict[str, str] = {}
    # What is given wins over a plural that is only derived.
    for form, name in (*words, *((_plural(word), name) for word, name in words)):
        owners.setdefault(word_key(form), name)
    forms: dict[str, list[tuple[str, str]]] = {}
    for form in sorted(owners, key=len, reverse=True):
        if first := _WORD.match(form):
            forms.setdefault(first[0], []).append((form, owners[form]))
    return forms


def _goes_on(character: str) -> bool:
    """Whether a word that ended before ``character`` would be part of a longer one."""
    return character.isalnum() or unicodedata.category(character or " ").startswith("M")


def _plural(word: str) -> str:
    if re.search(r"(s|x|z|ch|sh)$", word, re.IGNORECASE):
        return word + "es"
    return word[:-1] + "ies" if re.search(r"[^\Waeiou]y$", word, re.IGNORECASE) else word + "s"


def _lines(path: Path) -> list[str]:
    try:
        return read_lines(path)
    except DataError as error:
        raise RecipeError(f"captions: {error}; expected one caption a line") from error


def _parquet_cells(path: Path, column: str) -> Sequence[Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        _check_column(column, pq.read_schema(path).names, str(path))
        cells: list[Any] = pq.read_table(path, columns=[column])[column].to_pylist()
    except (OSError, pa.ArrowInvalid) as error:
        raise RecipeError(f"cannot read the captions {path}: {error}") from error
    return cells


def _dataset_cells(source: str, column: str, split: str, config: str | None, revision: str | None) -> Sequence[Any]:
    import datasets

    try:
        table = datasets.load_dataset(source, config, split=split, revision=revision)
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        # RuntimeError: what datasets 3 leaves of a Hub that cannot be reached.
        problem = " ".join(str(error).split())
        raise RecipeError(f"cannot read the captions of the dataset {source!r}: {problem}") from error
    _check_column(column, table.column_names, source)
    cells: Sequence[Any] = table[column][:]
    return cells


def _check_column(column: str, columns: Sequence[str], source: str) -> None:
    if column not in columns:
        raise RecipeError(
            f"{source}: no column {column!r}{suggestion(column, columns)}; it has: {', '.join(columns)}; name one as column"
        )


def _flat(cells: Iterable[Any], source: str) -> Iterable[str]:
    for cell in cells:
        texts = cell if isinstance(cell, Sequence) and not isinstance(cell, str) else [cell]
        for text in texts:
            if text is not None and not isinstance(text, str):
                raise RecipeError(f"{source}: expected texts in the caption column, got {type(text).__name__}")
            yield text or ""
