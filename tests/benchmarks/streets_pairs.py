"""Crops of street photos and their captions, to train a text-to-image model on.

A mask says which classes a crop shows, as a person could in words; nothing else of it is written.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from diffumask_datasets.sample import IGNORE
from tests.benchmarks.photos_data import Pixels, StreetPhoto, street_classes, street_photos
from tests.benchmarks.streets_sizes import Sizes

__all__ = ["SHOWN_SHARE", "TERMS", "captions_of", "classes_in", "plain_caption", "street_vocabulary", "write_pairs"]

TERMS: Mapping[str, tuple[str, ...]] = {
    "sky": ("sky",),
    "building": ("building", "house"),
    "pole": ("pole", "post"),
    "road": ("road", "roadway"),
    "pavement": ("pavement", "sidewalk"),
    "tree": ("tree", "bush"),
    "sign": ("sign", "signpost"),
    "fence": ("fence", "railing"),
    "car": ("car", "vehicle"),
    "pedestrian": ("pedestrian", "person"),
    "bicyclist": ("bicyclist", "cyclist"),
}
"""What captions call each class; the first is what a photo is labelled by."""

TEMPLATES = ("a photo of {}", "a street with {}", "a street scene of {}", "{} in a city", "{}", "a view of {}")

SHOWN_SHARE = 0.002
"""A class that covers this much of a photo is named in the caption by which it is labelled."""

NAMED_SHARE = 0.01
"""The same of crops, most of which are much smaller."""

LEAST_SIDE = 0.15
"""The smallest crop, as a share of the photo's height; the largest is as high as the photo.

Sides are spread evenly over orders of magnitude: photos show nearly all classes, and words that always hold teach nothing.
"""


def street_vocabulary(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The field ``classes`` of a recipe for some classes, with every word that means one of them."""
    return {name: {"terms": list(TERMS[name]), "mass": name == "sky"} for name in names}


def classes_in(label: Pixels, names: Sequence[str], *, share: float = SHOWN_SHARE) -> tuple[str, ...]:
    """The classes that cover a ``share`` of a label (height, width) at least, in the order of ``names``."""
    shares = np.bincount(label.ravel(), minlength=IGNORE + 1) / label.size
    return tuple(name for number, name in enumerate(names, start=1) if shares[number] >= share)


def captions_of(shown: Sequence[str], rng: np.random.Generator) -> list[str]:
    """A caption of each template that names the classes, in any order; every other one by any of their words."""
    captions = []
    for number, template in enumerate(TEMPLATES):
        order = [shown[place] for place in rng.permutation(len(shown))]
        words = [str(rng.choice(TERMS[name])) if number % 2 else TERMS[name][0] for name in order]
        captions.append(template.format(_listed(words)))
    return captions


def plain_caption(shown: Sequence[str]) -> str:
    """The caption by which a photo is labelled."""
    return TEMPLATES[0].format(_listed([TERMS[name][0] for name in shown]))


def write_pairs(folder: Path, sizes: Sizes, *, seed: int = 0) -> Path:
    """Writes crops of the training and validation photos with their captions, ``00000.png`` beside ``00000.txt``.

    Args:
        folder: A folder of pairs that is already there stays as it is.
        sizes: Pixels, crops of each photo, and how many photos.
        seed: Where crops lie and how captions are worded.

    Returns:
        The folder.
    """
    if folder.exists():
        return folder
    draft = folder.with_suffix(".draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    names = street_classes()
    photos = [photo for split in ("train", "val") for photo in street_photos(split)[: sizes.photos]]
    for number in range(sizes.crops * len(photos)):
        rng = np.random.default_rng([seed, number])
        image, shown = _crop(photos[number % len(photos)], names, rng, sizes.pixels)
        image.save(draft / f"{number:05d}.png", compress_level=1)
        (draft / f"{number:05d}.txt").write_text("\n".join(captions_of(shown, rng)), encoding="utf-8")
    draft.rename(folder)
    return folder


def _crop(
    photo: StreetPhoto, names: Sequence[str], rng: np.random.Generator, pixels: int
) -> tuple[Image.Image, tuple[str, ...]]:
    """A square of the photo, mirrored every other time, and the classes in it."""
    height, width = photo.label.shape
    side = round(height * LEAST_SIDE ** rng.random())
    top, left = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
    cut = np.s_[top : top + side, left : left + side]
    image = photo.image[cut][:, :: 1 if rng.random() < 0.5 else -1]
    resized = Image.fromarray(np.ascontiguousarray(image)).resize((pixels, pixels), Image.Resampling.LANCZOS)
    return resized, classes_in(photo.label[cut], names, share=NAMED_SHARE)


def _listed(words: Sequence[str]) -> str:
    """ "sky, road and car"."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
