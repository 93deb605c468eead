"""How long a promptable segmenter takes for an image on a CPU, said before it starts. No weights are loaded for it."""

from __future__ import annotations

import functools
import logging
import time
from typing import Any

from diffumask_datasets.masks.promptable import NETWORKS, model_type_of
from diffumask_datasets.models.reference import SEGMENTER
from diffumask_datasets.models.weights import readable_errors

__all__ = ["encoding_operations", "tell_cost"]

logger = logging.getLogger(__name__)

WORTH_TELLING = 1.0
"""Seconds an image."""

_SIDE = 512
_ROUNDS = 4


def tell_cost(model: str, revision: str | None = None) -> None:
    """Warns where there is no GPU and encoding an image will take longer than :data:`WORTH_TELLING` seconds on one core.

    Raises:
        ModelError: the model cannot be found, is gated, or takes no such prompts.
    """
    import torch

    kind = model_type_of(model, revision)
    if torch.cuda.is_available():
        return
    seconds = encoding_operations(model, kind, revision) / _operations_a_second()
    if seconds > WORTH_TELLING:
        logger.warning(
            "%s takes about %.0f s an image on one core of this machine, and there is no GPU; "
            "a smaller one is 'facebook/sam2.1-hiera-tiny', and refinement=densecrf needs none",
            model,
            seconds,
        )


@functools.lru_cache(maxsize=4)
def encoding_operations(model: str, kind: str, revision: str | None = None) -> float:
    """Counts the operations of encoding one image, without loading weights.

    Args:
        model: The segmenter, a folder or Hub id.
        kind: Its family.
        revision: That of a Hub model.

    Returns:
        Multiplications and additions.

    Raises:
        ModelError: the network cannot be built: a package that it needs is missing, or its config is damaged.
    """
    import torch
    import transformers
    from torch.utils.flop_counter import FlopCounterMode

    network_class: Any = getattr(transformers, NETWORKS[kind])
    place = str(SEGMENTER.named(model).local or model)
    with torch.device("meta"), torch.inference_mode():
        with readable_errors(f"the promptable segmenter {model!r}"):
            config = network_class.config_class.from_pretrained(place, revision=revision or "main")
            network = network_class(config).eval()
        sides = network.prompt_encoder.input_image_size
        side = int(sides[0] if isinstance(sides, (tuple, list)) else sides)
        with FlopCounterMode(display=False) as counter:
            network.get_image_embeddings(torch.empty(1, 3, side, side))
    return float(counter.get_total_flops())


@functools.cache
def _operations_a_second() -> float:
    """What one core of this machine does when it does nothing else, by multiplying matrices."""
    import torch

    from diffumask_datasets.models.determinism import single_thread

    matrix = torch.ones(_SIDE, _SIDE)
    with single_thread(), torch.inference_mode():
        matrix @ matrix
        started = time.thread_time()
        for _ in range(_ROUNDS):
            matrix @ matrix
        return 2.0 * _SIDE**3 * _ROUNDS / (time.thread_time() - started)
