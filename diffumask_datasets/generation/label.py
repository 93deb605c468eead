"""``diffumask label``: pseudo-labels for images that exist already, by the attention of a model or by SAM 3."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from diffumask_datasets.dataset.image_folder import find_images
from diffumask_datasets.dataset.image_io import Pixels, read_image
from diffumask_datasets.dataset.image_listing import LeftOut, merged
from diffumask_datasets.dataset.schema import Row, features_of, from_payload, row_of, to_payload
from diffumask_datasets.dataset.storage import Location, parse_location
from diffumask_datasets.dataset.writer import check_target, write_folder
from diffumask_datasets.errors import CaptureError, DataError, ModelError, RecipeError
from diffumask_datasets.generation.engines.best_workers import best_workers, check_workers
from diffumask_datasets.generation.engines.devices import devices_of
from diffumask_datasets.generation.engines.local import do_all
from diffumask_datasets.generation.heat_maps import HeatMaps, heat_maps_of
from diffumask_datasets.generation.label_tasks import LabelTask, hashed, label_tasks, store_index, task_key
from diffumask_datasets.generation.labellers import ATTENTION, CONCEPTS, Labellers, agreement, label_by_names
from diffumask_datasets.generation.masks import label_image, warn_of_missing_masks
from diffumask_datasets.generation.observing import (
    load_observer,
    read_attention,
    show_image,
    shown_timesteps,
)
from diffumask_datasets.generation.prepare import prepare
from diffumask_datasets.generation.store import SampleStore
from diffumask_datasets.generation.workers import Progress, Work
from diffumask_datasets.models.determinism import single_thread
from diffumask_datasets.models.locks import model_lock
from diffumask_datasets.prompts.prompt import Prompt
from diffumask_datasets.recipes.file import LABELLED
from diffumask_datasets.recipes.recipe import Recipe
from diffumask_datasets.sample import Sample

__all__ = ["Labelled", "label_folder"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Labelled:
    """How many images were labelled, and the files that were left out."""

    count: int
    left_out: LeftOut


def label_folder(
    images: str | Path,
    output: str | Path,
    *,
    labeller: str = ATTENTION,
    labeller_model: str = "facebook/sam3",
    timesteps: Sequence[int] | None = None,
    split: str = "train",
    keep_heat_maps: bool = False,
    device: str | None = None,
    dtype: str | None = None,
    store: str | Path | None = None,
    workers: int | None = None,
    **fields: Any,
) -> Labelled:
    """Labels the images of a folder and writes them as a dataset folder, in the format of ``diffumask generate``.

    Noise is added to each image, the denoiser runs once at each timestep, and masks are made of its attention as they are
    for generated images. The classes of an image are those that its caption names, else the class that its sub-folder is
    named after, else all of ``classes``. A label depends on the recipe, the timesteps, the pixels and the prompt alone;
    started again after an interruption, finished images are taken from the store.

    Args:
        images: The folder of images; :func:`find_images` says which files are images and where captions are.
        output: The folder or URL of the dataset.
        labeller: ``"attention"`` of the recipe's model, ``"sam3"``, which is told the names of the classes and no more, or
            both: ``"sam3,attention"`` takes the masks of the first, and their quality is how far the second agrees.
        labeller_model: The SAM 3, a folder or Hub id.
        timesteps: Training timesteps; None for nine, as far as they lie in ``attention_timesteps``.
        split: The name of the split.
        keep_heat_maps: Whether the column ``heat_maps`` is added, for :func:`~diffumask_datasets.generation.remask.remask`.
        device: torch's name of the device, None for the best there is.
        dtype: torch's name of the dtype, None for that of the device.
        store: The folder or URL of the sample store, None for the default.
        workers: Processes that label, each on a GPU of its own where there are some. None for one on each GPU, or as many as
            cores and free memory carry, unless so few images are left that one is faster.
        **fields: Those of a :class:`~diffumask_datasets.Recipe`.

    Returns:
        The number of labelled images and the files left out: those that are no images, and images whose caption names no
        class or whose shorter side has under 8 pixels.

    Raises:
        DataError: no such folder, no images, or a file that cannot be read.
        RecipeError: illegal fields, or timesteps outside 0 to 999.
        ModelError: a model that cannot be loaded or shown images.
        TokenAlignmentError: more classes in one prompt than the model reads.
        ExportError: ``output`` holds something that is not ours.
    """
    target = parse_location(output)
    labellers = Labellers.of(labeller, labeller_model)
    recipe = prepare(Recipe.of(**fields), splits=(), generates=ATTENTION in labellers.names)
    if labellers.names[0] == CONCEPTS and recipe.threshold == "affinity":
        raise RecipeError(f"the threshold 'affinity' needs the attention of a model, and the labeller is {labeller}")
    if recipe.presence is not None:
        raise RecipeError("presence: label first, then run diffumask curate --presence on the labelled folder")
    if recipe.augment:
        raise RecipeError("augment: label first, then run diffumask augment on the labelled folder")
    check_workers(workers)
    visited = shown_timesteps(recipe, timesteps)
    check_target(target)
    if CONCEPTS in labellers.names:
        # torch is loaded for it.
        from diffumask_datasets.masks.promptable_cost import tell_concept_cost

        remedy = "labeller=attention asks less of a machine"
        tell_concept_cost(str(labellers.model), labellers.revision, remedy=remedy)
    folder = find_images(Path(images))
    tasks, without_class = label_tasks(folder.images, recipe)
    if not tasks:
        raise DataError(
            f"no image of {images} shows one of the classes {', '.join(recipe.classes)}, as captions have it"
        )
    given: _Given = (recipe, labellers, visited, device, dtype, parse_location(store) if store else None)
    work = _Labeller(*given)
    digest = work.digest_of(tasks)
    described = {"images": len(tasks), "timesteps": list(visited), "digest": digest, **labellers.described}
    with tqdm(total=len(tasks), unit="image", disable=None) as progress:
        _fill(given, tasks, work.missing(tasks), workers=workers, progress=progress)
        rows = work.rows(tasks, digest, progress)
        write_folder(
            target,
            {split: rows},
            recipe=labellers.recorded(recipe),
            sizes={split: len(tasks)},
            keep_heat_maps=keep_heat_maps,
            extra_fields={LABELLED: described},
        )
    return Labelled(len(tasks), merged([without_class, folder.left_out]))


_Given = tuple[Recipe, Labellers, tuple[int, ...], str | None, str | None, Location | None]
"""The arguments of a :class:`_Labeller`: recipe, labellers, timesteps, device, dtype, store."""


class _Labeller:
    """Labels images one by one, looking them up in the store first; loads the model when first needed."""

    def __init__(
        self,
        recipe: Recipe,
        labellers: Labellers,
        timesteps: tuple[int, ...],
        device: str | None,
        dtype: str | None,
        root: Location | None,
    ) -> None:
        self._recipe, self._labellers, self._timesteps = recipe, labellers, timesteps
        self._device, self._dtype = device, dtype
        self._digest = hashed([recipe.digest, LABELLED, *timesteps, *labellers.identity])[:12]
        self._store = SampleStore(root, self._digest)
        self._features = features_of(recipe.classes, heat_maps=True, threshold_curve=True)

    def digest_of(self, tasks: Sequence[LabelTask]) -> str:
        """What the ids of these images' samples begin with: no other images, and no other recipe, have it."""
        return hashed([self._digest, *(task_key(task) for task in tasks)])[:12]

    def rows(self, tasks: Sequence[LabelTask], digest: str, progress: tqdm[Any]) -> Iterator[Row]:
        for index, task in enumerate(tasks):
            yield {**self.row(task), "sample_id": f"{digest}-{index:08d}"}
            progress.update()

    def missing(self, tasks: Sequence[LabelTask]) -> list[LabelTask]:
        """Those without an entry in the store, each once."""
        unique = {store_index(task): task for task in tasks}
        return [task for index, task in unique.items() if not self._store.present(index, index + 1)]

    def row(self, task: LabelTask) -> Row:
        """The row of one image, which the store has by then."""
        index = store_index(task)
        payload = self._store.get(index)
        if payload is None:
            self._store.check_writable()
            # An entry says nothing of where the image lay.
            payload = to_payload({**self._labelled(task), "sample_id": f"{self._digest}-{index}"}, self._features)
            self._store.put(index, payload)
        return from_payload(payload)

    def _labelled(self, task: LabelTask) -> Row:
        image = read_image(task.found.path)
        try:
            sample, *others = (self._sample(name, image, task) for name in self._labellers.names)
        except (CaptureError, ModelError) as error:
            raise type(error)(f"{task.found.path}: {error}") from error
        for other in others:
            sample = dataclasses.replace(sample, quality=agreement(sample, other))
        warn_of_missing_masks(sample.sample_id, sample.maskless, self._recipe)
        return row_of(sample)

    def _sample(self, labeller: str, image: Pixels, task: LabelTask) -> Sample:
        """The image as one of the labellers sees it."""
        recipe, prompt = self._recipe, task.prompt
        seed = int(hashed([recipe.seed, "noise", task_key(task)])[:16], 16) >> 1
        known: dict[str, Any] = {"sample_id": str(task.found.path), "prompt": prompt.text, "seed": seed}
        if labeller == CONCEPTS:
            how: dict[str, Any] = {"labellers": self._labellers, "device": self._device}
            return label_by_names(image, prompt.categories, recipe=recipe, **how, **known)
        prompted = tuple(recipe.classes.index(name) + 1 for name in prompt.categories)
        return label_image(image, self._heat_maps(image, prompt, seed), recipe=recipe, prompted=prompted, **known)

    def _heat_maps(self, image: Pixels, prompt: Prompt, seed: int) -> HeatMaps:
        height, width, _ = image.shape
        with model_lock, single_thread():
            observer = load_observer(self._recipe, self._device, self._dtype)
            seen = show_image(observer, image, prompt, recipe=self._recipe, timesteps=self._timesteps, seed=seed)
            return heat_maps_of(read_attention(seen, self._recipe), self._recipe, height=height, width=width)


def _fill(
    given: _Given, tasks: Sequence[LabelTask], missing: Sequence[LabelTask], *, workers: int | None, progress: tqdm[Any]
) -> None:
    """Has other processes fill the store, where several are asked for or are faster; ends the progress if so."""
    recipe, labellers, timesteps, device, dtype, root = given
    if workers is None and CONCEPTS in labellers.names:
        workers = 1  # it fills the memory of a machine by itself
    if workers is None:
        steps = len(timesteps) / 2  # without guidance
        count_of = {"samples": len(missing), "tasks": len(missing)}
        workers = best_workers(recipe, device=device, dtype=dtype, steps=steps, **count_of)
    workers = min(workers, len(missing))
    if workers > 1:
        progress.update(len(tasks) - len(missing))
        arguments = [(recipe, labellers, timesteps, own, dtype, root) for own in devices_of(device, workers)]

        def count(_: None) -> None:
            progress.update()

        do_all(recipe, _label_work, arguments, missing, report=count)
        progress.disable = True


def _label_work(*given: Any) -> Work[LabelTask, None]:
    labeller = _Labeller(*given)

    def work(task: LabelTask, report: Progress) -> None:
        labeller.row(task)
        report(None)

    return work
