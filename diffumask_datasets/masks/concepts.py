"""Masks by name: SAM 3 (transformers' ``Sam3Model``) is given a text and finds everything that it means in an image."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from diffumask_datasets.errors import ModelError
from diffumask_datasets.masks.promptable import declared_type, normalization_of, segmenter_reference
from diffumask_datasets.models.locks import model_lock
from diffumask_datasets.models.weights import load_whole, on_device, readable_errors

__all__ = ["Concept", "ConceptSegmenter", "check_concept_model", "load_concept_segmenter"]

MODEL_TYPES = ("sam3", "sam3_video")

TOKENS = 32
"""Length of a text, padding included, in which the network was trained."""


@dataclass(frozen=True, slots=True, eq=False)
class Concept:
    """What a text means in an image.

    Attributes:
        probabilities: Of each pixel to belong to one of its objects, float32 (height, width).
        presence: That there is any, in [0, 1].
    """

    probabilities: npt.NDArray[np.float32]
    presence: float


class ConceptSegmenter:
    """A network that finds in an image what texts mean; it sees an image stretched to a square."""

    def __init__(self, network: Any, tokenizer: Any, *, mean: Sequence[float], deviation: Sequence[float]) -> None:
        self._network, self._tokenizer = network, tokenizer
        self._mean, self._deviation = tuple(mean), tuple(deviation)
        side = network.config.vision_config.backbone_config.image_size
        self._side = int(side[0] if isinstance(side, (tuple, list)) else side)

    def find(self, image: npt.NDArray[np.uint8], texts: Sequence[str]) -> list[Concept]:
        """What each text means in an image, uint8 (height, width, 3), which is encoded once for all of them."""
        import torch

        with model_lock, torch.inference_mode():
            seen = self._network.get_vision_features(self._pixels(image))
            return [self._found(seen, text, image.shape[:2]) for text in texts]

    def _pixels(self, image: npt.NDArray[np.uint8]) -> Any:
        """The image as the network sees it, (1, 3, side, side)."""
        import torch
        from torch.nn import functional

        values = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255
        size = (self._side, self._side)
        values = functional.interpolate(values, size=size, mode="bilinear", antialias=True, align_corners=False)
        mean, deviation = (torch.tensor(row)[:, None, None] for row in (self._mean, self._deviation))
        return ((values - mean) / deviation).to(self._network.device, self._network.dtype)

    def _found(self, seen: Any, text: str, size: tuple[int, int]) -> Concept:
        from torch.nn import functional

        padded = {"padding": "max_length", "max_length": TOKENS, "truncation": True}
        tokens = self._tokenizer(text, return_tensors="pt", **padded).to(self._network.device)
        output = self._network(vision_embeds=seen, input_ids=tokens.input_ids, attention_mask=tokens.attention_mask)
        presence = output.presence_logits.float().sigmoid().flatten()[0]
        scores = output.pred_logits[0].float().sigmoid() * presence  # (queries,)
        likely = (output.pred_masks[0].float().sigmoid() * scores[:, None, None]).amax(dim=0)  # (rows, columns)
        enlarged = functional.interpolate(likely[None, None], size=size, mode="bilinear", align_corners=False)[0, 0]
        return Concept(enlarged.cpu().numpy(), float(presence))


def check_concept_model(model: str, revision: str | None = None) -> None:
    """Refuses what is no SAM 3, by its config alone.

    Raises:
        ModelError: it takes no texts, cannot be found or is gated.
    """
    kind = declared_type(model, revision)
    if kind not in MODEL_TYPES:
        raise ModelError(
            f"the model {model!r} (model_type {kind!r}) finds nothing by its name; give a checkpoint of SAM 3, e.g. "
            "'facebook/sam3'"
        )


@functools.lru_cache(maxsize=1)
@model_lock
def load_concept_segmenter(model: str, revision: str | None = None, device: str | None = None) -> ConceptSegmenter:
    """A SAM 3, ready to be asked; the last one stays loaded.

    Args:
        model: A folder or Hub id.
        revision: The commit of a Hub repository, or None.
        device: torch's name of the device, None for a GPU where there is one.

    Returns:
        The segmenter, computing in float32.

    Raises:
        ModelError: it cannot be found or read, is gated, or takes no texts.
    """
    import torch
    import transformers

    check_concept_model(model, revision)
    reference = segmenter_reference(model, revision)
    mean, deviation = normalization_of(reference)
    place, how = str(reference.local or model), {"revision": reference.revision or "main"}
    what = f"the promptable segmenter {model!r}"
    with readable_errors(what):
        tokenizer = transformers.AutoTokenizer.from_pretrained(place, **how)
        network = load_whole(
            transformers.Sam3Model,
            place,
            what=what,
            use_safetensors=True,
            dtype=torch.float32,
            **how,
        )
    return ConceptSegmenter(on_device(network, device), tokenizer, mean=mean, deviation=deviation)
