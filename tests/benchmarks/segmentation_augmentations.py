"""What trainings of bench_segmentation do to their images: the augmentations of the paper, and compositions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["AUGMENTATIONS", "COMPOSE", "COMPOSITIONS", "TOUCHING"]

AUGMENTATIONS: Mapping[str, Any] = {
    "splicing": {"kind": "splice", "probability": 0.5},
    "splicing 2x2": {"kind": "splice", "grid": "2x2", "probability": 0.5},  # as large as objects of the test scenes
    "blur": {"kind": "blur", "kernel": [2, 5], "probability": 0.5},  # the paper's 6 to 22 pixels are for 512x512
    "occlusion": {"kind": "occlude", "probability": 0.5},
    "perspective": {"kind": "perspective", "probability": 0.5},
}
"""Half of what is seen stays as it was, as in the paper."""

COMPOSE = {"kind": "compose", "objects": [3, 5], "scale": [0.4, 0.7], "min_quality": 0.0, "probability": 0.5}
"""Dense scenes beside the images as they are; the masks of a training come without their quality."""

_AS_SEEN = {"objects": [1, 3], "scale": [0.45, 1.0], "min_visible": 0.8, "lift": True}
"""As many objects as drawn training scenes have, of their sizes, and nothing of the large object that the model painted."""

TOUCHING = {**COMPOSE, **_AS_SEEN, "objects": [2, 4], "min_visible": 0.5}
"""Several objects of which some hide parts of others, as the scenes that judge instances have."""

COMPOSITIONS: Mapping[str, Any] = {
    **{"composed": {}, "composed hard": {"blend": "hard"}, "composed matched": {"blend": "matched"}},
    **{
        "composed lifted": {"lift": True},
        "composed dense": {"objects": [6, 9]},
        "always composed": {"probability": 1.0},
        "composed as seen": _AS_SEEN,
    },
}
