"""Vision-language models of transformers (its task ``image-text-to-text``), asked what yes or no answers."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from diffumask_datasets.errors import ModelError
from diffumask_datasets.models.locks import model_lock
from diffumask_datasets.models.reference import VISION_LANGUAGE_MODEL
from diffumask_datasets.models.weights import load_whole, on_device, readable_errors

__all__ = ["VisionLanguage", "load_vision_language", "vision_language_revision"]

YES, NO = ("yes", "Yes", " yes", " Yes"), ("no", "No", " no", " No")
"""How an answer may begin."""


class VisionLanguage:
    """A model that is asked about images."""

    def __init__(self, network: Any, processor: Any) -> None:
        self._network, self._processor = network, processor
        tokens = [{self._first_token(word) for word in words} for words in (YES, NO)]
        self._yes, self._no = (sorted(own - other) for own, other in (tokens, tokens[::-1]))

    def agrees(self, image: npt.NDArray[np.uint8], question: str) -> float:
        """The probability of yes beside no, as the beginning of the answer.

        Args:
            image: uint8 (height, width, 3).
            question: What yes or no answers.

        Returns:
            A number in [0, 1].
        """
        import torch

        content = [{"type": "image", "image": Image.fromarray(image)}, {"type": "text", "text": question}]
        with model_lock, torch.inference_mode():
            given = self._processor.apply_chat_template(
                [{"role": "user", "content": content}],
                add_generation_prompt=True,
                tokenize=True,
                return_dict=True,
                return_tensors="pt",
            )
            logits = self._network(**given.to(self._network.device, self._network.dtype)).logits[0, -1].float()
            yes, no = (torch.logsumexp(logits[tokens], dim=0) for tokens in (self._yes, self._no))
            return float(torch.sigmoid(yes - no))

    def _first_token(self, word: str) -> int:
        return int(self._processor.tokenizer(word, add_special_tokens=False).input_ids[0])


def vision_language_revision(model: str) -> str:
    """What identifies the present content of a vision-language model.

    Raises:
        ModelError: it cannot be found or is gated.
    """
    return VISION_LANGUAGE_MODEL.named(model).resolve()


@functools.lru_cache(maxsize=1)
@model_lock
def load_vision_language(model: str, revision: str | None = None, device: str | None = None) -> VisionLanguage:
    """A vision-language model, ready to be asked; the last one stays loaded.

    Args:
        model: A folder or Hub id.
        revision: The commit of a Hub repository, or None.
        device: torch's name of the device, None for a GPU where there is one.

    Returns:
        The model, in the precision of its file.

    Raises:
        ModelError: it cannot be found or read, or is no model that is asked about images.
    """
    import transformers

    local = VISION_LANGUAGE_MODEL.named(model).local
    place, how = str(local or model), {"revision": "main" if local else revision or "main"}
    what = f"the vision-language model {model!r}"
    with readable_errors(what):
        processor = transformers.AutoProcessor.from_pretrained(place, **how)
        network = load_whole(
            transformers.AutoModelForImageTextToText,
            place,
            what=what,
            use_safetensors=True,
            dtype="auto",
            **how,
        )
    if not getattr(processor, "chat_template", None):
        raise ModelError(
            f"the model {model!r} has no chat template, so it cannot be asked; give one that was trained to answer, e.g. "
            "'HuggingFaceTB/SmolVLM-Instruct'"
        )
    return VisionLanguage(on_device(network, device), processor)
