"""Image-text models: one that sees colours, and a tiny CLIP of random weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPProcessor

from tests.helpers.tiny_models import vocabularies

COLOURS = {"car": (200, 30, 30), "potted plant": (30, 200, 30), "boat": (30, 30, 200), "background": (128, 128, 128)}


class ColourModel:
    """Sees the class whose colour the middle of an image has."""

    def __init__(self) -> None:
        self.images: list[npt.NDArray[np.uint8]] = []
        self.texts: list[list[str]] = []

    def compare(self, image: npt.NDArray[np.uint8], texts: Sequence[str]) -> npt.NDArray[np.float32]:
        self.images.append(image)
        self.texts.append(list(texts))
        middle = image[image.shape[0] // 2, image.shape[1] // 2].astype(float)
        names = [text.removeprefix("a photo of a ") for text in texts]
        return np.array([-np.abs(middle - COLOURS[name]).sum() / 40 for name in names], np.float32)


def scene_with(
    *things: tuple[str, str, tuple[int, int, int, int]],
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """A grey image of 60 x 80 pixels, and its label: boxes, each coloured as one class and labelled as another."""
    image, label = np.full((60, 80, 3), 128, np.uint8), np.zeros((60, 80), np.uint8)
    for seen, labelled, (top, left, bottom, right) in things:
        image[top:bottom, left:right] = COLOURS[seen]
        label[top:bottom, left:right] = list(COLOURS).index(labelled) + 1
    return image, label


def save_tiny_clip(folder: Path) -> str:
    """A CLIP of random weights; returns its folder."""
    side = {"image_size": 32, "patch_size": 16}
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    tokenizer = vocabularies.clip()
    text = {**small, "vocab_size": len(tokenizer), "max_position_embeddings": 16}
    CLIPModel(CLIPConfig(text_config=text, vision_config={**small, **side}, projection_dim=8)).save_pretrained(folder)
    pictures = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    CLIPProcessor(pictures, tokenizer).save_pretrained(folder)
    return str(folder)
