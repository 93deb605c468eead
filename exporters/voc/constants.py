"""Pascal VOC 2012: its classes, folders and fixed texts."""

from __future__ import annotations

from diffumask_datasets.dataset.contact_sheet import class_colours
from diffumask_datasets.recipes.vocabulary import load_vocabulary

CLASSES = load_vocabulary("voc").ids
"""Official name → value in SegmentationClass."""

VOID = 255
"""Value of pixels that count neither way: unsure ones, and the ring around objects."""

MAX_OBJECTS = 254
MAX_CLASSES = 254

PALETTE = class_colours()
"""(256, 3): the colour map of the development kit."""

IMAGES = "JPEGImages"
CLASS_MASKS = "SegmentationClass"
OBJECT_MASKS = "SegmentationObject"
ANNOTATIONS = "Annotations"
SEGMENTATION_SETS = "ImageSets/Segmentation"
MAIN_SETS = "ImageSets/Main"
LABEL_MAP = "labelmap.txt"
VOID_NAME = "ignored"
"""What datumaro and CVAT call the value 255 in ``labelmap.txt``."""

TRAINVAL = ("train", "val")
"""The splits whose union is trainval."""

DATABASE = "diffumask-datasets"
UNSPECIFIED = "Unspecified"
