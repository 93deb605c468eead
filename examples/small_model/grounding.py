"""Teaches cross-attention which of the classes a place may show, by what captions name.

A denoiser can read a short caption as a whole, everywhere alike, and paint well: nothing makes its attention tell a dozen
words apart that nearly every image shows. Yet a caption that names some classes says that no place shows any other: a
partial label (Cour et al. 2011). No mask is needed. Such a caption is withheld, and the network given the words of all
classes in its place: else it would answer with the words that it has just read.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTokenizer

from diffumask_datasets.errors import ModelError
from examples.small_model.text import caption_tokens
from examples.small_model.tokenizer import MAX_LENGTH

__all__ = ["DECIDED", "NOISIEST", "Grounding", "partial_label_loss"]

logger = logging.getLogger(__name__)

NOISIEST = 600
"""Above this timestep an image shows too little to tell what is where."""

DECIDED = 0.5
"""How much it counts what a place tells of the class, beside which classes there are."""

_TINY = 1e-6


class Grounding:
    """What classes are called, and the queries of each cross-attention layer in the forward pass before.

    Args:
        classes: The words of each class; those that no caption has as a single word are left out, with a warning.
        tokenizer: That of the model.
        unet: The network whose layers are watched from here on.

    Raises:
        ModelError: fewer than two classes that captions name by a single word, or more than a caption can hold.
    """

    def __init__(
        self, classes: Sequence[tuple[str, ...]], tokenizer: CLIPTokenizer, unet: UNet2DConditionModel
    ) -> None:
        if len(classes) > MAX_LENGTH - 2:
            raise ModelError(f"{len(classes)} classes: attention is taught to tell at most {MAX_LENGTH - 2} apart")
        known = {words: _single_tokens(words, tokenizer) for words in classes}
        for words in (words for words, ids in known.items() if not ids):
            logger.warning("%s: no caption has it as a single word, so attention is not taught it", " or ".join(words))
        self._ids = [torch.tensor(ids) for ids in known.values() if ids]
        if len(self._ids) < 2:
            raise ModelError(
                f"captions name {len(self._ids)} of the classes by a single word; attention is taught two or more"
            )
        self._frame = caption_tokens([""], tokenizer)[0]
        self._order = torch.arange(len(self._ids))
        self._queries: dict[Any, Tensor] = {}
        for name, layer in unet.named_modules():
            if name.endswith("attn2"):
                layer.to_q.register_forward_hook(self._watch(layer))

    def present(self, tokens: Tensor) -> Tensor:
        """Which classes captions name.

        Args:
            tokens: int64 (N, length).

        Returns:
            bool (N, classes).
        """
        return torch.stack([torch.isin(tokens, ids.to(tokens.device)).any(dim=1) for ids in self._ids], dim=1)

    def ask(self, generator: torch.Generator) -> Tensor:
        """A caption of all classes, each by one of its words, in any order, int64 (length,); :meth:`loss` is of the last."""
        words = [ids[int(torch.randint(len(ids), (1,), generator=generator))] for ids in self._ids]
        self._order = torch.randperm(len(words), generator=generator)
        caption = self._frame.clone()
        caption[1 : len(words) + 1] = torch.stack(words)[self._order]
        return caption

    def loss(self, hidden: Tensor, named: Tensor) -> Tensor:
        """The mean :func:`partial_label_loss` over layers.

        Args:
            hidden: The text encoder's states of the caption that :meth:`ask` gave, (length, channels).
            named: Which classes the caption names that was withheld, bool (N, classes); at least one row names any.

        Returns:
            A scalar.
        """
        words = hidden[1 : len(self._ids) + 1]
        rows = named.any(dim=1)
        named = named[rows][:, self._order.to(named.device)]
        losses = []
        for layer, queries in self._queries.items():
            keys = layer.to_k(words).float().unflatten(-1, (layer.heads, -1))  # (classes, heads, channels)
            asked = queries[rows].float().unflatten(-1, (layer.heads, -1))  # (N, places, heads, channels)
            logits = torch.einsum("nphd,chd->nphc", asked, keys) * layer.scale
            losses.append(partial_label_loss(logits.softmax(dim=-1).mean(dim=2), named))
        self._queries.clear()
        return torch.stack(losses).mean()

    def _watch(self, layer: Any) -> Any:
        def keep(module: Any, arguments: Any, output: Tensor) -> None:
            self._queries[layer] = output

        return keep


def partial_label_loss(chances: Tensor, named: Tensor) -> Tensor:
    """How far attention is from telling classes apart that captions name.

    Args:
        chances: Of the classes at each place, float32 (N, places, classes), sums of 1.
        named: Which of them a caption names, bool (N, classes), at least one of each.

    Returns:
        The mean negative log of the chance that a place shows any class that is named, less :data:`DECIDED` times the mutual
        information of place and class among these (Krause et al. 2010): without it a network tells what an image shows, and
        says so everywhere alike.
    """
    inside = chances * named[:, None]
    total = inside.sum(dim=-1)
    shares = inside / (total[..., None] + _TINY)
    information = _entropy(shares.mean(dim=1)) - _entropy(shares).mean(dim=1)
    return (-(total + _TINY).log().mean(dim=1) - DECIDED * information).mean()


def _entropy(shares: Tensor) -> Tensor:
    return -(shares * (shares + _TINY).log()).sum(dim=-1)


def _single_tokens(words: Sequence[str], tokenizer: CLIPTokenizer) -> list[int]:
    """The ids of those words that are one token, as the words of captions are."""
    found = [tokenizer(word).input_ids[1:-1] for word in words]
    return [ids[0] for ids in found if len(ids) == 1]
