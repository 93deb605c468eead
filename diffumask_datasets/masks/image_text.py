"""Image-text models of transformers (CLIP, SigLIP): how well texts fit an image."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from diffumask_datasets.errors import ModelError
from diffumask_datasets.models.locks import model_lock
from diffumask_datasets.models.reference import IMAGE_TEXT_MODEL
from diffumask_datasets.models.weights import load_whole, on_device, readable_errors
from diffumask_datasets.recipes.json_reader import read_json

__all__ = ["ImageText", "check_image_text", "image_text_revision", "load_image_text"]

_ENCODERS = ("text_config", "vision_config")
"""What the config of a model with an encoder for each describes."""


class ImageText:
    """A model that compares images with texts."""

    def __init__(self, network: Any, processor: Any) -> None:
        self._network, self._processor = network, processor

    def compare(self, image: npt.NDArray[np.uint8], texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Logits (texts,): how well each text fits an image, uint8 (height, width, 3)."""
        import torch

        with model_lock, torch.inference_mode():
            # SigLIP was trained on padded texts, and CLIP does not mind.
            given = self._processor(
                text=list(texts), images=image, padding="max_length", truncation=True, return_tensors="pt"
            )
            logits = self._network(**given.to(self._network.device)).logits_per_image[0]
            fit: npt.NDArray[np.float32] = logits.float().cpu().numpy()
            return fit


def image_text_revision(model: str) -> str:
    """What identifies the present content of an image-text model.

    Raises:
        ModelError: it cannot be found or is gated.
    """
    return IMAGE_TEXT_MODEL.named(model).resolve()


def check_image_text(model: str, revision: str | None = None) -> None:
    """Refuses, by its config alone, what has no encoder for texts and none for images.

    Raises:
        ModelError: it has not, cannot be found or is gated.
    """
    file = IMAGE_TEXT_MODEL.named(model, revision).file("config.json")
    config = read_json(file, what="the config", error=ModelError)
    if not isinstance(config, dict) or not all(name in config for name in _ENCODERS):
        raise _compares_nothing(model)


def _compares_nothing(model: str) -> ModelError:
    return ModelError(
        f"the model {model!r} does not compare images with texts; give a CLIP or SigLIP, e.g. "
        "'openai/clip-vit-base-patch32'"
    )


@functools.lru_cache(maxsize=1)
@model_lock
def load_image_text(model: str, revision: str | None = None, device: str | None = None) -> ImageText:
    """An image-text model, ready to be asked; the last one stays loaded.

    Args:
        model: A folder or Hub id.
        revision: The commit of a Hub repository, or None.
        device: torch's name of the device, None for a GPU where there is one.

    Returns:
        The model, computing in float32.

    Raises:
        ModelError: it cannot be found or read, or does not compare images with texts.
    """
    import torch
    import transformers

    check_image_text(model, revision)
    reference = IMAGE_TEXT_MODEL.named(model)
    place = str(reference.local or model)
    how = {"revision": "main" if reference.local else revision or reference.resolve()}
    what = f"the image-text model {model!r}"
    with readable_errors(what):
        processor = transformers.AutoProcessor.from_pretrained(place, **how)
        network = load_whole(
            transformers.AutoModel,
            place,
            what=what,
            use_safetensors=True,
            dtype=torch.float32,
            **how,
        )
    if not hasattr(network, "get_image_features") or not hasattr(network, "get_text_features"):
        raise _compares_nothing(model)
    return ImageText(on_device(network, device), processor)
