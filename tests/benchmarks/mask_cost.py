"""What binarization and refinement cost: at 512x512 for one and three classes, at twelve megapixels, and officially."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from diffumask_datasets.masks.pipeline import Masks, make_masks
from diffumask_datasets.masks.working_size import working_size
from diffumask_datasets.models.determinism import single_thread
from diffumask_datasets.recipes.settings import MaskSettings
from diffumask_datasets.toybox import CLASS_NAMES, Demand, render_scene
from tests.benchmarks import mask_methods as methods
from tests.benchmarks.mask_methods import Heat
from tests.benchmarks.official_masks import official_mask

SIDE = 512
LARGE = (3000, 4000)
"""Height and width of twelve megapixels."""

THREE = 3


class Drawn(NamedTuple):
    """A scene, its mask, heat maps (classes, height, width) as coarse as attention on 32x32 cells, and their class ids."""

    image: npt.NDArray[np.uint8]
    semantic: npt.NDArray[np.uint8]
    heat: Heat
    class_ids: Sequence[int]


def cost_figures(*, repeats: int) -> dict[str, float]:
    """Seconds of one thread, their growth with the image, peak memory, and the ratio to the official procedure."""
    one, three = ([drawn(seed, classes) for seed in range(repeats)] for classes in (1, THREE))
    seconds, seconds_of_three = ([_seconds(item) for item in items] for items in (one, three))
    large = [_seconds(enlarged(item)) for item in one[: -(-repeats // 2)]]
    pixels = LARGE[0] * LARGE[1] / SIDE**2
    return {
        "refine_seconds_512": float(np.median(seconds)),
        "refine_seconds_512_three": float(np.median(seconds_of_three)),
        "refine_megapixel_growth": float(np.median(large) / np.median(seconds) / pixels),
        "refine_megapixel_memory_mb": _peak_mb(),
        **_against_official(one, seconds),
    }


def drawn(seed: int, classes: int) -> Drawn:
    """A scene of ``SIDE`` pixels with so many objects, each of a class of its own."""
    names = [CLASS_NAMES[(seed + place) % len(CLASS_NAMES)] for place in range(classes)]
    scene = render_scene(seed, size=(SIDE, SIDE), split="test", demand=Demand(classes=names))
    class_ids = [int(value) for value in np.unique(scene.semantic) if value]
    heat = [_heat(scene.semantic == class_id, seed) for class_id in class_ids]
    return Drawn(scene.image, scene.semantic, np.stack(heat), class_ids)


def enlarged(item: Drawn) -> Drawn:
    """The same at twelve megapixels, the heat at the size that masks are made at, as generation gives it."""
    height, width = LARGE
    image = np.asarray(Image.fromarray(item.image).resize((width, height), Image.Resampling.BICUBIC))
    small_height, small_width = working_size(height, width)
    maps = [Image.fromarray(one).resize((small_width, small_height), Image.Resampling.BILINEAR) for one in item.heat]
    heat = np.stack([np.asarray(one) for one in maps]).clip(0, 1)
    return item._replace(image=image, heat=heat)


def refine_large() -> None:
    """Prints the peak memory of this process, in MB, after three classes at twelve megapixels."""
    with single_thread():
        _masks(enlarged(drawn(0, THREE)))
    # Not getrusage: its maximum is handed down from the parent process.
    status = Path("/proc/self/status").read_text()
    print(int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024)  # type: ignore[index]


def _peak_mb() -> float:
    code = "from tests.benchmarks.mask_cost import refine_large; refine_large()"
    return float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


def _masks(item: Drawn) -> Masks:
    return make_masks(item.image, item.heat, class_ids=item.class_ids, settings=MaskSettings())


def _seconds(item: Drawn) -> float:
    started = time.thread_time()
    _masks(item)
    return time.thread_time() - started


def _against_official(items: Sequence[Drawn], seconds: Sequence[float]) -> dict[str, float]:
    """The official procedure on the same input, and the masks of its settings here."""
    official, ious = [], []
    for item in items:
        wanted = _affinity_mask(item)
        started = time.thread_time()
        theirs = official_mask(item.image, item.heat[0], wanted)
        official.append(time.thread_time() - started)
        spread = wanted[None].astype(np.float32)
        masks = make_masks(item.image, item.heat, class_ids=[1], settings=methods.PAPER, affinity_maps=spread)
        same = masks.semantic == 1
        ious.append(np.count_nonzero(same & theirs) / max(1, np.count_nonzero(same | theirs)))
    return {
        "refine_speedup_official": float(np.median(np.array(official) / np.array(seconds))),
        "refine_iou_official": float(np.mean(ious)),
    }


def _affinity_mask(item: Drawn) -> npt.NDArray[np.bool_]:
    """A mask of the first class that an affinity net could have made."""
    return np.asarray(ndimage.gaussian_filter((item.semantic == item.class_ids[0]).astype(np.float32), 6) > 0.5)


def _heat(mask: npt.NDArray[np.bool_], seed: int) -> npt.NDArray[np.float32]:
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).random(mask.shape), 40)
    heat = ndimage.gaussian_filter(mask.astype(np.float32), 16) + 0.15 * (noise - noise.min()) / np.ptp(noise)
    return np.asarray(heat / heat.max(), dtype=np.float32)
