"""The part ``label`` of bench_streets: test photos labelled by the trained model, and what other ways make of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from diffumask_datasets.dataset.reader import open_dataset
from diffumask_datasets.dataset.schema import Row, decode_label, soft_maps_of
from diffumask_datasets.generation.label import label_folder
from diffumask_datasets.generation.remask import remask
from diffumask_datasets.masks.quantization import dequantize
from diffumask_datasets.sample import BACKGROUND, IGNORE
from tests.benchmarks.photos_data import Pixels, StreetPhoto, street_classes, street_photos
from tests.benchmarks.photos_streets import LARGE
from tests.benchmarks.streets_pairs import classes_in, plain_caption, street_vocabulary
from tests.benchmarks.streets_sizes import Sizes

__all__ = [
    "COVERED",
    "WORDS",
    "Counts",
    "counted",
    "counted_labels",
    "ious_of",
    "label_figures",
    "labelled",
    "mious_of",
    "position_prior",
    "shown_photos",
]

COVERED = {"background": None, "min_area": 0.0005}
"""The fields of a scene that its classes cover, thin ones too; everything else is as ``diffumask label`` has it."""

WORDS = {"attention": "auto"}
"""The default of every model but the toybox, named so that no other default can come in between."""

BOOTSTRAPS = 200

Counts = npt.NDArray[np.int64]
"""Confusion (1 + classes, 1 + classes) of each photo: rows truth, columns labels; 0 is no label."""

Labels = Sequence[Pixels]


@dataclass(frozen=True)
class _Way:
    """How labels are made: its name in the figures, and the labels of the photos."""

    name: str
    labels: Callable[[], Labels]


def label_figures(folder: Path, sizes: Sizes, *, model: Path, untrained: Path) -> dict[str, float]:
    """Labels the test photos, and judges the labels beside every control.

    Args:
        folder: The work folder; what is labelled there is not labelled again.
        sizes: Which photos.
        model: The trained pipeline.
        untrained: The same before its training.

    Returns:
        For each way mIoU over the large classes, its deviation over photos, mIoU over all classes, the share of pixels that
        got a label, and the IoU of each class.
    """
    photos, names = shown_photos(sizes), street_classes()
    trained = labelled(folder, photos, model, sizes=sizes)
    ways = (
        _Way("label", lambda: _read(trained)),
        _Way("label_with_background", lambda: _read(_remasked(trained, {"background": "rest", "min_area": 0.005}))),
        _Way("label_hottest", lambda: _hottest(trained, photos)),
        _Way("shuffled_words", lambda: _shuffled(_read(trained))),
        _Way("position_prior", lambda: position_prior(photos, sizes)),
        _Way("untrained", lambda: _read(labelled(folder, photos, untrained, sizes=sizes))),
    )
    figures = {"label_photos": float(len(photos))}
    for way in ways:
        counts = np.stack([counted(photo, label) for photo, label in zip(photos, way.labels(), strict=True)])
        figures |= _figures(way.name, counts, names)
    figures["label_over_prior"] = figures["label_miou_7"] - figures["position_prior_miou_7"]
    return figures


def shown_photos(sizes: Sizes) -> list[StreetPhoto]:
    """The test photos that are labelled."""
    return street_photos("test")[:: sizes.photo_step][: sizes.photos]


def counted_labels(folder: Path, photos: Sequence[StreetPhoto]) -> list[Counts]:
    """The confusion of each photo by a dataset folder of its labels."""
    return [counted(photo, label) for photo, label in zip(photos, _read(folder), strict=True)]


def _class_ids(photo: StreetPhoto) -> tuple[int, ...]:
    """The classes that the caption of a photo names."""
    names = street_classes()
    return tuple(names.index(name) + 1 for name in classes_in(photo.label, names))


def labelled(folder: Path, photos: Sequence[StreetPhoto], model: Path, *, sizes: Sizes) -> Path:
    """Labels photos as ``diffumask label`` does, their words given, where that was not done before.

    Args:
        folder: The work folder.
        photos: The photos.
        model: The pipeline that is shown them.
        sizes: How large it is shown them.

    Returns:
        The dataset folder, its rows in the order of the photos.
    """
    shown = _shown(folder / "shown", photos)
    output = folder / "labelled" / f"{model.parent.name}-{model.name}"
    if not (output / "recipe.yaml").exists():
        label_folder(
            shown,
            output,
            split="test",
            classes=street_vocabulary(street_classes()),
            model=str(model),
            keep_heat_maps=True,
            store=folder / "store",
            workers=1,
            height=sizes.shown,
            width=sizes.shown,
            **WORDS,
            **COVERED,
        )
    return output


def ious_of(counts: Counts) -> npt.NDArray[np.float64]:
    """IoU of each class by counts (1 + classes, 1 + classes), nan of one that no photo shows."""
    both, truth = np.diag(counts)[1:], counts.sum(axis=1)[1:]
    either = truth + counts.sum(axis=0)[1:] - both
    return np.where(truth > 0, both / np.maximum(either, 1), np.nan)


def mious_of(counts: Counts, names: Sequence[str]) -> tuple[float, float]:
    """mIoU over the large classes, and over all."""
    ious = ious_of(counts)
    return float(np.nanmean(ious[np.isin(names, LARGE)])), float(np.nanmean(ious))


def position_prior(photos: Sequence[StreetPhoto], sizes: Sizes) -> list[Pixels]:
    """Of each pixel, the class that masks of the training photos have there most often, of those that the photo shows."""
    masks = np.stack([photo.label for photo in street_photos("train")[: sizes.photos]])
    often = np.stack([(masks == number).mean(axis=0) for number in range(1, len(street_classes()) + 1)])
    return [_most_often(often, np.array(_class_ids(photo))) for photo in photos]


def _most_often(often: npt.NDArray[np.float64], ids: npt.NDArray[np.intp]) -> Pixels:
    return ids[often[ids - 1].argmax(axis=0)].astype(np.uint8)


def _shown(folder: Path, photos: Sequence[StreetPhoto]) -> Path:
    """Photos beside their captions."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for photo in photos:
        Image.fromarray(photo.image).save(folder / f"{photo.name}.png", compress_level=1)
        caption = plain_caption(classes_in(photo.label, street_classes()))
        (folder / f"{photo.name}.txt").write_text(caption, encoding="utf-8")
    return folder


def _rows(folder: Path) -> list[Row]:
    """In the order of the photos."""
    return [row for _, row in open_dataset(folder).rows()]


def _read(folder: Path) -> list[Pixels]:
    return [decode_label(row["label"]) for row in _rows(folder)]


def _remasked(folder: Path, changes: dict[str, Any]) -> Path:
    output = folder.with_name(f"{folder.name}-background")
    if not (output / "recipe.yaml").exists():
        remask(folder, output, **changes)
    return output


def _hottest(folder: Path, photos: Sequence[StreetPhoto]) -> list[Pixels]:
    """The class of the hottest heat map at each pixel: no threshold, no refinement."""
    found = []
    for row, photo in zip(_rows(folder), photos, strict=True):
        height, width = photo.label.shape
        ids, maps = soft_maps_of(row)
        found.append(np.array(ids, np.uint8)[dequantize(maps, height=height, width=width).argmax(axis=0)])
    return found


def _shuffled(labels: Labels) -> list[Pixels]:
    """The same masks, each called by the name of the next one of its photo."""
    found = []
    for label in labels:
        table = np.arange(IGNORE + 1, dtype=np.uint8)
        shown = np.setdiff1d(np.unique(label), [BACKGROUND, IGNORE])
        table[shown] = np.roll(shown, 1)
        found.append(table[label])
    return found


def counted(photo: StreetPhoto, label: Pixels) -> Counts:
    """The confusion of one photo; pixels that the truth ignores count nowhere."""
    known = photo.label != IGNORE
    # What is unsure is no label: a class that has the pixel is missed.
    found = np.where(label == IGNORE, BACKGROUND, label)[known].astype(np.intp)
    count = 1 + len(street_classes())
    pairs = photo.label[known].astype(np.intp) * count + found
    return np.bincount(pairs, minlength=count**2).reshape(count, count)


def _figures(way: str, counts: Counts, names: Sequence[str]) -> dict[str, float]:
    total = counts.sum(axis=0)
    large, every = mious_of(total, names)
    rng = np.random.default_rng(0)
    draws = [counts[rng.integers(len(counts), size=len(counts))].sum(axis=0) for _ in range(BOOTSTRAPS)]
    spread = float(np.std([mious_of(draw, names)[0] for draw in draws]))
    return {
        f"{way}_miou_7": large,
        f"{way}_miou_7_sd": spread,
        f"{way}_miou_11": every,
        f"{way}_labelled_share": float(total[:, 1:].sum() / total.sum()),
        **{f"{way}_iou_{name}": float(iou) for name, iou in zip(names, ious_of(total), strict=True)},
    }
