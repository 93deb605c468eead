"""Photographs of the user as backgrounds of compositions: listed, checked, pinned, drawn."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from diffumask_datasets.augmentation.resizing import smooth
from diffumask_datasets.dataset.image_folder import FoundImage, find_images
from diffumask_datasets.dataset.image_io import read_image
from diffumask_datasets.errors import DataError, RecipeError
from diffumask_datasets.recipes.augment_settings import AugmentSettings, Compose
from diffumask_datasets.recipes.captions import Words, mentions

__all__ = ["photograph", "pin_backgrounds"]


def pin_backgrounds(steps: Sequence[AugmentSettings], words: Words = ()) -> tuple[AugmentSettings, ...]:
    """The steps with the content of their folders of backgrounds pinned.

    Names of files and sub-folders and the captions beside them are checked for the ``words`` of the classes; what the
    photographs show is not.

    Raises:
        RecipeError: A folder without photographs, one whose content is not what was pinned, or one that names a class.
    """
    return tuple(_pinned(step, words) if isinstance(step, Compose) else step for step in steps)


def photograph(settings: Compose, rng: np.random.Generator, *, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Draws one of the backgrounds: a random cut of the shape of ``size``, resized to it.

    Args:
        settings: Where the backgrounds are.
        rng: Decides what is drawn.
        size: Height and width in pixels.

    Returns:
        uint8 (height, width, 3).
    """
    assert settings.backgrounds is not None
    height, width = size
    images = _images(settings.backgrounds, settings.backgrounds_revision)
    pixels = read_image(images[int(rng.integers(len(images)))].path)
    own_height, own_width = pixels.shape[:2]
    shrink = min(own_height / height, own_width / width)
    cut_height, cut_width = max(1, int(height * shrink)), max(1, int(width * shrink))
    top, left = int(rng.integers(own_height - cut_height + 1)), int(rng.integers(own_width - cut_width + 1))
    cut = pixels[top : top + cut_height, left : left + cut_width]
    return smooth(np.ascontiguousarray(cut), height, width)


def _pinned(step: Compose, words: Words) -> Compose:
    if step.backgrounds is None:
        return step
    images = _found(step.backgrounds)
    content = hashlib.sha256("".join(image.content for image in images).encode()).hexdigest()[:16]
    if step.backgrounds_revision not in (None, content):
        raise RecipeError(
            f"augment: the backgrounds in {step.backgrounds} have content {content!r}, not {step.backgrounds_revision!r} "
            "that is asked for"
        )
    for image in images:
        _check_words(image, words)
    return step.model_copy(update={"backgrounds_revision": content})


def _check_words(image: FoundImage, words: Words) -> None:
    said = f"{image.path.stem}, {image.folder}, {image.caption or ''}"
    for name, _, _ in mentions(said, words):
        raise RecipeError(
            f"augment: the background {image.path} mentions the class {name!r}, and all of a background counts as "
            "background: take it out or rename it (file names, folders and captions are checked, not what the images show)"
        )


def _found(folder: str) -> tuple[FoundImage, ...]:
    """Ordered by content, so that a renamed file changes nothing."""
    try:
        images = find_images(Path(folder).expanduser()).images
    except DataError as error:
        raise RecipeError(f"augment: backgrounds: {error}") from error
    if not images:
        raise RecipeError(f"augment: backgrounds: every image in {folder} is too small to paste objects on")
    return tuple(sorted(images, key=lambda image: image.content))


@functools.lru_cache(maxsize=8)
def _images(folder: str, revision: str | None) -> tuple[FoundImage, ...]:
    del revision  # a part of the key alone: other content is listed anew
    return _found(folder)
