"""An open dataset, wherever it is: what it holds, and its rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

import datasets

from diffumask_datasets.dataset.checked_row import CheckedRow
from diffumask_datasets.dataset.decisions import DECISIONS_FILE, Decision, find_decisions
from diffumask_datasets.dataset.schema import AMODAL, HEAT_MAPS, OPINIONS, THRESHOLD_CURVE, Row, features_of
from diffumask_datasets.dataset.storage import Location, join, name_of, read_file
from diffumask_datasets.dataset.views import card_metadata, shown_view
from diffumask_datasets.errors import DataError, ExportError
from diffumask_datasets.recipes.augment_settings import fewest_objects, parse_augment
from diffumask_datasets.recipes.bounded_text import MOST_LINES_BYTES
from diffumask_datasets.recipes.file import AUGMENTED, BATCH_SIZE, RECIPE_FILE, history_of, origin
from diffumask_datasets.recipes.recipe import Recipe
from diffumask_datasets.recipes.trust import check_trust
from diffumask_datasets.sample import check_sample_id

__all__ = ["COLUMNS", "OpenDataset", "ReadColumns"]

COLUMNS = tuple(features_of(("class",)))
"""The columns of the config ``default``, without the optional ones."""

ReadColumns = Callable[[str, int, Sequence[str]], Iterator[Row]]
"""(split, first row, columns) → rows."""


@dataclass(frozen=True)
class OpenDataset:
    """A dataset whose rows are read when they are asked for.

    Attributes:
        location: Where it is; None for datasets in memory.
        classes: The names of the class ids 1..K.
        sizes: The number of rows of each split; None where a stream does not tell.
        columns: The columns of its rows.
        identity: Plain JSON that changes when the dataset does, as far as that can be told without reading it.
        recipe_fields: The fields of its ``recipe.yaml``, checked; None where there is none.
        read_columns: Gives some columns of a split from a row on, not checked.
    """

    location: Location | None
    classes: tuple[str, ...]
    sizes: Mapping[str, int | None]
    columns: tuple[str, ...]
    identity: Mapping[str, Any]
    recipe_fields: Mapping[str, Any] | None
    read_columns: ReadColumns

    @property
    def name(self) -> str:
        """What messages and titles call it."""
        return "dataset" if self.location is None else name_of(self.location)

    @property
    def counts(self) -> dict[str, int]:
        """Split → number of rows, as far as it is known."""
        return {split: size or 0 for split, size in self.sizes.items()}

    @property
    def total(self) -> int:
        """The number of rows of all splits."""
        return sum(self.counts.values())

    @property
    def heat_maps(self) -> bool:
        """Whether soft maps are kept."""
        return HEAT_MAPS in self.columns

    @property
    def optional(self) -> tuple[str, ...]:
        """The optional columns that it has."""
        return tuple(name for name in (HEAT_MAPS, THRESHOLD_CURVE, AMODAL, OPINIONS) if name in self.columns)

    @property
    def features(self) -> datasets.Features:
        """The features of its checked rows."""
        return features_of(self.classes, **dict.fromkeys(self.optional, True))

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe of its samples.

        Raises:
            ExportError: it has no ``recipe.yaml``.
        """
        return Recipe.within(self._recipe_fields)

    @property
    def history(self) -> dict[str, Any]:
        """What else its samples went through, which stays with them."""
        return history_of(self._recipe_fields)

    @property
    def origin(self) -> dict[str, Any]:
        """How its samples came to be, where they were not simply generated."""
        return origin(self._recipe_fields)

    @property
    def batch_size(self) -> int:
        """How many of its samples were generated at once."""
        return int(self._recipe_fields.get(BATCH_SIZE) or 1)

    @property
    def fewest_objects(self) -> int:
        """How many objects were asked of each image; 0 where none were.

        Raises:
            RecipeError: what it says of its augmentation is not legal.
        """
        fields = self.recipe_fields or {}
        augmented = origin(fields).get(AUGMENTED, fields)
        steps = augmented.get("augment")
        return fewest_objects(parse_augment(steps)) if steps and not augmented.get("originals") else 0

    @property
    def stuff(self) -> frozenset[int]:
        """The class ids without instances, such as road and sky, as far as its recipe says so."""
        names = () if self.recipe_fields is None else self.recipe.stuff
        return frozenset(self.classes.index(name) + 1 for name in names)

    @property
    def skip(self) -> frozenset[int]:
        """The indices that its recipe leaves out."""
        return frozenset(self._recipe_fields.get("skip") or ())

    @cached_property
    def view(self) -> str:
        """The view that ``load_dataset`` gives of it."""
        card = self.text_of("README.md")
        where = f"the metadata of {join(self.location, 'README.md')}" if self.location else ""
        return shown_view(card_metadata(card, where=where, error=ExportError)) if card else "default"

    @cached_property
    def decisions(self) -> dict[str, Decision] | None:
        """The decisions of reviewers that lie beside its data; None where there is no such file."""
        return None if self.location is None else find_decisions(join(self.location, DECISIONS_FILE))

    @property
    def _recipe_fields(self) -> Mapping[str, Any]:
        if self.recipe_fields is None:
            raise ExportError(f"{self.location or 'the dataset'} has no {RECIPE_FILE}, as diffumask generate writes it")
        return self.recipe_fields

    def text_of(self, name: str) -> str | None:
        """The text of a file beside its data; None where there is none."""
        if self.location is None:
            return None
        path = join(self.location, name)
        data = read_file(path, what="the file", error=ExportError, most_bytes=MOST_LINES_BYTES)
        return None if data is None else data.decode("utf-8-sig", errors="replace")

    def check_heat_maps(self) -> None:
        """Raises ExportError unless it keeps soft maps."""
        if not self.heat_maps:
            raise ExportError(
                f"{self.location or 'the dataset'} kept no heat maps: generate with --keep-heat-maps (finished samples are "
                "reused)"
            )

    def check_trust(self, *followed: str) -> None:
        """Refuses local files in the fields ``followed``, which the user can give anew; without names, in any field.

        Raises:
            RecipeError: only the user may ask for that.
        """
        fields = {name: value for name, value in self._recipe_fields.items() if name in followed or not followed}
        check_trust(f"the recipe of {str(self.location)!r}", fields, nameable=bool(followed))

    def read(self, split: str, start: int = 0, *, columns: Sequence[str] | None = None) -> Iterator[Row]:
        """The rows of a split from number ``start`` on, not checked; with all columns unless some are named."""
        return self.read_columns(split, start, self.columns if columns is None else columns)

    def rows(self) -> Iterator[tuple[str, Row]]:
        """(split, row) of everything, splits in their order.

        Raises:
            ExportError: a row that is not one of the config ``default``, or a sample id that comes twice.
        """
        return ((split, checked.row) for split, checked in self.checked())

    def checked(self) -> Iterator[tuple[str, CheckedRow]]:
        """(split, row) as :meth:`rows`, with the image and the mask that checking has decoded."""
        seen: set[str] = set()
        for split in self.sizes:
            for checked in self.split_checked(split, seen):
                yield split, checked

    def split_rows(self, split: str, seen: set[str] | None = None) -> Iterator[Row]:
        """The rows of one split, checked as in :meth:`rows`."""
        return (checked.row for checked in self.split_checked(split, set() if seen is None else seen))

    def split_checked(self, split: str, seen: set[str]) -> Iterator[CheckedRow]:
        """The rows of one split as in :meth:`checked`; ids that are in ``seen``, to which theirs are added, come twice."""
        for given in self.read(split, columns=(*COLUMNS, *self.optional)):
            _check_id(given["sample_id"], seen)
            seen.add(given["sample_id"])
            yield CheckedRow.of(given, len(self.classes))

    def split_of_ids(self) -> dict[str, str]:
        """Sample id → split, in the order of :meth:`rows`; nothing else is read.

        Raises:
            ExportError: an invalid sample id, or one that comes twice.
        """
        found: dict[str, str] = {}
        for split in self.sizes:
            for row in self.read(split, columns=("sample_id",)):
                _check_id(row["sample_id"], found)
                found[row["sample_id"]] = split
        return found

    def find(self, sample_id: str, split: str) -> Row | None:
        """The row of ``split`` with that id, checked; None where there is none. The other rows are not read.

        Raises:
            ExportError: as :meth:`rows`.
        """
        ids = self.read(split, columns=("sample_id",)) if split in self.sizes else iter(())
        position = next((number for number, row in enumerate(ids) if row["sample_id"] == sample_id), None)
        if position is None:
            return None
        found = next(self.read(split, position, columns=(*COLUMNS, *self.optional)))
        return CheckedRow.of(found, len(self.classes)).row

    def first(self, most: int) -> OpenDataset:
        """The same with at most so many rows of each split."""
        return dataclasses.replace(
            self,
            sizes={name: None if size is None else min(size, most) for name, size in self.sizes.items()},
            identity={**self.identity, "num_samples": most},
            read_columns=lambda split, start, columns: islice(
                self.read_columns(split, start, columns), max(most - start, 0)
            ),
        )


def _check_id(sample_id: Any, seen: Container[str]) -> None:
    try:
        check_sample_id(sample_id)
    except DataError as error:
        raise ExportError(str(error)) from error
    if sample_id in seen:
        raise ExportError(f"sample_id {sample_id!r} comes twice; every sample needs an id of its own")
