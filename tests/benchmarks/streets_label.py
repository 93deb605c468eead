"""The part ``label`` of bench_streets: test photos labelled by the trained model, and what other ways make of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
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
from tests.benchmarks.streets_pairs import TERMS, classes_in, plain_caption, street_vocabulary
from tests.benchmarks.streets_sizes import Sizes

__all__ = [
    "AUTO",
    "CHOSEN",
    "COVERED",
    "Counts",
    "Reading",
    "best_model",
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


@dataclass(frozen=True)
class Reading:
    """How the attention of a model is read: fields of a recipe."""

    name: str
    fields: Mapping[str, Any]


AUTO = Reading("auto", {"attention": "auto"})
"""The default of every model but the toybox, named so that no other default can come in between."""

CHOSEN = Reading(
    "chosen",
    {
        "attention": "equal",
        "attention_layers": ["up_blocks.2.attentions.1.*"],
        "affinity": None,
        "ignore_margin": 0.0,
    },
)
"""What reads best of the models that are trained here, chosen on validation photos: the last layer, every pixel named."""

CHOOSING_STEP = 8

BOOTSTRAPS = 200

Counts = npt.NDArray[np.int64]
"""Confusion (1 + classes, 1 + classes) of each photo: rows truth, columns labels; 0 is no label."""

Labels = Sequence[Pixels]


@dataclass(frozen=True)
class _Way:
    """How labels are made: its name in the figures, and the labels of the photos."""

    name: str
    labels: Callable[[], Labels]


def label_figures(folder: Path, sizes: Sizes, *, model: Path, others: Mapping[str, Path]) -> dict[str, float]:
    """Labels the test photos, and judges the labels beside every control.

    Args:
        folder: The work folder; what is labelled there is not labelled again.
        sizes: Which photos.
        model: The trained pipeline.
        others: Other pipelines, by the name of their figures.

    Returns:
        For each way mIoU over the large classes, its deviation over photos, mIoU over all classes, the share of pixels that
        got a label, and the IoU of each class.
    """
    photos = shown_photos(sizes)
    usual, chosen = (labelled(folder, photos, model, sizes=sizes, read=read) for read in (AUTO, CHOSEN))
    rest = {"background": "rest", "min_area": 0.005, "threshold": "adaptive", "heat_normalization": "local"}
    ways = (
        _Way("label", lambda: _read(usual)),
        _Way("label_hottest", lambda: _hottest(usual, photos)),
        _Way("chosen", lambda: _read(chosen)),
        _Way("chosen_with_background", lambda: _read(_remasked(chosen, rest))),
        _Way("chosen_hottest", lambda: _hottest(chosen, photos)),
        _Way("shuffled_words", lambda: _shuffled(_read(chosen))),
        _Way("position_prior", lambda: position_prior(photos, sizes)),
        *(
            _Way(name, lambda other=other: _read(labelled(folder, photos, other, sizes=sizes)))  # type: ignore[misc]
            for name, other in others.items()
        ),
    )
    figures = {"label_photos": float(len(photos)), **_judged(ways, photos)}
    for way in ("label", "chosen"):
        figures[f"{way}_over_prior"] = figures[f"{way}_miou_7"] - figures["position_prior_miou_7"]
    return figures


def _judged(ways: Sequence[_Way], photos: Sequence[StreetPhoto]) -> dict[str, float]:
    figures: dict[str, float] = {}
    for way in ways:
        counts = np.stack([counted(photo, label) for photo, label in zip(photos, way.labels(), strict=True)])
        figures |= _figures(way.name, counts, street_classes())
    return figures


def shown_photos(sizes: Sizes) -> list[StreetPhoto]:
    """The test photos that are labelled."""
    return street_photos("test")[:: sizes.photo_step][: sizes.photos]


def best_model(folder: Path, sizes: Sizes, models: Sequence[Path]) -> tuple[Path, dict[str, float]]:
    """The model with the best labels of some photos that it was trained on, and mIoU over the large classes of each.

    What is told from captions can be learned by heart: a network then says everywhere what a crop shows. The validation
    photos are of a single drive at dusk, so that those of other drives are asked as well.
    """
    photos = [*street_photos("train"), *street_photos("val")][::CHOOSING_STEP][: sizes.photos]
    mious = {}
    for model in models:
        labels = labelled(folder, photos, model, sizes=sizes, what="choosing")
        mious[model] = mious_of(np.sum(counted_labels(labels, photos), axis=0), list(TERMS))[0]
    best = max(models, key=lambda model: mious[model])
    return best, {f"choosing_miou_7_{model.name.replace('-', '_')}": miou for model, miou in mious.items()}


def counted_labels(folder: Path, photos: Sequence[StreetPhoto]) -> list[Counts]:
    """The confusion of each photo by a dataset folder of its labels."""
    return [counted(photo, label) for photo, label in zip(photos, _read(folder), strict=True)]


def _class_ids(photo: StreetPhoto) -> tuple[int, ...]:
    """The classes that the caption of a photo names."""
    names = street_classes()
    return tuple(names.index(name) + 1 for name in classes_in(photo.label, names))


def labelled(
    folder: Path,
    photos: Sequence[StreetPhoto],
    model: Path,
    *,
    sizes: Sizes,
    read: Reading | None = None,
    what: str = "test",
) -> Path:
    """Labels photos as ``diffumask label`` does, their words given, where that was not done before.

    Args:
        folder: The work folder.
        photos: The photos.
        model: The pipeline that is shown them.
        sizes: How large it is shown them.
        read: How its attention is read; :data:`CHOSEN` where nothing else is said.
        what: What they are called.

    Returns:
        The dataset folder, its rows in the order of the photos.
    """
    shown = _shown(folder / f"shown-{what}", photos)
    read = read or CHOSEN
    output = folder / f"labelled-{what}" / f"{model.parent.name}-{model.name}-{read.name}"
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
            **read.fields,
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
