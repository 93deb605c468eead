"""How many images a GPU generates at once where the user names no number: measured once, then remembered.

What was found lies in the cache folder, one small file for each model, size, dtype and kind of GPU. The measurement runs in
a process of its own, which gives all memory back when it ends; the process that asks takes no GPU.
"""

from __future__ import annotations

import hashlib
import json
import logging
from contextlib import suppress
from pathlib import Path
from typing import Any

from diffumask_datasets.dataset.atomic import atomic_file
from diffumask_datasets.diffusion.registry import is_registered_here
from diffumask_datasets.errors import DataError, DiffuMaskError, ExportError
from diffumask_datasets.generation.engines.devices import MOST_IMAGES, gpu_count, gpu_names
from diffumask_datasets.generation.store import cache_folder
from diffumask_datasets.generation.workers import Inline, WorkerPool
from diffumask_datasets.recipes.file import BATCH_SIZE
from diffumask_datasets.recipes.json_reader import read_json
from diffumask_datasets.recipes.recipe import Recipe
from diffumask_datasets.recipes.settings import CaptureSettings, GenerateSettings, LoadSettings

__all__ = ["best_batch_size"]

logger = logging.getLogger(__name__)

FOLDER = "batch-sizes"


def best_batch_size(recipe: Recipe, *, device: str | None, dtype: str | None, samples: int | None) -> int:
    """The number of images that are generated at once where the user names none; one line of the log says it.

    Args:
        recipe: A prepared recipe.
        device: torch's name of the device, None for the best there is.
        dtype: torch's name of the dtype, None for that of the device.
        samples: Images of the largest split, None for an endless one: no batch is larger than the share of a GPU.

    Returns:
        A power of two; 1 on the CPU, where a batch is not faster.
    """
    gpus = gpu_count() if device in (None, "cuda") else int(device.startswith("cuda"))
    if not gpus or recipe.model == "planted":
        return 1
    size = _remembered_or_measured(recipe, device, dtype)
    while samples is not None and size > max(1, -(-samples // gpus)):
        size //= 2
    if size > 1:
        logger.info("images are generated in batches of %d; batch_size=… takes another number", size)
    return size


def _remembered_or_measured(recipe: Recipe, device: str | None, dtype: str | None) -> int:
    known = _what_decides(recipe, device, dtype)
    key = hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:12]
    path = cache_folder() / FOLDER / f"{key}.json"
    remembered = _remembered(path)
    if remembered is not None:
        return remembered
    logger.info("measuring how many images of %dx%d fit on the GPU at once", recipe.height, recipe.width)
    try:
        size, is_alone = _measured(recipe, device, dtype)
    except DiffuMaskError as error:  # who generates meets it again, and says what to do
        logger.warning("the batch size could not be measured (%s): images are generated one at a time", error)
        return 1
    if is_alone:
        with suppress(ExportError), atomic_file(path) as draft:  # measured again where nothing can be written
            draft.write_text(json.dumps({BATCH_SIZE: size, **known}, indent=1) + "\n", encoding="utf-8")
    return size


def _measured(recipe: Recipe, device: str | None, dtype: str | None) -> tuple[int, bool]:
    from diffumask_datasets.generation.batch_memory import measure  # imports torch, which only a GPU is worth

    arguments = (recipe, device, dtype)
    if is_registered_here(recipe.model, recipe.revision):
        return Inline(measure, arguments).submit(None).result()
    with WorkerPool(measure, [arguments]) as pool:
        return pool.submit(None).result()


def _what_decides(recipe: Recipe, device: str | None, dtype: str | None) -> dict[str, Any]:
    """All that the memory of a batch depends on."""
    groups = (LoadSettings, GenerateSettings, CaptureSettings)
    fields = {name: value for group in groups for name, value in group.subset_of(recipe).identity().items()}
    for name in ("num_inference_steps", "attention_timesteps", "negative_prompt"):
        del fields[name]
    fields |= {"affinity": recipe.affinity, "classes_per_image": recipe.classes_per_image}
    content = recipe.revision or recipe.model
    return {"model": content, **fields, "device": device or "cuda", "dtype": dtype, "gpus": gpu_names()}


def _remembered(path: Path) -> int | None:
    if not path.is_file():
        return None
    with suppress(DataError):  # damaged: measured again
        found = read_json(path, what="the batch size", error=DataError)
        size = found.get(BATCH_SIZE) if isinstance(found, dict) else None
        if isinstance(size, int) and 1 <= size <= MOST_IMAGES:
            return size
    return None
