"""Connected components: small ones dropped, the others made instances. Pixels that touch at a corner are connected."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from diffumask_datasets.errors import ShapeError
from diffumask_datasets.masks.merge_fragments import join_limbs
from diffumask_datasets.sample import BACKGROUND, IGNORE

__all__ = ["Part", "separate_instances"]

Box = tuple[slice, slice]
Part = Callable[[npt.NDArray[np.bool_], Box], tuple[npt.NDArray[np.intp], int]]
"""Takes one connected mask apart, which is cut out of the image at a box: labels, 0 outside and 1..n inside, and n."""

_EIGHT_NEIGHBOURS = np.ones((3, 3), dtype=bool)
_MAX_INSTANCES = 65535


def separate_instances(
    labels: npt.NDArray[np.intp],
    unsure: npt.NDArray[np.bool_],
    *,
    class_ids: Sequence[int],
    min_area: float,
    part: Part | None = None,
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint16]]:
    """Separates a mask into instances.

    Each connected component of a class is one instance, with the limbs near it (:func:`join_limbs`); ids count from 1 in the
    order of ``class_ids``, then of rows. Unsure pixels become 255 and belong to no instance.

    Args:
        labels: (height, width), 0 background, else 1 + class index.
        unsure: Which pixels are.
        class_ids: The class ids by class index.
        min_area: A fraction of the image: a component smaller than that becomes background, one that is large enough only
            with its unsure pixels becomes 255 as a whole.
        part: May make several of one, as long as each of them is large enough.

    Returns:
        The semantic mask, uint8, and the instance mask, uint16, of shape (height, width).

    Raises:
        ShapeError: More than 65535 instances.
    """
    smallest = max(min_area * labels.size, 1)
    semantic = np.where(unsure, IGNORE, BACKGROUND).astype(np.uint8)
    instances = np.zeros(labels.shape, dtype=np.uint16)
    count = 0
    for index, class_id in enumerate(class_ids, start=1):
        components, large, kept = _components(labels == index, unsure, smallest, part)
        _check_count(count + int(kept.sum()), min_area)
        member = components > 0
        semantic[member] = np.where(large, IGNORE, BACKGROUND)[components[member]]
        inside = kept[components] & ~unsure
        semantic[inside] = class_id
        instances[inside] = (count + np.cumsum(kept))[components[inside]]
        count += int(kept.sum())
    return _without_stray_band(semantic, smallest), instances


def _components(
    mask: npt.NDArray[np.bool_], unsure: npt.NDArray[np.bool_], smallest: float, part: Part | None
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Components of a mask (0 is none), and of each whether it is large enough at all, and without unsure pixels."""
    components, found = ndimage.label(mask, structure=_EIGHT_NEIGHBOURS)
    if part is not None:
        components, found = _parted(components, smallest, part)
    components, found = join_limbs(components, found, smallest=smallest)
    large = np.bincount(components.ravel(), minlength=found + 1) >= smallest
    kept = np.bincount(components[~unsure], minlength=found + 1) >= smallest
    large[0] = kept[0] = False
    return components, large, kept


def _parted(components: npt.NDArray[np.intp], smallest: float, part: Part) -> tuple[npt.NDArray[np.intp], int]:
    """Components taken apart, numbered by their place in rows as :func:`scipy.ndimage.label` does."""
    parted = np.zeros_like(components)
    count = 0
    for number, box in enumerate(ndimage.find_objects(components), start=1):
        member = components[box] == number
        parts, found = part(member, box) if member.sum() >= 2 * smallest else (member.astype(np.intp), 1)
        if np.bincount(parts[member])[1:].min() < smallest:
            parts, found = member.astype(np.intp), 1
        parted[box][member] = count + parts[member]
        count += found
    return parted, count


def _check_count(count: int, min_area: float) -> None:
    if count > _MAX_INSTANCES:
        raise ShapeError(f"instances: expected at most {_MAX_INSTANCES}, got {count}; raise min_area (now {min_area})")


def _without_stray_band(semantic: npt.NDArray[np.uint8], smallest: float) -> npt.NDArray[np.uint8]:
    """Small 255 regions that touch no class are what is left around dropped components: background."""
    components, found = ndimage.label(semantic != BACKGROUND, structure=_EIGHT_NEIGHBOURS)
    has_class = np.bincount(components[semantic != IGNORE], minlength=found + 1) > 0
    stray = ~has_class & (np.bincount(components.ravel(), minlength=found + 1) < smallest)
    return np.where(stray[components], BACKGROUND, semantic).astype(np.uint8)
