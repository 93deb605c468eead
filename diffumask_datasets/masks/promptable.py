"""Promptable segmenters of transformers behind one form: an image is encoded once, then asked by points, box and mask."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from diffumask_datasets.errors import ModelError
from diffumask_datasets.models.locks import model_lock
from diffumask_datasets.models.reference import SEGMENTER, ModelReference
from diffumask_datasets.models.weights import load_whole, on_device, readable_errors
from diffumask_datasets.recipes.json_reader import read_json

__all__ = [
    "LOGIT_LIMIT",
    "NETWORKS",
    "Answer",
    "Prompt",
    "Segmenter",
    "declared_type",
    "load_segmenter",
    "model_type_of",
    "normalization_of",
    "segmenter_reference",
    "segmenter_revision",
]

NETWORKS = {
    "sam": "SamModel",
    "sam_hq": "SamHQModel",
    "sam2": "Sam2Model",
    "sam2_video": "Sam2Model",
    "edgetam": "EdgeTamModel",
    "edgetam_video": "EdgeTamModel",
    "sam3": "Sam3TrackerModel",
    "sam3_video": "Sam3TrackerModel",
    "sam3_tracker": "Sam3TrackerModel",
    "sam3_tracker_video": "Sam3TrackerModel",
}
"""``model_type`` of a checkpoint to the class that takes prompts; checkpoints of video models hold one."""

_PADDED = ("sam", "sam_hq")
"""These see an image in its own proportions and padding; the others see it stretched to a square."""

LOGIT_LIMIT = 10.0
"""Mask prompts are logits within ± this."""

PADDING = -10
"""The label of a point that is none."""

CHUNK = 8
"""Prompts that are decoded together: forty objects need no more memory than eight."""

_PROCESSORS = ("processor_config.json", "preprocessor_config.json")


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    """What is asked about one object. Coordinates are pixels of the image, x before y.

    Attributes:
        points: float32 (points, 2).
        labels: int (points,), 1 on the object and 0 beside it.
        box: x1, y1, x2, y2, or None.
        mask: logits float32 (height, width), or None.
    """

    points: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int_]
    box: tuple[float, float, float, float] | None = None
    mask: npt.NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """Candidates for one object: logits float32 (candidates, height, width), and the IoU (candidates,) that they promise."""

    logits: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]


class Segmenter:
    """A network that is asked about images; it keeps the encoding of the last one."""

    def __init__(self, network: Any, *, padded: bool, mean: Sequence[float], deviation: Sequence[float]) -> None:
        self._network, self._padded = network, padded
        self._mean, self._deviation = tuple(mean), tuple(deviation)
        sides = network.prompt_encoder.input_image_size
        self._side = int(sides[0] if isinstance(sides, (tuple, list)) else sides)
        self._mask_side = 4 * int(network.prompt_encoder.image_embedding_size[0])
        self._last: tuple[bytes, Any] = (b"", None)

    def ask(self, image: npt.NDArray[np.uint8], prompts: Sequence[Prompt]) -> list[Answer]:
        """The answers to prompts that are alike: all with a box or none, all with a mask or none.

        Args:
            image: uint8 (height, width, 3).
            prompts: What is asked.

        Returns:
            One answer a prompt, as large as the image.
        """
        import torch

        with model_lock, torch.inference_mode():
            encoded = self._encoded(image)
            chunks = [prompts[first : first + CHUNK] for first in range(0, len(prompts), CHUNK)]
            return [answer for chunk in chunks for answer in self._decoded(encoded, chunk, image.shape[:2])]

    def _encoded(self, image: npt.NDArray[np.uint8]) -> Any:
        key = image.tobytes() + bytes(str(image.shape), "ascii")
        if self._last[0] != key:
            self._last = (key, self._network.get_image_embeddings(self._pixels(image)))
        return self._last[1]

    def _pixels(self, image: npt.NDArray[np.uint8]) -> Any:
        """The image as the network sees it, (1, 3, side, side)."""
        import torch
        from torch.nn import functional

        values = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255
        scale = self._scale(image.shape[:2])
        size = [
            min(self._side, max(1, round(side * factor))) for side, factor in zip(image.shape[:2], scale, strict=True)
        ]
        values = functional.interpolate(values, size=size, mode="bilinear", antialias=True, align_corners=False)
        mean, deviation = (torch.tensor(row)[:, None, None] for row in (self._mean, self._deviation))
        values = (values - mean) / deviation
        padding = (0, self._side - size[1], 0, self._side - size[0])
        return functional.pad(values, padding).to(self._network.device, self._network.dtype)

    def _scale(self, size: tuple[int, int]) -> tuple[float, float]:
        """Pixels of the network per pixel of an image of ``size`` (height, width), down and across."""
        height, width = size
        if self._padded:
            return self._side / max(size), self._side / max(size)
        return self._side / height, self._side / width

    def _decoded(self, encoded: Any, prompts: Sequence[Prompt], size: tuple[int, int]) -> list[Answer]:
        import torch

        down, across = self._scale(size)
        scale = np.array([across, down], dtype=np.float32)
        most = max(len(prompt.points) for prompt in prompts)
        points = np.zeros((len(prompts), 1, most, 2), np.float32)
        labels = np.full((len(prompts), 1, most), PADDING)
        for row, prompt in enumerate(prompts):
            points[row, 0, : len(prompt.points)] = (prompt.points + 0.5) * scale - 0.5
            labels[row, 0, : len(prompt.points)] = prompt.labels
        boxes = [(np.reshape(prompt.box, (2, 2)) + 0.5) * scale - 0.5 for prompt in prompts if prompt.box is not None]
        device, dtype = self._network.device, self._network.dtype
        output = self._network(
            **self._repeated(encoded, len(prompts)),
            input_points=torch.from_numpy(points).to(device, dtype),
            input_labels=torch.from_numpy(labels).to(device, torch.int32),
            input_boxes=torch.from_numpy(np.stack(boxes).reshape(-1, 1, 4)).to(device, dtype) if boxes else None,
            input_masks=self._mask_inputs(prompts, size),
            multimask_output=True,
        )
        logits = self._enlarged(output.pred_masks[:, 0].float(), size).cpu().numpy()
        scores = output.iou_scores[:, 0].float().cpu().numpy()
        return [Answer(*pair) for pair in zip(logits, scores, strict=True)]

    def _repeated(self, encoded: Any, count: int) -> dict[str, Any]:
        """The encoding of one image for ``count`` prompts: masks are prompts of an image, so each prompt has one."""

        def repeat(values: Any) -> Any:
            if isinstance(values, (list, tuple)):
                return [repeat(value) for value in values]
            return values.expand(count, *values.shape[1:])

        if isinstance(encoded, tuple):  # SAM-HQ's decoder also reads what the encoder saw on the way
            return {"image_embeddings": repeat(encoded[0]), "intermediate_embeddings": repeat(encoded[1])}
        return {"image_embeddings": repeat(encoded)}

    def _mask_inputs(self, prompts: Sequence[Prompt], size: tuple[int, int]) -> Any:
        import torch
        from torch.nn import functional

        masks = [prompt.mask for prompt in prompts if prompt.mask is not None]
        if not masks:
            return None
        values = torch.from_numpy(np.stack(masks))[:, None].clamp(-LOGIT_LIMIT, LOGIT_LIMIT)
        if self._padded:
            values = functional.pad(values, (0, max(size) - size[1], 0, max(size) - size[0]), value=-LOGIT_LIMIT)
        side = (self._mask_side, self._mask_side)
        shrunk = functional.interpolate(values, size=side, mode="bilinear", antialias=True, align_corners=False)
        return shrunk.to(self._network.device, self._network.dtype)

    def _enlarged(self, logits: Any, size: tuple[int, int]) -> Any:
        """Logits (prompts, candidates, side, side) at ``size``, without the padding."""
        from torch.nn import functional

        height, width = size
        whole = (max(size), max(size)) if self._padded else size
        enlarged = functional.interpolate(logits, size=whole, mode="bilinear", align_corners=False)
        return enlarged[:, :, :height, :width]


def declared_type(model: str, revision: str | None = None) -> Any:
    """The ``model_type`` that the config of a segmenter has, whatever that is; None where it has none.

    Raises:
        ModelError: it cannot be found or is gated.
    """
    file = segmenter_reference(model, revision).file("config.json")
    config = read_json(file, what="the config", error=ModelError)
    return config.get("model_type") if isinstance(config, dict) else None


def model_type_of(model: str, revision: str | None = None) -> str:
    """The ``model_type`` of a promptable segmenter.

    Raises:
        ModelError: it cannot be found, is gated, or is no model that takes points, boxes and masks as prompts.
    """
    kind = declared_type(model, revision)
    if kind not in NETWORKS:
        raise ModelError(
            f"the model {model!r} (model_type {kind!r}) takes no points, boxes and masks as prompts; give a checkpoint of "
            "SAM, SAM 2, SAM-HQ, EdgeTAM or SAM 3, e.g. 'facebook/sam2.1-hiera-tiny'"
        )
    return str(kind)


def segmenter_revision(model: str) -> str:
    """What identifies the present content of a promptable segmenter.

    Raises:
        ModelError: it cannot be found or is gated.
    """
    return SEGMENTER.named(model).resolve()


@functools.lru_cache(maxsize=1)
@model_lock
def load_segmenter(model: str, revision: str | None = None, device: str | None = None) -> Segmenter:
    """A promptable segmenter, ready to be asked; the last one stays loaded.

    Args:
        model: A folder or Hub id.
        revision: The commit of a Hub repository, or None.
        device: torch's name of the device, None for a GPU where there is one.

    Returns:
        The segmenter, computing in float32.

    Raises:
        ModelError: it cannot be found or read, or takes no such prompts.
    """
    import torch
    import transformers

    kind = model_type_of(model, revision)
    reference = segmenter_reference(model, revision)
    mean, deviation = normalization_of(reference)
    what = f"the promptable segmenter {model!r}"
    with readable_errors(what):
        network = load_whole(
            getattr(transformers, NETWORKS[kind]),
            str(reference.local or model),
            what=what,
            use_safetensors=True,
            dtype=torch.float32,
            revision=reference.revision or "main",
        )
    return Segmenter(on_device(network, device), padded=kind in _PADDED, mean=mean, deviation=deviation)


def normalization_of(reference: ModelReference) -> tuple[Sequence[float], Sequence[float]]:
    """Mean and deviation of the colours that a network sees, as the image processor beside it has them.

    Raises:
        ModelError: there is none.
    """
    missing: list[ModelError] = []
    for name in _PROCESSORS:
        try:
            found: Any = read_json(reference.file(name), what="the image processor", error=ModelError)
        except ModelError as error:
            missing.append(error)
            continue
        found = found.get("image_processor", found)
        return found["image_mean"], found["image_std"]
    raise ModelError(
        f"the promptable segmenter {reference.name!r} has neither {' nor '.join(_PROCESSORS)}, which say how it sees images"
    ) from missing[-1]


def segmenter_reference(model: str, revision: str | None) -> ModelReference:
    """What a name refers to, without the revision for a folder: its content was compared when the recipe was prepared."""
    named = SEGMENTER.named(model)
    return named if named.local else SEGMENTER.named(model, revision)
