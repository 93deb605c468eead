"""The toybox: a drawn world with exact masks, and the small diffusion model trained on its image-caption pairs.

Importing this package loads no torch. ``examples/small_model`` is the code of the training.
"""

from __future__ import annotations

from diffumask_datasets.toybox.scene import Demand, Scene, SceneObject, render_scene
from diffumask_datasets.toybox.world import BACKGROUNDS, CLASS_NAMES, COLOURS, SPLITS

__all__ = [
    "BACKGROUNDS",
    "CLASS_NAMES",
    "COLOURS",
    "SPLITS",
    "Demand",
    "Scene",
    "SceneObject",
    "render_scene",
]
