"""Photographs with human masks, read from the folder that the environment variable PHOTOS names."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageOps

from tests.benchmarks.harness import ROOT

PHOTOS = Path(os.environ.get("PHOTOS") or ROOT.parent / "shared" / "data")

COCO = "coco128-seg"
CAMVID = "camvid"
LAYOUTS = {
    COCO: "images/train2017/*.jpg and labels/train2017/*.txt (YOLO segmentation: class, then x y in 0..1)",
    CAMVID: "images/SPLIT/*.jpg and masks/SPLIT/*.png for train, val and test (1..11 as in classes.txt, 255 void)",
}

Mask = npt.NDArray[np.bool_]
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class OutlinedPhoto:
    """A photo of COCO, uint8 (height, width, 3), and of each object its class and its outline, filled (height, width)."""

    name: str
    image: Pixels
    outlines: tuple[tuple[int, Mask], ...]

    def class_masks(self) -> dict[int, Mask]:
        """Of each class the union of its outlines."""
        masks: dict[int, Mask] = {}
        for class_id, outline in self.outlines:
            masks[class_id] = masks[class_id] | outline if class_id in masks else outline
        return masks


@dataclass(frozen=True, slots=True, eq=False)
class StreetPhoto:
    """A photo of CamVid, uint8 (height, width, 3), and its label (height, width): 1..11, 255 void."""

    name: str
    image: Pixels
    label: Pixels


def outlined_photos(*, odd: bool, root: Path | None = None) -> list[OutlinedPhoto]:
    """Every other photo of COCO, by name: those at even positions are for choosing, those at odd ones are reported.

    Raises:
        SystemExit: the photographs are missing; says what to put where.
    """
    base = _folder(COCO, root)
    images = sorted((base / "images" / "train2017").glob("*.jpg"))
    labels = [base / "labels" / "train2017" / f"{image.stem}.txt" for image in images]
    pairs = [pair for pair in zip(images, labels, strict=True) if pair[1].exists()]
    return [_outlined(image, label) for image, label in _some(pairs, COCO, base)[odd::2]]


def street_photos(split: str, *, root: Path | None = None) -> list[StreetPhoto]:
    """The photos of a split of CamVid, by name.

    Raises:
        SystemExit: the photographs are missing; says what to put where.
    """
    base = _folder(CAMVID, root)
    images = _some(sorted((base / "images" / split).glob("*.jpg")), CAMVID, base)
    return [_street(image, base / "masks" / split / f"{image.stem}.png") for image in images]


def street_classes(root: Path | None = None) -> list[str]:
    """The names of CamVid's classes 1, 2, …"""
    return (_folder(CAMVID, root) / "classes.txt").read_text(encoding="utf-8").split()


def street_folder() -> Path:
    """Where CamVid lies."""
    return _folder(CAMVID, None)


def _folder(name: str, root: Path | None) -> Path:
    folder = (PHOTOS if root is None else root) / name
    return folder if folder.is_dir() else _missing(name, folder)


def _some(found: list, name: str, folder: Path) -> list:
    return found or _missing(name, folder)


def _missing(name: str, folder: Path):
    raise SystemExit(
        f"no photographs in {folder}: put {name} there, {LAYOUTS[name]}, or set PHOTOS to the folder above"
    )


def _outlined(image: Path, label: Path) -> OutlinedPhoto:
    pixels = ImageOps.exif_transpose(Image.open(image)).convert("RGB")
    lines = [line.split() for line in label.read_text(encoding="utf-8").splitlines()]
    outlines = [(int(fields[0]), _filled(fields[1:], pixels.size)) for fields in lines if len(fields) > 6]
    return OutlinedPhoto(image.stem, np.array(pixels), tuple(outlines))


def _filled(fields: list[str], size_wh: tuple[int, int]) -> Mask:
    corners = np.array(fields, dtype=float).reshape(-1, 2) * size_wh
    mask = Image.new("1", size_wh)
    ImageDraw.Draw(mask).polygon([tuple(corner) for corner in corners.tolist()], fill=1)
    return np.array(mask)


def _street(image: Path, mask: Path) -> StreetPhoto:
    return StreetPhoto(image.stem, np.array(Image.open(image).convert("RGB")), np.array(Image.open(mask)))
