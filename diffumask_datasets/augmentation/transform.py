"""Augmentations as a transform: for ``Dataset.map``, ``with_transform`` and the ``.map`` of streams."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from PIL import Image

from diffumask_datasets.augmentation.backgrounds import pin_backgrounds
from diffumask_datasets.augmentation.pipeline import augmented
from diffumask_datasets.augmentation.scene import Others, Scene, changed_columns, scene_of
from diffumask_datasets.dataset.schema import Row, encoded_bytes
from diffumask_datasets.errors import RecipeError
from diffumask_datasets.recipes.augment_settings import needs_others, parse_augment

__all__ = ["Augment", "RowPool"]


class RowPool(Protocol):
    """Rows by number: a map-style dataset, or a list of rows."""

    def __len__(self) -> int: ...

    def __getitem__(self, position: int, /) -> Any: ...


class Augment:
    """Augments rows of the config ``default``, one or a batch at a time.

    What is drawn depends on ``seed``, the row's ``sample_id`` (its image, where it has none) and the pool, never on order or
    workers:

        ds.map(Augment(["splice:2x2"], pool=ds))
        ds.with_transform(Augment(["splice", "blur"], pool=ds))
        stream.map(Augment(["splice:2x2"]), batched=True, batch_size=16)

    Args:
        augment: Steps as in a recipe: ``["splice:2x2", "blur"]``.
        seed: Another seed draws otherwise.
        pool: A map-style dataset that lends other samples to splicing, occlusion and composition. Without one they come
            from the batch, so ``.map`` needs ``batched=True`` (a last batch of one takes them from the batch before it).
        classes: Names of the class ids from 1 up, where a step names classes.

    Raises:
        RecipeError: an unknown augmentation, a grid larger than the image, or no other sample to take from.
        DataError: rows without an image or a label.
        ShapeError: image, label and objects differ in size.
    """

    def __init__(
        self, augment: Any, *, seed: int = 0, pool: RowPool | None = None, classes: Sequence[str] = ()
    ) -> None:
        self._steps = pin_backgrounds(parse_augment(augment), tuple((name, name) for name in classes))
        self._classes = tuple(classes)
        self._seed = seed
        self._pool = pool
        self._needs_others = needs_others(self._steps)
        self._before: list[Row] = []
        if pool is None:
            return
        if not hasattr(pool, "__len__"):
            raise RecipeError(f"pool: expected a map-style dataset or a list of rows, got {type(pool).__name__}")
        if self._needs_others and len(pool) < 2:
            raise _too_few(len(pool))

    def __call__(self, rows: Row) -> Row:
        """The row, or the batch of rows (column → list), with new pixels; images come decoded."""
        if not isinstance(rows.get("image"), list):
            return self._changed(rows, self._pool or [rows])
        count = len(rows["image"])
        batch = [{name: cells[number] for name, cells in rows.items()} for number in range(count)]
        lenders = batch if count > 1 else [*batch, *self._before]
        changed = [self._changed(row, self._pool or lenders) for row in batch]
        self._before = batch if self._pool is None else []
        return {name: [row[name] for row in changed] for name in rows}

    def __getstate__(self) -> dict[str, Any]:
        # What was seen is no part of what it does: datasets names its caches by this.
        return {**self.__dict__, "_before": []}

    def _changed(self, row: Row, pool: RowPool) -> Row:
        if self._needs_others and len(pool) < 2:
            raise _too_few(len(pool))
        key = _key(row)
        scene = augmented(
            scene_of(row),
            self._steps,
            seed=self._seed,
            key=key,
            others=_others_of(key, pool),
            classes=self._classes,
        )
        return {**row, **changed_columns(scene, row, Image.fromarray)}


def _others_of(key: str, pool: RowPool) -> Others:
    """Others drawn from the rows of the pool but that of ``key``: each once before any comes again."""

    def draw(count: int, rng: np.random.Generator) -> list[Scene]:
        chosen: list[Scene] = []
        # One more than is missing: the row itself may be among them.
        size = count + 1
        while len(chosen) < count:
            places = rng.choice(len(pool), size=min(size, len(pool)), replace=False).tolist()
            rows = [row for row in map(pool.__getitem__, places) if _key(row) != key]
            if not rows and len(places) == len(pool):
                raise _too_few(1)
            chosen += [scene_of(row) for row in rows[: count - len(chosen)]]
            size = count - len(chosen) + 1 if rows else 2 * size
        return chosen

    return draw


def _key(row: Row) -> str:
    """What tells a row from others: its id, or else the digest of its image."""
    own, picture = row.get("sample_id"), row.get("image")
    if own is not None or picture is None:
        return str(own)
    pixels = picture.tobytes() if isinstance(picture, Image.Image) else encoded_bytes(picture)
    return hashlib.sha256(pixels).hexdigest()


def _too_few(count: int) -> RecipeError:
    return RecipeError(
        f"splicing, occlusion and composition take pixels from other samples, and there is only {count}: give a dataset of "
        "at least two as pool=, or map with batched=True and a batch of at least two"
    )
