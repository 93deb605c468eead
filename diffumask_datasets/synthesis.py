"""Prompts + backbone + masks → samples: the one place that knows all three.

Index k always sits at row k mod batch size of a batch of constant size, whichever of its neighbours are wanted, so that its
bytes depend on the recipe, k and the batch size alone: never on shard, order, worker or what was generated before.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import multiprocessing
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from diffumask_datasets.augmentation.pipeline import augmented, block_of, drawn_others, row_from
from diffumask_datasets.augmentation.scene import scene_of
from diffumask_datasets.backbones.options import LoadOptions, resolve_lora
from diffumask_datasets.backbones.protocol import Backbone, Painting, PaintRequest
from diffumask_datasets.backbones.registry import known_classes, load_backbone, resolve_revision
from diffumask_datasets.categories import check_known
from diffumask_datasets.columns import Row, features_of, from_payload, row_of, to_payload
from diffumask_datasets.errors import ModelError, RecipeError
from diffumask_datasets.masks.soft_maps import compact, soft_size
from diffumask_datasets.masks.soft_pipeline import masks_of_soft_maps
from diffumask_datasets.prompts.sources import check_prompts, pin_prompts, prompt_for
from diffumask_datasets.recipe import Recipe
from diffumask_datasets.sample import IGNORE, Sample
from diffumask_datasets.store import SampleStore, default_store_root

__all__ = ["Runtime", "Synthesizer", "label_image", "pin_affinity_net", "prepare", "warn_of_missing_masks"]

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
    pinned = {
        "revision": resolve_revision(recipe.model, recipe.revision),
        "affinity_net_revision": pin_affinity_net(recipe.affinity_net, recipe.affinity_net_revision),
        "lora_revision": resolve_lora(recipe.lora, recipe.lora_revision),
    }
    return recipe.model_copy(update=pinned)


def pin_affinity_net(path: str | None, revision: str | None) -> str | None:
    """The fingerprint of an affinity net's file, None where there is none.

    Raises:
        ModelError: the file is missing, or not the one that ``revision`` names.
    """
    if path is None:
        return None
    file = Path(path).expanduser()
    if not file.is_file():
        raise ModelError(f"there is no affinity net {path}; make one with diffumask train-affinity")
    present = hashlib.sha256(file.read_bytes()).hexdigest()[:16]
    if revision not in (None, present):
        raise ModelError(f"the affinity net {path} has content {present!r}, not {revision!r} that is asked for")
    return present


class Synthesizer:
    """Makes the samples of one prepared recipe, asking the store before it generates. Loads the model when first needed.

    ``rejected`` counts the attempts that were not good enough, by reason, as far as this object painted them.

    Raises:
        StoreError: the store cannot be written.
    """

    def __init__(self, recipe: Recipe, runtime: Runtime = Runtime()) -> None:
        self.recipe = recipe
        self.runtime = runtime
        self.rejected: Counter[str] = Counter()
        self._digest = recipe.digest
        self._features = features_of(recipe.classes, heat_maps=True, threshold_curve=True)
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
        samples: dict[int, Sample] = {}
        wanted = list(missing)
        for attempt in range(self.recipe.max_attempts):
            self._improve(samples, first, wanted, attempt)
            wanted = [index for index in wanted if self._is_poor(samples.get(index), attempt)]
            if not wanted:
                break
        payloads = {}
        for index in missing:
            warn_of_missing_masks(samples[index], self.recipe)
            payloads[index] = to_payload(row_of(samples[index]), self._features)
            self._store.put(index, payloads[index])
        return payloads

    def _improve(self, samples: dict[int, Sample], first: int, wanted: Sequence[int], attempt: int) -> None:
        """Paints one batch of constant size and keeps what is better than what ``samples`` has."""
        backbone = self._checked_backbone()
        rows = range(first, first + self.runtime.batch_size)
        # Rows that nobody wants repeat a wanted one: they keep the batch's size, on which the last bits depend.
        requests = [self._request(index if index in wanted else wanted[0], attempt) for index in rows]
        for index, request, painting in zip(rows, requests, backbone.paint(requests, self.recipe), strict=True):
            if index not in wanted:
                continue
            try:
                sample = self._sample(index, request, painting)
            except ModelError:  # a heat map without any signal: other noise may have some
                if attempt + 1 == self.recipe.max_attempts and index not in samples:
                    raise
                continue
            # Ties go to the earlier one, so that a hopeless sample is its first attempt.
            if index not in samples or sample.quality > samples[index].quality:
                samples[index] = sample

    def _is_poor(self, sample: Sample | None, attempt: int) -> bool:
        """Whether the best attempt so far is not good enough; counts why, where there is another."""
        if attempt + 1 == self.recipe.max_attempts:
            return False
        if sample is None:
            self.rejected["no usable heat map"] += 1
        elif set(sample.prompted) - set(sample.classes):
            self.rejected["a class has no mask"] += 1
        elif sample.quality < self.recipe.min_quality:
            self.rejected["quality under min_quality"] += 1
        else:
            return False
        return True

    def _checked_backbone(self) -> Backbone:
        if self._backbone is None:
            runtime = self.runtime
            options = LoadOptions.of(self.recipe)
            backbone = _loaded(self.recipe.model, self.recipe.revision, runtime.device, runtime.dtype, options)
            backbone.check(self.recipe)
            self._backbone = backbone
        return self._backbone

    def _request(self, index: int, attempt: int) -> PaintRequest:
        again = f"/{attempt}" if attempt else ""
        noise = hashlib.sha256(f"{self.recipe.seed}/noise/{index}{again}".encode()).digest()
        return PaintRequest(prompt_for(self.recipe, index), seed=int.from_bytes(noise[:8], "big") >> 1)

    def _sample(self, index: int, request: PaintRequest, painting: Painting) -> Sample:
        soft_maps, spread_maps = _soft_maps(painting, self.recipe)
        return label_image(
            painting.image,
            soft_maps,
            recipe=self.recipe,
            sample_id=f"{self._digest}-{index:08d}",
            prompted=tuple(self.recipe.classes.index(name) + 1 for name in painting.attention.categories),
            prompt=request.prompt.text,
            seed=request.seed,
            spread_maps=spread_maps,
        )


def label_image(
    image: npt.NDArray[np.uint8],
    soft_maps: npt.NDArray[np.uint8],
    *,
    recipe: Recipe,
    sample_id: str,
    prompted: tuple[int, ...],
    prompt: str,
    seed: int,
    spread_maps: npt.NDArray[np.uint8] | None = None,
) -> Sample:
    """The sample of a painted image and the soft maps of the class ids ``prompted``."""
    with _single_thread():
        masks = masks_of_soft_maps(image, soft_maps, class_ids=prompted, settings=recipe, spread_maps=spread_maps)
    visible = {int(value) for value in np.unique(masks.semantic)} - {0, IGNORE}
    return Sample(
        sample_id=sample_id,
        image=image,
        label=masks.semantic,
        instances=masks.instances,
        objects=masks.objects,
        prompted=prompted,
        classes=tuple(sorted(visible)),
        prompt=prompt,
        seed=seed,
        model=recipe.model,
        thresholds=masks.thresholds,
        quality=masks.quality,
        heat_maps=soft_maps,
        threshold_curves=masks.threshold_curves,
    )


def warn_of_missing_masks(sample: Sample, recipe: Recipe) -> None:
    """One warning for each class that was prompted and has no mask."""
    for class_id in sorted(set(sample.prompted) - set(sample.classes)):
        name = recipe.classes[class_id - 1]
        logger.warning("%s: no mask for %r; its quality counts as 0", sample.sample_id, name)


def _soft_maps(painting: Painting, recipe: Recipe) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8] | None]:
    """The maps that masks are made from, and those that γ is chosen by where self-attention is to do that."""
    power = recipe.affinity_power if recipe.affinity == "self-attention" else 0
    if power and recipe.threshold == "affinity":
        return _fused(painting, recipe, power=0), _fused(painting, recipe, power=power)
    return _fused(painting, recipe, power=power), None


def _fused(painting: Painting, recipe: Recipe, *, power: int) -> npt.NDArray[np.uint8]:
    from diffumask_datasets.attention.fusion import fuse

    height, width = soft_size(*painting.image.shape[:2])
    with _single_thread():
        maps = fuse(
            painting.attention, height=height, width=width, competition=recipe.competition, affinity_power=power
        )
    return compact(maps.numpy())


def _single_thread() -> AbstractContextManager[None]:
    from diffumask_datasets.backbones.steady import single_thread

    return single_thread()


@functools.lru_cache(maxsize=1)
def _loaded(model: str, revision: str | None, device: str | None, dtype: str | None, options: LoadOptions) -> Backbone:
    if multiprocessing.parent_process() is not None:
        import torch

        # OpenMP's threads do not survive a fork, and workers share the cores already.
        torch.set_num_threads(1)
    return load_backbone(model, revision=revision, device=device, dtype=dtype, options=options)
