"""Where image and text stand in an attention's sequence, and the narrowing of a call to the part that is a heat map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch

from diffumask_datasets.attention.hooks import AttentionCall
from diffumask_datasets.errors import CaptureError

__all__ = ["CROSS", "Layout", "TextTokens", "narrow"]


@dataclass(frozen=True, slots=True)
class TextTokens:
    """Where the words of one prompt stand among the text tokens that the denoiser is given.

    ``token_indices`` are those of each class; ``length`` is how many tokens the prompt has, padding excluded; ``words``
    are the tokens of everything the user wrote, without templates; ``start`` is the tokenizer's start token, None for
    a text without one.
    """

    token_indices: Mapping[str, tuple[int, ...]]
    length: int
    words: tuple[int, ...] = ()
    start: int | None = None

    def shifted(self, by: int) -> TextTokens:
        """All indices and the length moved by so many tokens."""
        return TextTokens(
            {category: tuple(index + by for index in indices) for category, indices in self.token_indices.items()},
            self.length + by,
            tuple(index + by for index in self.words),
            None if self.start is None or self.start + by < 0 else self.start + by,
        )


@dataclass(frozen=True, slots=True)
class Layout:
    """The order of an attention's sequence.

    ``"cross"``: queries are image tokens, keys text tokens. ``"text first"``: one joint sequence of ``registers`` tokens
    of the model's own, the text, the image. ``"image first"``: the image, padded to a multiple of ``image_multiple``,
    then the text. Where ``packed``, each row's image follows its own text directly and the padding comes last.
    """

    order: Literal["cross", "text first", "image first"]
    registers: int = 0
    image_multiple: int = 1
    packed: bool = False

    def keys(self, text: TextTokens, image_tokens: int) -> TextTokens:
        """``text`` by its key indices, in a sequence with ``image_tokens``."""
        offset = self.registers
        if self.order == "image first":
            offset += -(-image_tokens // self.image_multiple) * self.image_multiple
        return text.shifted(offset)

    def first_query(self, text: TextTokens, image_tokens: int, queries: int) -> int:
        """Where the image starts among the ``queries`` of one row."""
        if self.order != "text first":
            return 0
        return self.registers + text.length if self.packed else queries - image_tokens


CROSS = Layout("cross")


def narrow(call: AttentionCall, rows: slice, starts: Sequence[int], image_tokens: int) -> AttentionCall:
    """Cuts a call down to the image tokens of some rows. Key heads that several query heads share are repeated.

    Args:
        call: The call.
        rows: The rows that are kept.
        starts: The first image token among the queries of each row.
        image_tokens: The number of image tokens.

    Returns:
        The call with these queries and all keys.

    Raises:
        CaptureError: The call has fewer rows or queries than that.
    """
    query, key = call.query[rows], call.key[rows]
    if len(query) != len(starts) or max(starts) + image_tokens > query.shape[2] or min(starts) < 0:
        raise CaptureError(
            f"attention layer {call.name!r} has {len(query)} rows of {query.shape[2]} queries where {len(starts)} rows with "
            f"{image_tokens} image tokens from {max(starts)} on were declared; correct the layout of the model's family"
        )
    return replace(
        call,
        query=_from(query, starts, image_tokens),
        key=key if key.shape[1] == query.shape[1] else key.repeat_interleave(query.shape[1] // key.shape[1], dim=1),
        mask=None if call.mask is None else _narrow_mask(call.mask, rows, len(call.query), starts, image_tokens),
    )


def _narrow_mask(
    mask: torch.Tensor, rows: slice, all_rows: int, starts: Sequence[int], image_tokens: int
) -> torch.Tensor:
    while mask.ndim < 4:
        mask = mask.unsqueeze(0)
    mask = mask[rows] if mask.shape[0] == all_rows and all_rows > 1 else mask
    if mask.shape[2] == 1:
        return mask
    return _from(mask.expand(len(starts), -1, -1, -1), starts, image_tokens)


def _from(tensor: torch.Tensor, starts: Sequence[int], length: int) -> torch.Tensor:
    """``tensor`` (rows, heads, queries, any) → (rows, heads, length, any), in each row from its own start."""
    if len(set(starts)) == 1:
        return tensor[:, :, starts[0] : starts[0] + length]
    return torch.stack([tensor[row, :, start : start + length] for row, start in enumerate(starts)])
