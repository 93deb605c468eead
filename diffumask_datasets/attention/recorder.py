"""Turns attention calls into one small map per class while the model runs; nothing else is ever kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase

import torch

from diffumask_datasets.attention.contrast import BackgroundTokens, Contrast, background_tokens, contrasted
from diffumask_datasets.attention.hooks import AttentionCall
from diffumask_datasets.attention.layout import TextTokens
from diffumask_datasets.attention.maps import Grid, LayerSums
from diffumask_datasets.errors import CaptureError, ModelError

__all__ = ["CrossAttentionRecorder", "OnWeights", "mean_attention", "row_mask", "select_layers"]

CHUNK_LOGITS = 2**22
"""Attention logits held at once on an accelerator (16 MB in float32), where each further chunk costs its launches."""

CPU_CHUNK_LOGITS = 2**18
"""The same on a CPU (1 MB), whose caches hold no more."""

FEWEST_QUERIES = 32
"""Queries to a chunk at least, however many keys there are: narrower products are slow."""


OnWeights = Callable[[int, slice, torch.Tensor], None]
"""Gets the batch row, a slice of its queries and their attention, float32 (queries, keys)."""


def select_layers(
    layers: Mapping[str, Grid], attention_grids: Sequence[int], attention_layers: Sequence[str] = ()
) -> dict[str, Grid]:
    """Selects layers by grid and name.

    Args:
        layers: Layer → grid.
        attention_grids: The shorter sides of the grids that are read.
        attention_layers: Patterns of names, such as ``up_blocks.3.*``, of which one must fit; none for all layers.

    Returns:
        Layer → grid of those that are read.

    Raises:
        CaptureError: There is none; the message lists the grids, or the layers, that exist.
    """
    chosen = {name: grid for name, grid in layers.items() if min(grid) in attention_grids}
    if not chosen:
        exist = ", ".join(str(side) for side in sorted({min(grid) for grid in layers.values()}))
        raise CaptureError(
            f"no cross-attention layer has a grid of attention_grids {list(attention_grids)}; "
            f"this model at this size has {exist or 'no cross-attention layer at all'}"
        )
    if not attention_layers:
        return chosen
    named = {name: grid for name, grid in chosen.items() if any(fnmatchcase(name, p) for p in attention_layers)}
    if not named:
        raise CaptureError(
            f"no cross-attention layer fits attention_layers {list(attention_layers)}; on these grids there are "
            f"{', '.join(chosen)}"
        )
    return named


def mean_attention(
    call: AttentionCall, row: int, chunk_logits: int | None = None
) -> Iterator[tuple[slice, torch.Tensor]]:
    """The attention of one batch row, averaged over heads, a chunk of queries at a time.

    Args:
        call: What the model attends to.
        row: Row of the batch.
        chunk_logits: Attention logits held at once; None for what suits the device.

    Returns:
        Slices of the queries, each with float32 (queries of the slice, keys); every query sums to 1.
    """
    heads, queries = call.query.shape[1:3]
    keys = call.key[row].float().transpose(1, 2)  # (heads, dim, keys)
    step = _queries_at_once(heads * keys.shape[2], keys.device, chunk_logits)
    for start in range(0, queries, step):
        chunk = slice(start, start + step)
        logits = (call.query[row, :, chunk].float() * call.scale) @ keys
        yield chunk, _masked(logits, call.mask, row, chunk).softmax(dim=2).mean(dim=0)


def row_mask(mask: torch.Tensor, row: int) -> torch.Tensor:
    """The attention mask of one batch row: (heads or 1, queries or 1, keys)."""
    while mask.ndim < 4:
        mask = mask.unsqueeze(0)
    return mask[row if mask.shape[0] > 1 else 0]


class CrossAttentionRecorder:
    """Adds up the cross-attention of class terms over layers and steps, per image and token grid.

    Each (layer, step) map is the softmax over **all** keys in float32, averaged over heads and over the term's tokens,
    then divided by its maximum (DiffuMask, section 3.2); the maps of a layer are added up. So memory does not depend on
    the number of steps.

    Args:
        layers: (height, width) in image tokens of each module that is read.
        texts: Where the words of each image's prompt stand among the keys; row i of every call is image i.
        timesteps: The inclusive range of training timesteps that is recorded.
        contrast: What each map is first set against, if anything.
        chunk_logits: Attention logits held at once; None for what suits the device.
    """

    def __init__(
        self,
        layers: Mapping[str, Grid],
        texts: Sequence[TextTokens],
        *,
        timesteps: tuple[int, int] = (0, 1000),
        contrast: Contrast | None = None,
        chunk_logits: int | None = None,
    ) -> None:
        self.layers = dict(layers)
        self._classes = [text.token_indices for text in texts]
        self._contrast = contrast
        self._background = [background_tokens(text) if contrast else {} for text in texts]
        self._timesteps = timesteps
        self._chunk_logits = chunk_logits
        self._averaging: list[torch.Tensor] | None = None
        self._sums: list[dict[str, torch.Tensor]] = [{} for _ in texts]
        self._counts: dict[str, int] = {}
        self._ran: list[float] = []
        self._is_open = False

    @property
    def is_open(self) -> bool:
        """Whether the present step lies in the recorded range."""
        return self._is_open

    def begin_step(self, timestep: float) -> None:
        """Tells the recorder which training timestep (0 clean, 1000 noise) the calls that follow belong to."""
        first, last = self._timesteps
        self._is_open = first <= timestep <= last
        self._ran.append(timestep)

    @torch.no_grad()
    def record(self, call: AttentionCall, on_weights: OnWeights | None = None) -> None:
        """Adds one (layer, step); ignored outside the recorded timesteps.

        ``on_weights`` gets all attention that is computed on the way.

        Raises:
            CaptureError: the call has not the rows or image tokens that were declared.
        """
        if not self._is_open:
            return
        grid = self.layers[call.name]
        self._check_shape(call, grid)
        for image, average in enumerate(self._averages(call.key)):
            background = BackgroundTokens.of(self._classes[image], self._background[image])
            weights = contrasted(self._class_attention(call, image, average, on_weights), background, self._contrast)
            peak = weights.amax(dim=1, keepdim=True).clamp_min_(torch.finfo(torch.float32).tiny)
            # (classes, height * width) -> (classes, height, width)
            self._add(image, call.name, (weights / peak).reshape(-1, *grid))
        self._counts[call.name] = self._counts.get(call.name, 0) + 1

    def maps(self) -> list[LayerSums]:
        """The recorded maps of each image, on the CPU, layer by layer.

        Raises:
            CaptureError: nothing was recorded, or a class got no attention at all.
            ModelError: the attention is NaN.
        """
        if not self._counts:
            raise CaptureError(self._why_empty())
        return [self._image_maps(image) for image in range(len(self._classes))]

    def _check_shape(self, call: AttentionCall, grid: Grid) -> None:
        rows, tokens = call.query.shape[0], call.query.shape[2]
        expected = len(self._classes)
        if rows != expected or tokens != grid[0] * grid[1]:
            raise CaptureError(
                f"attention layer {call.name!r} has {rows} rows of {tokens} image tokens, expected {expected} rows of "
                f"{grid[0]}x{grid[1]}: the model's family declares other rows or grids than it runs"
            )

    def _averages(self, key: torch.Tensor) -> list[torch.Tensor]:
        if self._averaging is None:
            pairs = zip(self._classes, self._background, strict=True)
            self._averaging = [_token_average({**one, **other}, key.shape[2]).to(key.device) for one, other in pairs]
        return self._averaging

    def _class_attention(
        self, call: AttentionCall, row: int, average: torch.Tensor, on_weights: OnWeights | None
    ) -> torch.Tensor:
        """Mean attention of each class, float32 (classes, queries)."""
        parts = []
        for chunk, weights in mean_attention(call, row, self._chunk_logits):
            parts.append(average @ weights.T)  # (classes, keys) @ (keys, queries)
            if on_weights:
                on_weights(row, chunk, weights)
        return torch.cat(parts, dim=1)

    def _add(self, image: int, layer: str, weights: torch.Tensor) -> None:
        sums = self._sums[image]
        sums[layer] = sums[layer].add_(weights) if layer in sums else weights

    def _image_maps(self, image: int) -> LayerSums:
        categories = tuple(self._classes[image])
        sums = {layer: total.cpu() for layer, total in self._sums[image].items()}
        _check_usable(sums, categories)
        return LayerSums(categories, sums, dict(self._counts))

    def _why_empty(self) -> str:
        first, last = self._timesteps
        if self._ran and not any(first <= timestep <= last for timestep in self._ran):
            return (
                f"attention_timesteps [{first}, {last}] holds none of the timesteps that ran "
                f"({min(self._ran):g} to {max(self._ran):g}); widen it or raise num_inference_steps"
            )
        return (
            f"no scaled_dot_product_attention call was seen in {len(self.layers)} attention layers; "
            "switch the model to its native attention backend (no xformers, flash, sage or compiled blocks), or "
            "register its family with diffumask_datasets.diffusion.registry.register_family"
        )


def _queries_at_once(logits: int, device: torch.device, chunk_logits: int | None) -> int:
    """How many queries, each of ``logits`` logits, make a chunk of ``chunk_logits``; None for what suits the device."""
    if chunk_logits is not None:
        return max(1, chunk_logits // logits)
    return max(FEWEST_QUERIES, (CPU_CHUNK_LOGITS if device.type == "cpu" else CHUNK_LOGITS) // logits)


def _token_average(token_indices: Mapping[str, Sequence[int]], keys: int) -> torch.Tensor:
    """Float32 (classes, keys): row c averages over the tokens of class c."""
    average = torch.zeros(len(token_indices), keys)
    for row, (category, tokens) in enumerate(token_indices.items()):
        if not tokens or max(tokens) >= keys:
            raise CaptureError(f"class {category!r} stands at tokens {list(tokens)}, but the layer has {keys} keys")
        average[row, list(tokens)] = 1 / len(tokens)
    return average


def _masked(logits: torch.Tensor, mask: torch.Tensor | None, row: int, queries: slice) -> torch.Tensor:
    """``logits`` (heads, queries, keys) of one batch row under the model's attention mask."""
    if mask is None:
        return logits
    part = row_mask(mask, row)
    part = part[:, queries] if part.shape[1] > 1 else part
    return logits.masked_fill_(~part, -torch.inf) if part.dtype is torch.bool else logits.add_(part)


def _check_usable(sums: Mapping[str, torch.Tensor], categories: Sequence[str]) -> None:
    peaks: dict[tuple[str, Grid], float] = {}
    for weights in sums.values():
        for category, peak in zip(categories, weights.amax(dim=(1, 2)).tolist(), strict=True):
            key = category, (weights.shape[1], weights.shape[2])
            peaks[key] = peak if peak != peak else max(peaks.get(key, 0.0), peak)
    for (category, grid), peak in peaks.items():
        subject = f"class {category!r} on the {grid[0]}x{grid[1]} grid"
        if peak != peak:
            raise ModelError(f"the attention of {subject} is NaN; try dtype='float32'")
        if peak <= 0:
            raise CaptureError(
                f"the attention of {subject} is zero everywhere; choose other layers with attention_grids"
            )
