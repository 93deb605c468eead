"""Pascal VOC, Cityscapes, ADE20K and a plain folder, read as they lie on disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from diffumask_datasets.dataset.image_listing import is_hidden, merged
from diffumask_datasets.dataset.mask_decoding import ColourTable
from diffumask_datasets.errors import DataError
from diffumask_datasets.sample import IGNORE
from diffumask_datasets.segmentation.labelled import LabelledImages, rows_of_paths
from diffumask_datasets.segmentation.layout_classes import (
    ade20k_classes,
    cityscapes_classes,
    folder_meaning,
    voc_meaning,
)
from diffumask_datasets.segmentation.layout_files import NamedImages, Pairs, pair_by_name, pair_listed
from diffumask_datasets.segmentation.layout_tables import (
    ADE20K_SPLITS,
    ADE20K_TABLE,
    CITYSCAPES_IMAGE,
    CITYSCAPES_LAST_ID,
    CITYSCAPES_MASK,
    FOLDER_MASKS,
)
from diffumask_datasets.segmentation.voc_tree import voc_masks, voc_names

__all__ = ["read_layout"]


def read_layout(layout: str, root: Path, *, split: str | None = None) -> LabelledImages:
    """Reads a published dataset.

    Args:
        layout: The name of its layout.
        root: Where it lies.
        split: The split; default: the one that is evaluated on.

    Returns:
        Its labelled images.

    Raises:
        DataError: A file or folder is missing, or the split is empty; says which.
    """
    if not root.is_dir():
        raise DataError(f"{root} is no folder: give the root of the {layout} dataset")
    return _READERS[layout](root, split)


def _voc(root: Path, split: str | None) -> LabelledImages:
    listing = _voc_listing(root, split or "val")
    names = voc_names(listing)
    images = NamedImages.of(_existing(root / "JPEGImages", "voc"))
    pairs = pair_listed(names, images, voc_masks(root, names), suffix=".jpg", where=listing)
    classes, colours = voc_meaning(root)
    return _labelled(pairs, listing, classes, colours=colours)


def _voc_listing(root: Path, split: str) -> Path:
    lists = root / "ImageSets" / "Segmentation"
    listing = lists / f"{split}.txt"
    nested = sorted(root.glob("VOCdevkit/VOC*")) or sorted(root.glob("VOC20*"))
    if not listing.exists() and nested:
        raise DataError(f"no {listing}: give {nested[-1]} as the root")
    others = ", ".join(path.stem for path in sorted(lists.glob("*.txt")) if not is_hidden(Path(path.name)))
    if not listing.exists() and others:
        raise DataError(f"no {listing}: the splits there are {others}")
    return _existing(listing, "voc")


def _cityscapes(root: Path, split: str | None) -> LabelledImages:
    folder = _existing(root / "gtFine" / (split or "val"), "cityscapes")
    masks = NamedImages.of(folder)
    images = NamedImages.of(_existing(root / "leftImg8bit" / folder.name, "cityscapes"))
    found = [name.removesuffix(CITYSCAPES_MASK) for name in masks.paths if name.endswith(CITYSCAPES_MASK)]
    pictures = [f"{name}{CITYSCAPES_IMAGE}" for name in found]
    pairs = Pairs(
        [name.rpartition("/")[2] for name in found],
        [images.path(name, suffix=".png", where=folder) for name in pictures],
        [masks.path(f"{name}{CITYSCAPES_MASK}", suffix=".png", where=folder) for name in found],
        merged([images.without(pictures), masks.left_out]),
    )
    classes = cityscapes_classes(root)
    ignored = frozenset({IGNORE, *range(CITYSCAPES_LAST_ID + 1)} - classes.keys())
    return _labelled(pairs, folder, classes, background=None, ignored=ignored)


def _ade20k(root: Path, split: str | None) -> LabelledImages:
    classes = ade20k_classes(_existing(root / ADE20K_TABLE, "ade20k"))
    folder = _existing(root / "annotations" / ADE20K_SPLITS.get(split or "validation", str(split)), "ade20k")
    images = NamedImages.of(_existing(root / "images" / folder.name, "ade20k"))
    pairs = pair_by_name(images, NamedImages.of(folder), suffix=".jpg")
    # 0 is what none of the 150 classes covers; the official figures leave it out.
    return _labelled(pairs, folder, classes, background=None, ignored=frozenset({0, IGNORE}))


def _folder(root: Path, split: str | None) -> LabelledImages:
    base = root / split if split else root
    splits = sorted(place.parent.name for place in root.glob("*/images")) if split is None else []
    if splits and not (root / "images").exists():
        raise DataError(f"no {root / 'images'}, but the splits {', '.join(splits)}: name one of them")
    images = NamedImages.of(_existing(base / "images", "folder"))
    folder = next((base / name for name in FOLDER_MASKS if (base / name).is_dir()), base / FOLDER_MASKS[0])
    pairs = pair_by_name(images, NamedImages.of(_existing(folder, "folder")), suffix=".jpg")
    classes, colours = folder_meaning(base, root)
    background = 0 if 0 not in classes else None
    ignored = frozenset({IGNORE} - classes.keys())
    return _labelled(pairs, folder, classes, background=background, ignored=ignored, colours=colours)


def _labelled(
    pairs: Pairs,
    where: Path,
    names_of: Mapping[int, tuple[str, ...]],
    *,
    background: int | None = 0,
    ignored: frozenset[int] = frozenset({IGNORE}),
    colours: ColourTable | None = None,
) -> LabelledImages:
    if not pairs.names:
        raise DataError(f"{where} lists no labelled image: the split is empty")
    rows = rows_of_paths(pairs.names, list(map(str, pairs.images)), list(map(str, pairs.masks)))
    return LabelledImages(rows, dict(names_of), background, ignored, colours, pairs.left_out)


def _existing(path: Path, layout: str) -> Path:
    if not path.exists():
        raise DataError(f"no {path}: the {layout} layout needs it")
    return path


_READERS: Mapping[str, Callable[[Path, str | None], LabelledImages]] = {
    "voc": _voc,
    "cityscapes": _cityscapes,
    "ade20k": _ade20k,
    "folder": _folder,
}
