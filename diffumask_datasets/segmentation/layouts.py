"""Pascal VOC, Cityscapes, ADE20K and a plain folder, read as they lie on disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from diffumask_datasets.errors import DataError
from diffumask_datasets.sample import IGNORE
from diffumask_datasets.segmentation.labelled import LabelledImages, rows_of_paths
from diffumask_datasets.segmentation.layout_classes import (
    ade20k_classes,
    cityscapes_classes,
    names_from_id2label,
    voc_classes,
)
from diffumask_datasets.segmentation.layout_tables import (
    ADE20K_SPLITS,
    ADE20K_TABLE,
    CITYSCAPES_IMAGE,
    CITYSCAPES_LAST_ID,
    CITYSCAPES_MASK,
    FOLDER_MASKS,
)

__all__ = ["read_layout"]


def read_layout(layout: str, root: Path, *, split: str | None = None) -> LabelledImages:
    """The labelled images of a published dataset at ``root``; without ``split``, the one that is evaluated on.

    Raises:
        DataError: a file or folder is missing, or the split is empty; says which.
    """
    if not root.is_dir():
        raise DataError(f"{root} is no folder: give the root of the {layout} dataset")
    return _READERS[layout](root, split)


def _voc(root: Path, split: str | None) -> LabelledImages:
    listing = root / "ImageSets" / "Segmentation" / f"{split or 'val'}.txt"
    nested = sorted(root.glob("VOCdevkit/VOC*")) or sorted(root.glob("VOC20*"))
    if not listing.exists() and nested:
        raise DataError(f"no {listing}: give {nested[-1]} as the root")
    names = _existing(listing, "voc").read_text(encoding="utf-8").split()
    images = [root / "JPEGImages" / f"{name}.jpg" for name in names]
    masks = [root / "SegmentationClass" / f"{name}.png" for name in names]
    return _images(names, images, masks, where=listing, names_of=voc_classes(root))


def _cityscapes(root: Path, split: str | None) -> LabelledImages:
    folder = _existing(root / "gtFine" / (split or "val"), "cityscapes")
    masks = sorted(folder.glob(f"*/*{CITYSCAPES_MASK}"))
    names = [path.name.removesuffix(CITYSCAPES_MASK) for path in masks]
    pictures = root / "leftImg8bit" / folder.name
    images = [pictures / name.split("_")[0] / f"{name}{CITYSCAPES_IMAGE}" for name in names]
    classes = cityscapes_classes(root)
    ignored = frozenset({IGNORE, *range(CITYSCAPES_LAST_ID + 1)} - classes.keys())
    return _images(names, images, masks, where=folder, names_of=classes, background=None, ignored=ignored)


def _ade20k(root: Path, split: str | None) -> LabelledImages:
    classes = ade20k_classes(_existing(root / ADE20K_TABLE, "ade20k"))
    folder = _existing(root / "annotations" / ADE20K_SPLITS.get(split or "validation", str(split)), "ade20k")
    masks = sorted(folder.glob("*.png"))
    images = [root / "images" / folder.name / f"{path.stem}.jpg" for path in masks]
    names = [path.stem for path in masks]
    # 0 is what none of the 150 classes covers; the official figures leave it out.
    ignored = frozenset({0, IGNORE})
    return _images(names, images, masks, where=folder, names_of=classes, background=None, ignored=ignored)


def _folder(root: Path, split: str | None) -> LabelledImages:
    base = root / split if split else root
    pictures = _existing(base / "images", "folder")
    folder = next((base / name for name in FOLDER_MASKS if (base / name).is_dir()), base / FOLDER_MASKS[0])
    _existing(folder, "folder")
    labels = base / "id2label.json" if (base / "id2label.json").exists() else root / "id2label.json"
    names_of = names_from_id2label(_existing(labels, "folder"))
    found = {path.stem: path for path in sorted(pictures.iterdir()) if path.is_file()}
    masks = sorted(folder.glob("*.png"))
    images = [found.get(path.stem, pictures / f"{path.stem}.jpg") for path in masks]
    background = 0 if 0 not in names_of else None
    names = [path.stem for path in masks]
    return _images(names, images, masks, where=folder, names_of=names_of, background=background)


def _images(
    names: Sequence[str],
    images: Sequence[Path],
    masks: Sequence[Path],
    *,
    where: Path,
    names_of: Mapping[int, tuple[str, ...]],
    background: int | None = 0,
    ignored: frozenset[int] = frozenset({IGNORE}),
) -> LabelledImages:
    if not names:
        raise DataError(f"{where} lists no labelled image: the split is empty")
    for path in (*images, *masks):
        if not path.is_file():
            raise DataError(f"no {path}, which {where} asks for")
    rows = rows_of_paths(names, [str(path) for path in images], [str(path) for path in masks])
    return LabelledImages(rows, dict(names_of), background, ignored)


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
