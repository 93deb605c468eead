"""What an annotation program hands back for one sample, and how classes and sizes are matched with the dataset's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from diffumask_datasets.errors import DataError, ReviewError, suggestion
from diffumask_datasets.recipes.text import word_key
from diffumask_datasets.sample import check_sample_id

__all__ = ["Edit", "Edits", "Mask", "Objects", "Shape", "check_shape", "class_id_of", "sample_id_of", "unique"]

Mask = npt.NDArray[np.bool_]
Objects = Sequence[tuple[int, Mask]]
"""Class id and mask (height, width) of each object."""

Shape = tuple[int, int]
"""Height and width in pixels."""


@dataclass(frozen=True, eq=False)
class Edit:
    """One sample as it came back.

    Attributes:
        objects: The objects; None from a format that has a semantic mask alone.
        label: The semantic mask (height, width) of our class ids; None from a format that has objects alone.
    """

    objects: Objects | None = None
    label: npt.NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class Edits:
    """A folder of edits.

    Attributes:
        samples: Sample id → a function that reads its edit, given the shape of the sample. It raises ReviewError.
        origins: Sample id → who edited it, and when, where the format says so.
    """

    samples: Mapping[str, Callable[[Shape], Edit]]
    origins: Mapping[str, str]


def class_id_of(name: object, classes: Sequence[str], *, where: str) -> int:
    """Finds a class by its name; spellings such as ``Potted-Plant`` count where no name is the same.

    Args:
        name: The name.
        classes: The names of the class ids from 1 up.
        where: Begins the message of an error.

    Returns:
        The class id.

    Raises:
        ReviewError: The dataset has no such class, or several by that spelling.
    """
    if name in classes:
        return classes.index(str(name)) + 1
    found = [number for number, known in enumerate(classes, start=1) if _key(known) == _key(str(name))]
    if len(found) == 1:
        return found[0]
    raise ReviewError(
        f"{where}: the dataset has no class {name!r}{suggestion(str(name), classes)}; it has {', '.join(classes)}"
    )


def check_shape(found: tuple[object, ...], shape: Shape, *, where: str) -> None:
    """Checks the size of a mask.

    Args:
        found: Its height and width.
        shape: Those of the sample.
        where: Begins the message of an error.

    Raises:
        ReviewError: They differ.
    """
    if found != shape:
        height, width = found
        raise ReviewError(
            f"{where}: expected the size of the sample, {shape[1]}x{shape[0]} (width x height), got {width}x{height}; "
            "export the masks at full size"
        )


def sample_id_of(file_name: object, *, where: str) -> str:
    """The sample id that a file name stands for: its last part without the ending.

    Raises:
        ReviewError: It is no sample id.
    """
    name = PurePosixPath(str(file_name).replace("\\", "/")).name
    try:
        return check_sample_id(name.rpartition(".")[0] or name)
    except DataError as error:
        raise ReviewError(f"{where}: {error}") from error


def unique(paths: Iterable[Path]) -> dict[str, Path]:
    """Sample id → file.

    Raises:
        ReviewError: Two files for one sample.
    """
    found: dict[str, Path] = {}
    for path in sorted(paths):
        sample_id = sample_id_of(path.name, where=str(path))
        if sample_id in found:
            raise ReviewError(f"{path} and {found[sample_id]} are of one sample; remove one")
        found[sample_id] = path
    return found


def _key(name: str) -> str:
    return word_key(name).replace(" ", "")
