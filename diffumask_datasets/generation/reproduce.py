"""``diffumask reproduce``: one sample made again from its recipe, and compared with the one in the dataset."""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from diffumask_datasets.dataset.reader import has_data, open_dataset
from diffumask_datasets.dataset.schema import Row, decode_image, decode_label, encoded_bytes
from diffumask_datasets.dataset.shared_recipe import read_shared_recipe
from diffumask_datasets.dataset.storage import dataset_location
from diffumask_datasets.errors import ExportError, RecipeError
from diffumask_datasets.generation.config import DiffuMaskConfig
from diffumask_datasets.generation.samples import GeneratedSamples, Runtime
from diffumask_datasets.recipes.file import BATCH_SIZE
from diffumask_datasets.recipes.recipe import Recipe
from diffumask_datasets.recipes.splits import split_of

__all__ = ["Reproduction", "reproduce"]

_SAMPLE_ID = re.compile(r"([0-9a-f]{12})-([0-9]{8})")


@dataclass(frozen=True, slots=True)
class Reproduction:
    """A sample made again, beside the one in the dataset.

    ``compared`` is False where the recipe came without data. ``mask_agreement`` is the share of equal mask pixels in [0, 1],
    ``image_difference`` the largest difference of a channel, 0 to 255. Both are exact on the machine, the versions and the
    batch size that made the dataset; elsewhere the last bits of a convolution differ, and single pixels with them.
    """

    row: Row
    compared: bool
    mask_agreement: float = 1.0
    image_difference: int = 0

    @property
    def identical(self) -> bool:
        """Whether every pixel of image and mask is as it was."""
        return self.compared and self.mask_agreement == 1.0 and self.image_difference == 0


def reproduce(
    sample_id: str,
    *,
    recipe: str | Path,
    output: str | Path | None = None,
    batch_size: int | None = None,
    **fields: Any,
) -> Reproduction:
    """Generates a sample again from its recipe, never from the store, and compares it with the original where that is at
    hand.

    Args:
        sample_id: The id of the sample.
        recipe: A dataset (a folder, a URL or ``owner/name`` on the Hub) or a ``recipe.yaml``.
        output: A folder for ``<sample_id>.png`` and ``<sample_id>-label.png``.
        batch_size: Images generated at once; None for the number that the dataset was made with.
        **fields: Fields of :class:`DiffuMaskConfig` in place of the recipe's, such as ``model`` for one that moved.

    Returns:
        The row, and how it differs from the original.

    Raises:
        RecipeError: No sample id, one of another recipe, or one that the dataset does not hold.
        HubError: The Hub has no such dataset or cannot be reached.
        ExportError: ``output`` cannot be written.
    """
    shared = read_shared_recipe(recipe)
    index = _index_of(sample_id, recipe, shared.get("digest"))
    batch_size = batch_size or shared.get(BATCH_SIZE) or 1
    with tempfile.TemporaryDirectory(prefix="diffumask-reproduce-") as store:
        # A size of its own, so that a large dataset's sample can be made again.
        config = DiffuMaskConfig(recipe=recipe, num_samples=1, batch_size=batch_size, store=store, **fields)
        if not isinstance(config.recipe, Recipe):
            raise RecipeError("only generated samples can be reproduced: leave the config name out")
        if not sample_id.startswith(config.recipe.digest):
            raise RecipeError(
                f"{sample_id} was made by the recipe {sample_id[:12]}, but this one is {config.recipe.digest}: "
                "another recipe, model or version of this package"
            )
        runtime = Runtime(batch_size, config.runtime.device, config.runtime.dtype, Path(store))
        ((_, row),) = GeneratedSamples(config.recipe, runtime).rows(index, index + 1)
    if output is not None:
        _write(Path(output), row)
    original = _original(sample_id, recipe, split_of(index))
    return Reproduction(row, compared=False) if original is None else _compare(row, original)


def _index_of(sample_id: str, recipe: str | Path, written: str | None) -> int:
    parts = _SAMPLE_ID.fullmatch(sample_id)
    if not parts:
        raise RecipeError(f"{sample_id!r} is no sample id: expected <12 hex digits>-<8 digits>")
    if written is not None and written != parts[1]:
        raise RecipeError(f"{sample_id} is not of the recipe {str(recipe)!r}, whose samples begin with {written}-")
    return int(parts[2])


def _original(sample_id: str, recipe: str | Path, split: str) -> Row | None:
    """The row as the dataset holds it; None where there is a recipe and no data."""
    location = dataset_location(recipe)
    if isinstance(location, Path) and location.is_file():
        location = location.parent
    if not has_data(location):
        return None
    row = open_dataset(str(location)).find(sample_id, split)
    if row is None:
        raise RecipeError(f"the dataset {str(recipe)!r} holds no sample {sample_id}")
    return row


def _compare(row: Row, original: Row) -> Reproduction:
    image, image_then = (decode_image(cell["image"]).astype(int) for cell in (row, original))
    label, label_then = (decode_label(cell["label"]) for cell in (row, original))
    if image.shape != image_then.shape or label.shape != label_then.shape:
        return Reproduction(row, compared=True, mask_agreement=0.0, image_difference=255)
    return Reproduction(
        row,
        compared=True,
        mask_agreement=float(np.mean(label == label_then)),
        image_difference=int(np.abs(image - image_then).max()),
    )


def _write(output: Path, row: Row) -> None:
    try:
        output.mkdir(parents=True, exist_ok=True)
        (output / f"{row['sample_id']}.png").write_bytes(encoded_bytes(row["image"]))
        (output / f"{row['sample_id']}-label.png").write_bytes(encoded_bytes(row["label"]))
    except OSError as error:
        raise ExportError(f"cannot write {output}: {error.strerror or error}") from error
