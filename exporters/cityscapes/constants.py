"""Cityscapes: its table of labels and its file names."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["CITY", "IGNORED", "INSTANCE_BASE", "LABELS", "UNLABELED", "LabelRow"]


class LabelRow(NamedTuple):
    """A row of the label table. ``train_id`` 255 is left out of training and judging."""

    name: str
    number: int
    train_id: int
    category: str
    category_number: int
    has_instances: bool
    ignored: bool
    colour: tuple[int, int, int]


LABELS = (
    LabelRow("unlabeled", 0, 255, "void", 0, False, True, (0, 0, 0)),
    LabelRow("ego vehicle", 1, 255, "void", 0, False, True, (0, 0, 0)),
    LabelRow("rectification border", 2, 255, "void", 0, False, True, (0, 0, 0)),
    LabelRow("out of roi", 3, 255, "void", 0, False, True, (0, 0, 0)),
    LabelRow("static", 4, 255, "void", 0, False, True, (0, 0, 0)),
    LabelRow("dynamic", 5, 255, "void", 0, False, True, (111, 74, 0)),
    LabelRow("ground", 6, 255, "void", 0, False, True, (81, 0, 81)),
    LabelRow("road", 7, 0, "flat", 1, False, False, (128, 64, 128)),
    LabelRow("sidewalk", 8, 1, "flat", 1, False, False, (244, 35, 232)),
    LabelRow("parking", 9, 255, "flat", 1, False, True, (250, 170, 160)),
    LabelRow("rail track", 10, 255, "flat", 1, False, True, (230, 150, 140)),
    LabelRow("building", 11, 2, "construction", 2, False, False, (70, 70, 70)),
    LabelRow("wall", 12, 3, "construction", 2, False, False, (102, 102, 156)),
    LabelRow("fence", 13, 4, "construction", 2, False, False, (190, 153, 153)),
    LabelRow("guard rail", 14, 255, "construction", 2, False, True, (180, 165, 180)),
    LabelRow("bridge", 15, 255, "construction", 2, False, True, (150, 100, 100)),
    LabelRow("tunnel", 16, 255, "construction", 2, False, True, (150, 120, 90)),
    LabelRow("pole", 17, 5, "object", 3, False, False, (153, 153, 153)),
    LabelRow("polegroup", 18, 255, "object", 3, False, True, (153, 153, 153)),
    LabelRow("traffic light", 19, 6, "object", 3, False, False, (250, 170, 30)),
    LabelRow("traffic sign", 20, 7, "object", 3, False, False, (220, 220, 0)),
    LabelRow("vegetation", 21, 8, "nature", 4, False, False, (107, 142, 35)),
    LabelRow("terrain", 22, 9, "nature", 4, False, False, (152, 251, 152)),
    LabelRow("sky", 23, 10, "sky", 5, False, False, (70, 130, 180)),
    LabelRow("person", 24, 11, "human", 6, True, False, (220, 20, 60)),
    LabelRow("rider", 25, 12, "human", 6, True, False, (255, 0, 0)),
    LabelRow("car", 26, 13, "vehicle", 7, True, False, (0, 0, 142)),
    LabelRow("truck", 27, 14, "vehicle", 7, True, False, (0, 0, 70)),
    LabelRow("bus", 28, 15, "vehicle", 7, True, False, (0, 60, 100)),
    LabelRow("caravan", 29, 255, "vehicle", 7, True, True, (0, 0, 90)),
    LabelRow("trailer", 30, 255, "vehicle", 7, True, True, (0, 0, 110)),
    LabelRow("train", 31, 16, "vehicle", 7, True, False, (0, 80, 100)),
    LabelRow("motorcycle", 32, 17, "vehicle", 7, True, False, (0, 0, 230)),
    LabelRow("bicycle", 33, 18, "vehicle", 7, True, False, (119, 11, 32)),
    LabelRow("license plate", -1, -1, "vehicle", 7, False, True, (0, 0, 142)),
)
"""The canonical 35 rows."""

UNLABELED = "unlabeled"
"""What background becomes: the official tools start from a picture full of it."""

IGNORED = "out of roi"
"""What unsure pixels become: left out of training and judging, and told from background."""

INSTANCE_BASE = 1000
"""Value in instanceIds: label id x 1000 + number of the instance, from 0; the label id alone where there is none."""

CITY = "synthetic"
IMAGES = "leftImg8bit"
ANNOTATIONS = "gtFine"
LABEL_FILE = "labels.json"
"""The table of a dataset whose classes are not Cityscapes'."""
