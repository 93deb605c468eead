"""Names, ids and folders that the layouts of published datasets fix."""

from __future__ import annotations

from diffumask_datasets.recipes.vocabulary import load_vocabulary

__all__ = [
    "ADE20K_SPLITS",
    "ADE20K_TABLE",
    "CITYSCAPES_IDS",
    "CITYSCAPES_IMAGE",
    "CITYSCAPES_LAST_ID",
    "CITYSCAPES_MASK",
    "CITYSCAPES_TABLE",
    "FOLDER_MASKS",
    "VOC_CLASSES",
    "VOC_TABLE",
]

VOC_CLASSES = load_vocabulary("voc").names
"""Class id = position + 1; 0 is background, 255 the ring and difficult objects."""

VOC_TABLE = "labelmap.txt"
"""In the root, of trees whose classes are not VOC's."""

CITYSCAPES_IDS = {number: name for name, number in load_vocabulary("cityscapes").ids.items()}
"""Label id → name of the classes that count; every other id is ignored."""

CITYSCAPES_LAST_ID = 33
CITYSCAPES_IMAGE = "_leftImg8bit"
CITYSCAPES_MASK = "_gtFine_labelIds"
"""What the names of images and masks end in, before the ending of the file."""

CITYSCAPES_TABLE = "labels.json"
"""In the root, of exports whose labels are their own."""

ADE20K_TABLE = "objectInfo150.txt"
ADE20K_SPLITS = {"training": "training", "train": "training", "validation": "validation", "val": "validation"}

FOLDER_MASKS = ("masks", "labels", "annotations")
"""Names that the folder of masks beside ``images`` may have."""
