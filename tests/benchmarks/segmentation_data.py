"""The labelled images of the experiments on the toybox: drawn scenes stand for real ones, the model paints the rest."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np

from diffumask_datasets.columns import decode_image, png_cell
from diffumask_datasets.masks.pipeline import make_masks
from diffumask_datasets.recipe import MaskSettings, Recipe
from diffumask_datasets.segmentation.held_out import train_and_predict
from diffumask_datasets.segmentation.training import Hardware
from diffumask_datasets.toybox import BACKGROUNDS, CLASS_NAMES, render_scene

CLASSES = list(CLASS_NAMES)
UNSEEN = ("star", "cup", "flower")
"""Their real masks are withheld in the open-vocabulary experiment."""

NEAR, FAR = BACKGROUNDS[:4], BACKGROUNDS[4:]
"""Domain generalisation trains on scenes before the first and tests on scenes before the others."""

FOLDS = 3


@dataclass(frozen=True)
class Sizes:
    """How much of everything: images, steps of each training, repeats."""

    real: int
    test: int
    synthetic: tuple[int, ...]
    ablation: int
    steps: int
    repeats: int


FULL = Sizes(real=4000, test=500, synthetic=(250, 500, 1000, 2000, 4000), ablation=1000, steps=800, repeats=3)
QUICK = Sizes(real=60, test=20, synthetic=(10, 20), ablation=20, steps=20, repeats=1)


class Data:
    """Everything is made once and cached under ``folder``; fingerprints are ours, so that every process agrees on them."""

    def __init__(self, folder: Path, sizes: Sizes) -> None:
        self.folder, self.sizes = folder, sizes

    def prepare(self, *, ablations: bool) -> None:
        """Makes all that is painted, on two processes; the pool's own may not have children."""
        self.real("test")
        self.synthetic()
        self.unseen_synthetic()
        if ablations:
            self.synthetic("plain")
            for name in augmentations():
                self.synthetic(augment=(name,))

    @functools.cache  # noqa: B019 - one instance lives as long as its process
    def real(self, split: str) -> Any:
        """Drawn scenes with exact masks; ``train`` and ``test`` share none."""
        splits = {"train": self.sizes.real, "test": self.sizes.test}
        return self._load("toybox-rendered", split=split, splits=splits)

    @functools.cache  # noqa: B019
    def synthetic(self, prompts: str = "captions", **fields: Any) -> Any:
        """Painted images with soft maps, as many as the largest experiment takes; ``plain`` prompts only for ablations."""
        given = {"prompts": self.real("train")["prompt"][:]} if prompts == "captions" else {}
        count = max(self.sizes.synthetic) if prompts == "captions" and not fields else self.sizes.ablation
        return self._load(classes=CLASSES, num_samples=count, keep_heat_maps=True, split="train", **given, **fields)

    def unseen_synthetic(self) -> Any:
        """Painted images of the unseen classes alone."""
        return self._load(classes=list(UNSEEN), num_samples=self.sizes.ablation, split="train")

    def far(self, split: str, backgrounds: Sequence[str]) -> Any:
        """The drawn scenes before some backgrounds."""
        rows = self.real(split)
        chosen = [
            place
            for place, seed in enumerate(rows["seed"][:])
            if render_scene(seed, split=split).background in backgrounds
        ]
        return rows.select(chosen)

    def with_masks(self, rows: Any, **settings: Any) -> Any:
        """The same images with masks made anew from their soft maps."""
        name = hashlib.sha256(f"{rows._fingerprint}/{sorted(settings.items())}".encode()).hexdigest()[:16]
        return rows.map(_with_masks, fn_kwargs={"settings": settings}, features=rows.features, new_fingerprint=name)

    def believed(self, rows: Any, share_dropped: float, *, seed: int, settings: Mapping[str, Any]) -> Any:
        """Noise learning: without the share of each class whose masks agree least with held-out predictions."""
        agreement = self._agreement(rows, seed=seed, settings=settings)
        kept = np.ones(len(rows), dtype=bool)
        for class_id in range(1, len(CLASSES) + 1):
            holders = np.flatnonzero(~np.isnan(agreement[:, class_id]))
            worst = holders[np.argsort(agreement[holders, class_id], kind="stable")]
            kept[worst[: round(share_dropped * len(worst))]] = False
        return rows.select(np.flatnonzero(kept))

    def _agreement(self, rows: Any, *, seed: int, settings: Mapping[str, Any]) -> np.ndarray:
        """(rows, classes + 1) IoU of mask and held-out prediction, nan where the mask lacks the class."""
        path = self.folder / "agreement" / f"{rows._fingerprint}-{seed}-{settings['steps']}.npy"
        if path.exists():
            return np.load(path)
        agreement = np.full((len(rows), len(CLASSES) + 1), np.nan)
        fold_of = np.random.default_rng(seed).permutation(len(rows)) % FOLDS
        for fold in range(FOLDS):
            held_out = np.flatnonzero(fold_of == fold)
            predictions = train_and_predict(
                rows,
                train_on=np.flatnonzero(fold_of != fold),
                predict_on=held_out,
                folder=self.folder / "models" / f"fold-{fold}-{rows._fingerprint}-{seed}",
                hardware=Hardware("cpu"),
                seed=seed,
                **settings,
            )
            for index, prediction in zip(held_out, predictions, strict=True):
                label = np.asarray(rows[int(index)]["label"])
                for class_id in set(np.unique(label)) - {0, 255}:
                    agreement[index, class_id] = _iou(label, prediction, class_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, agreement)
        return agreement

    def _load(self, name: str | None = None, **fields: Any) -> Any:
        given = {"name": name} if name else {"store": str(self.folder / "store"), "num_proc": 2}
        return datasets.load_dataset("diffumask", cache_dir=str(self.folder / "datasets"), **given, **fields)


def augmentations() -> tuple[str, ...]:
    """Augmentations that this version's recipes may name."""
    return ("splicing", "blur", "occlusion", "perspective") if "augment" in Recipe.model_fields else ()


def _with_masks(row: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    maps = np.stack([np.asarray(soft) for soft in row["heat_maps"]["map"]]).astype(np.float32) / 255
    image = decode_image(row["image"])
    masks = make_masks(image, maps, class_ids=row["heat_maps"]["category"], settings=MaskSettings(**settings))
    return {"label": png_cell(masks.semantic)}


def _iou(label: np.ndarray, prediction: np.ndarray, class_id: int) -> float:
    known = label != 255
    one, other = (label == class_id) & known, (prediction == class_id) & known
    return float((one & other).sum() / (one | other).sum())
