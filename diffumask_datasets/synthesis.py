"""Prompts + backbone + masks → samples: the one place that knows all three.

Index k always sits at row k mod batch size of a batch of constant size, whichever of its neighbours are wanted, so that its
bytes depend on the recipe, k and the batch size alone: never on shard, order, worker or what was generated before.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import multiprocessing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from diffumask_datasets.augmentation.pipeline import augmented, block_of, drawn_others, row_from
from diffumask_datasets.augmentation.scene import scene_of
from diffumask_datasets.backbones.protocol import Backbone, Painting, PaintRequest
from diffumask_datasets.backbones.registry import known_classes, load_backbone, resolve_revision
from diffumask_datasets.categories import check_known
from diffumask_datasets.columns import Row, features_of, from_payload, row_of, to_payload
from diffumask_datasets.errors import RecipeError
from diffumask_datasets.masks.pipeline import make_masks
from diffumask_datasets.prompts.sources import check_prompts, pin_prompts, prompt_for
from diffumask_datasets.recipe import Recipe
from diffumask_datasets.sample import IGNORE, Sample
from diffumask_datasets.store import SampleStore, default_store_root

__all__ = ["Runtime", "Synthesizer", "prepare"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Runtime:
    """What changes how samples are made but not what they are.

    ``device`` and ``dtype`` are torch's names, None for the best the machine has; ``store`` is the folder of the sample
    store, None for :func:`diffumask_datasets.store.default_store_root`.
    """

    batch_size: int = 1
    device: str | None = None
    dtype: str | None = None
    store: Path | None = None

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise RecipeError(f"batch_size: expected a number from 1 up, got {self.batch_size}")


def prepare(recipe: Recipe, splits: Sequence[str] = ("train",)) -> Recipe:
    """The recipe with its model and prompts pinned to the content they have now; only such a recipe's digest names samples.

    Raises:
        UnknownClassError: the model paints a closed list of classes and one is not on it.
        TokenAlignmentError: a prompt that names none of the classes.
        RecipeError: captions that cannot be read, or that name a class nowhere in one of ``splits``.
        ModelError: the model, or a text model of the prompts, cannot be found.
    """
    known = known_classes(recipe.model)
    if known is not None:
        check_known(
            [term for name in recipe.classes for term in recipe.words_of(name).terms], known, model=recipe.model
        )
    recipe = pin_prompts(recipe)
    check_prompts(recipe, splits)
    return recipe.model_copy(update={"revision": resolve_revision(recipe.model, recipe.revision)})


class Synthesizer:
    """Makes the samples of one prepared recipe, asking the store before it generates. Loads the model when first needed.

    Raises:
        StoreError: the store cannot be written.
    """

    def __init__(self, recipe: Recipe, runtime: Runtime = Runtime()) -> None:
        self.recipe = recipe
        self.runtime = runtime
        self._digest = recipe.digest
        self._features = features_of(recipe.classes, heat_maps=True)
        self._backbone: Backbone | None = None
        # Augmented samples are cheap to make again: the store keeps what they are made of.
        self._plain: Synthesizer | None = None
        self._store: SampleStore
        if recipe.augment:
            self._plain = Synthesizer(recipe.model_copy(update={"augment": ()}), runtime)
            self._store = self._plain._store
        else:
            self._store = SampleStore(runtime.store or default_store_root(), self._digest)

    def rows(self, start: int, stop: int) -> Iterator[tuple[int, Row]]:
        """The ``default`` rows of the indices ``start`` ≤ k < ``stop``, in order, a batch at a time."""
        if self._plain:
            yield from self._augmented_rows(self._plain, start, stop)
            return
        size = self.runtime.batch_size
        for first in range(start - start % size, stop, size):
            wanted = range(max(first, start), min(first + size, stop))
            found = {index: self._store.get(index) for index in wanted}
            missing = [index for index, payload in found.items() if payload is None]
            made = self._generate(first, missing) if missing else {}
            for index in wanted:
                payload = found[index] or made[index]
                yield index, from_payload(payload)

    def _augmented_rows(self, plain: Synthesizer, start: int, stop: int) -> Iterator[tuple[int, Row]]:
        """Sample k is the plain sample k after the steps; others that it needs come from its block of indices."""
        recipe, size = self.recipe, self.runtime.batch_size
        kept: dict[int, Row] = {}

        def fetch(index: int) -> Row:
            if index not in kept:
                # The whole batch: its other rows are wanted sooner or later, and a batch of one wanted row costs as much.
                first = index - index % size
                kept.update(plain.rows(first, first + size))
            return kept[index]

        for index in range(start, stop):
            block = block_of(index, recipe.augment)
            for old in [old for old in kept if old < block.start - size]:
                del kept[old]
            row = fetch(index)
            others = drawn_others(fetch, index, block)
            scene = augmented(scene_of(row), recipe.augment, seed=recipe.seed, key=str(index), others=others)
            yield index, row_from(scene, row, f"{self._digest}-{index:08d}")

    def _generate(self, first: int, missing: Sequence[int]) -> dict[int, bytes]:
        backbone = self._checked_backbone()
        rows = range(first, first + self.runtime.batch_size)
        # Rows that nobody wants repeat a wanted one: they keep the batch's size, on which the last bits depend.
        requests = [self._request(index if index in missing else missing[0]) for index in rows]
        paintings = backbone.paint(requests, self.recipe)
        payloads = {}
        for index, request, painting in zip(rows, requests, paintings, strict=True):
            if index in missing:
                sample = self._sample(index, request, painting)
                payloads[index] = to_payload(row_of(sample), self._features)
                self._store.put(index, payloads[index])
        return payloads

    def _checked_backbone(self) -> Backbone:
        if self._backbone is None:
            runtime = self.runtime
            backbone = _loaded(self.recipe.model, self.recipe.revision, runtime.device, runtime.dtype)
            backbone.check(self.recipe)
            self._backbone = backbone
        return self._backbone

    def _request(self, index: int) -> PaintRequest:
        noise = hashlib.sha256(f"{self.recipe.seed}/noise/{index}".encode()).digest()
        return PaintRequest(prompt_for(self.recipe, index), seed=int.from_bytes(noise[:8], "big") >> 1)

    def _sample(self, index: int, request: PaintRequest, painting: Painting) -> Sample:
        recipe = self.recipe
        heat_maps = _heat_maps(painting)
        prompted = tuple(recipe.classes.index(name) + 1 for name in painting.attention.categories)
        masks = make_masks(painting.image, heat_maps, class_ids=prompted, settings=recipe)
        visible = {int(value) for value in np.unique(masks.semantic)} - {0, IGNORE}
        sample_id = f"{self._digest}-{index:08d}"
        for class_id in sorted(set(prompted) - visible):
            logger.warning("%s: no mask for %r; its quality counts as 0", sample_id, recipe.classes[class_id - 1])
        return Sample(
            sample_id=sample_id,
            image=painting.image,
            label=masks.semantic,
            instances=masks.instances,
            objects=masks.objects,
            prompted=prompted,
            classes=tuple(sorted(visible)),
            prompt=request.prompt.text,
            seed=request.seed,
            model=recipe.model,
            thresholds=masks.thresholds,
            quality=masks.quality,
            heat_maps=np.round(heat_maps * 255).astype(np.uint8),
        )


def _heat_maps(painting: Painting) -> npt.NDArray[np.float32]:
    from diffumask_datasets.attention.fusion import fuse
    from diffumask_datasets.backbones.steady import single_thread

    height, width, _ = painting.image.shape
    with single_thread():
        maps: npt.NDArray[np.float32] = fuse(painting.attention, height=height, width=width).numpy()
    return maps


@functools.lru_cache(maxsize=1)
def _loaded(model: str, revision: str | None, device: str | None, dtype: str | None) -> Backbone:
    if multiprocessing.parent_process() is not None:
        import torch

        # OpenMP's threads do not survive a fork, and workers share the cores already.
        torch.set_num_threads(1)
    return load_backbone(model, revision=revision, device=device, dtype=dtype)
