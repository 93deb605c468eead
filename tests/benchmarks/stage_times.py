"""Where the time of one toybox image goes, stage by stage, by clocks around the functions that do the work.

CPU seconds of this process, which computes on one thread: on an idle machine they are wall time, on a busy one they hold.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

from diffumask_datasets.attention.recorder import CrossAttentionRecorder
from diffumask_datasets.generation import sample_generator
from diffumask_datasets.generation.model import load_checked_model
from diffumask_datasets.generation.sample_generator import SampleGenerator
from diffumask_datasets.generation.store import SampleStore
from diffumask_datasets.masks import pipeline
from diffumask_datasets.masks.densecrf import DenseCrf
from diffumask_datasets.recipes.recipe import Recipe


def stage_seconds(recipe: Recipe, count: int) -> dict[str, float]:
    """CPU seconds of one image in each stage, mean over ``count`` in batches of one; ``paint`` and ``refine`` are sums."""
    generator = SampleGenerator(recipe, device="cpu")
    generator.generate(0, [0])
    spent: Counter[str] = Counter()
    pipe = load_checked_model(recipe, "cpu", None).pipeline  # type: ignore[attr-defined]
    places: list[tuple[Any, str, str]] = [
        (pipe.text_encoder, "forward", "text encoder"),
        (pipe.unet, "forward", "denoise"),
        (CrossAttentionRecorder, "record", "capture"),
        (pipe.vae, "decode", "decode"),
        (sample_generator, "heat_maps_of", "fuse"),
        (pipeline, "_thresholds", "threshold"),
        (DenseCrf, "refine", "CRF"),
        (DenseCrf, "__init__", "CRF"),
        (sample_generator, "row_of", "encode"),
        (sample_generator, "to_payload", "encode"),
    ]
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as clocks:
        store = SampleStore(Path(folder), recipe.digest)
        for owner, name, stage in places:
            clocks.enter_context(_clocked(owner, name, stage, spent))
        for index in range(1, count + 1):
            with _clock("paint", spent):
                (image,) = generator.generate(index, [index])
            with _clock("refine", spent):
                labelled = generator.label(image)
            with _clock("write", spent):
                store.put(index, labelled.payload)
    spent["denoise"] -= spent["capture"]
    return {stage: seconds / count for stage, seconds in spent.items()}


@contextlib.contextmanager
def _clock(stage: str, spent: Counter[str]) -> Iterator[None]:
    started = time.process_time()
    try:
        yield
    finally:
        spent[stage] += time.process_time() - started  # type: ignore[assignment]


def _clocked(owner: Any, name: str, stage: str, spent: Counter[str]) -> Any:
    function: Callable[..., Any] = getattr(owner, name)

    def timed(*args: Any, **kwargs: Any) -> Any:
        with _clock(stage, spent):
            return function(*args, **kwargs)

    return patch.object(owner, name, timed)
