"""How long a promptable segmenter takes for an image on a CPU, said before it starts. No weights are loaded for it."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable
from typing import Any

from diffumask_datasets.masks.concepts import check_concept_model
from diffumask_datasets.masks.promptable import NETWORKS, model_type_of
from diffumask_datasets.models.reference import SEGMENTER
from diffumask_datasets.models.weights import readable_errors

__all__ = ["SMALLER", "encoding_operations", "tell_concept_cost", "tell_cost"]

logger = logging.getLogger(__name__)

WORTH_TELLING = 1.0
"""Seconds an image."""

_SIDE = 512
_ROUNDS = 4


SMALLER = "a smaller one is 'facebook/sam2.1-hiera-tiny'"

NAME_SHARE = 0.08
"""Operations of finding one name in an encoded image, over those of encoding it: 0.44 and 5.61 tera in facebook/sam3."""


def tell_cost(model: str, revision: str | None = None, *, remedy: str = SMALLER) -> None:
    """Warns where there is no GPU and encoding an image will take longer than :data:`WORTH_TELLING` seconds on one core.

    Args:
        model: The segmenter, a folder or Hub id.
        revision: That of a Hub model.
        remedy: What to do about it.

    Raises:
        ModelError: the model cannot be found, is gated, or takes no such prompts.
    """
    kind = model_type_of(model, revision)
    if _has_gpu():
        return
    seconds = encoding_operations(model, kind, revision) / _operations_a_second()
    if seconds > WORTH_TELLING:
        _tell(model, f"about {seconds:.0f} s an image", remedy)


def tell_concept_cost(model: str, revision: str | None = None, *, remedy: str) -> None:
    """As :func:`tell_cost`, of a SAM 3 that is told names.

    Args:
        model: The SAM 3, a folder or Hub id.
        revision: That of a Hub model.
        remedy: What to do about it.

    Raises:
        ModelError: the model cannot be found, is gated, or takes no texts.
    """
    import transformers

    check_concept_model(model, revision)
    if _has_gpu():
        return
    place, what = str(SEGMENTER.named(model).local or model), f"the promptable segmenter {model!r}"
    with _without_weights(), readable_errors(what):
        config = transformers.Sam3Config.from_pretrained(place, revision=revision or "main")
        network = transformers.Sam3Model(config).eval()
    side = network.config.vision_config.backbone_config.image_size
    seconds = _operations(network.get_vision_features, side) / _operations_a_second()
    if seconds > WORTH_TELLING:
        _tell(
            model, f"about {seconds:.0f} s an image and {NAME_SHARE * seconds:.0f} s for each class looked for", remedy
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
    import transformers

    network_class: Any = getattr(transformers, NETWORKS[kind])
    place = str(SEGMENTER.named(model).local or model)
    with _without_weights(), readable_errors(f"the promptable segmenter {model!r}"):
        config = network_class.config_class.from_pretrained(place, revision=revision or "main")
        network = network_class(config).eval()
    return _operations(network.get_image_embeddings, network.prompt_encoder.input_image_size)


def _tell(model: str, cost: str, remedy: str) -> None:
    logger.warning("%s takes %s on one core of this machine, and there is no GPU; %s", model, cost, remedy)


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _without_weights() -> Any:
    """Networks that are built within have shapes and no weights."""
    import torch

    return torch.device("meta")


def _operations(encode: Callable[[Any], Any], sides: Any) -> float:
    """Of encoding an image of these sides, or of this one."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    side = int(sides[0] if isinstance(sides, (tuple, list)) else sides)
    with _without_weights(), torch.inference_mode(), FlopCounterMode(display=False) as counter:
        encode(torch.empty(1, 3, side, side))
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
