"""Trains a small promptable segmenter, transformers' ``SamModel``, on drawn things of no class: see ``--help``."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from transformers import SamConfig, SamImageProcessor, SamModel, SamProcessor

from examples.small_model.drawn_shapes import draw_shape_scene
from examples.small_model.optimizers import MatrixDescent
from examples.small_model.shape_prompts import Asked, ask, correcting_point
from examples.small_model.training import (
    Averaged,
    append_log,
    learning_rate,
    load_checkpoint,
    options_of,
    save_checkpoint,
    write_model,
)

__all__ = ["IMAGE_SIDE", "new_segmenter", "processor", "train"]

IMAGE_SIDE, PATCH = 128, 8
WIDTH = 96
MEAN, DEVIATION = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
CORRECTED_SHARE = 0.5
"""Share of batches in which a correction of each mask is asked for as well."""

TEST_SEED = 50_000_000
TEST_SCENES = 64


@dataclass(frozen=True)
class Settings:
    """What decides a training."""

    steps: int
    batch: int = 8
    each: int = 3
    rate: float = 3e-3
    average: float = 0.998
    seed: int = 0


def new_segmenter(seed: int = 0) -> SamModel:
    """A ``SamModel`` of 0.9 million random weights for images of 128 pixels."""
    torch.manual_seed(seed)
    config = SamConfig(
        vision_config={
            "hidden_size": WIDTH,
            "output_channels": WIDTH,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "image_size": IMAGE_SIDE,
            "patch_size": PATCH,
            "mlp_ratio": 3.0,
            "use_rel_pos": False,
            "window_size": 0,
            "global_attn_indexes": [],
            "num_pos_feats": WIDTH // 2,
            "initializer_range": 0.02,
        },
        prompt_encoder_config={"hidden_size": WIDTH, "image_size": IMAGE_SIDE, "patch_size": PATCH},
        mask_decoder_config={
            "hidden_size": WIDTH,
            "mlp_dim": 2 * WIDTH,
            "num_attention_heads": 4,
            "iou_head_hidden_dim": WIDTH,
        },
    )
    segmenter = SamModel(config)
    with torch.no_grad():
        segmenter.vision_encoder.pos_embed.normal_(std=0.02)
        # transformers draws frequencies for weights that a checkpoint replaces: far too high to learn with.
        segmenter.shared_image_embedding.positional_embedding.normal_(std=1.0)
    segmenter.shared_image_embedding.positional_embedding.requires_grad_(False)
    return segmenter


def processor() -> SamProcessor:
    """What gives images to the segmenter, saved beside it."""
    images = SamImageProcessor(
        size={"longest_edge": IMAGE_SIDE},
        mask_size={"longest_edge": IMAGE_SIDE // 2},
        pad_size={"height": IMAGE_SIDE, "width": IMAGE_SIDE},
        mask_pad_size={"height": IMAGE_SIDE // 2, "width": IMAGE_SIDE // 2},
        image_mean=MEAN,
        image_std=DEVIATION,
    )
    return SamProcessor(image_processor=images)


def pixel_values(images: Sequence[NDArray[np.uint8]]) -> Tensor:
    """uint8 images (height, width, 3) as the processor gives them, (n, 3, height, width)."""
    values = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255
    return (values - MEAN[0]) / DEVIATION[0]


def predict(
    segmenter: SamModel, embeddings: Tensor, asked: Asked, *, box: bool, mask: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Logits (n, candidates, side, side) and predicted IoU (n, candidates) of the prompts."""
    output = segmenter(
        image_embeddings=embeddings,
        input_points=asked.points[:, None],
        input_labels=asked.labels[:, None],
        input_boxes=asked.boxes[:, None] if box else None,
        input_masks=mask,
    )
    return output.pred_masks[:, 0], output.iou_scores[:, 0]


def mask_loss(logits: Tensor, scores: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """The loss of the best candidate and of all predicted IoUs, and the number (n,) of the best candidate."""
    target = truth[:, None].expand_as(logits)
    entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none").mean(dim=(2, 3))
    likely = torch.sigmoid(logits)
    overlap = (likely * target).sum(dim=(2, 3))
    dice = 1 - (2 * overlap + 1) / (likely.square().sum(dim=(2, 3)) + target.square().sum(dim=(2, 3)) + 1)
    best_loss, best = (5 * entropy + dice).min(dim=1)
    error = functional.mse_loss(scores, overlaps(logits.detach(), truth))
    return best_loss.mean() + error, best


def overlaps(logits: Tensor, truth: Tensor) -> Tensor:
    """IoU (n, candidates) of the masks of logits (n, candidates, side, side) with the truths (n, side, side)."""
    found, real = logits > 0, truth[:, None] > 0.5
    return (found & real).sum(dim=(2, 3)) / (found | real).sum(dim=(2, 3)).clamp(min=1)


def step_loss(segmenter: SamModel, step: int, settings: Settings) -> Tensor:
    """The loss of the batch ``step``: of each prompt, in some batches of its correction too."""
    rng = np.random.default_rng([settings.seed, step])
    torch.manual_seed(settings.seed * 1_000_003 + step)
    first = step * settings.batch
    scenes = [draw_shape_scene(first + number) for number in range(settings.batch)]
    asked = ask(scenes, settings.each, rng)
    encoded = segmenter.vision_encoder(pixel_values([scene.image for scene in scenes])).last_hidden_state
    embeddings = encoded[asked.image]
    box, mask = bool(rng.random() < 0.5), (asked.heat if rng.random() < 0.6 else None)
    losses = []
    for _ in range(1 + int(rng.random() < CORRECTED_SHARE)):
        logits, scores = predict(segmenter, embeddings, asked, box=box, mask=mask)
        loss, best = mask_loss(logits, scores, asked.truth)
        losses.append(loss)
        chosen = logits.detach()[torch.arange(len(best)), best]
        mask, asked = chosen[:, None].clamp(-10, 10), corrected(asked, chosen)
    return torch.stack(losses).mean()


def corrected(asked: Asked, logits: Tensor) -> Asked:
    """The same prompts with one more point, in the largest mistake of the masks."""
    point, label = correcting_point(logits, asked.truth, IMAGE_SIDE // logits.shape[-1])
    points, labels = torch.cat([asked.points, point], dim=1), torch.cat([asked.labels, label], dim=1)
    return Asked(asked.image, points, labels, asked.boxes, asked.heat, asked.truth)


@torch.no_grad()
def tested(segmenter: SamModel) -> dict[str, float]:
    """Mean IoU of the mask with the best predicted IoU on scenes never trained on, by kind of prompt."""
    scenes = [draw_shape_scene(TEST_SEED + number) for number in range(TEST_SCENES)]
    asked = ask(scenes, 2, np.random.default_rng(1))
    embeddings = segmenter.vision_encoder(pixel_values([scene.image for scene in scenes])).last_hidden_state[
        asked.image
    ]
    figures = {}
    for name, box, mask in (("points", False, None), ("box", True, None), ("all", True, asked.heat)):
        logits, scores = predict(segmenter, embeddings, asked, box=box, mask=mask)
        real = overlaps(logits, asked.truth)
        figures[f"iou_{name}"] = float(real.gather(1, scores.argmax(dim=1, keepdim=True)).mean())
    return figures


def train(settings: Settings, output: Path) -> None:
    """Trains, goes on from the checkpoint in ``output`` where there is one, and writes ``output/model``."""
    segmenter, checkpoint = new_segmenter(settings.seed).train(), output / "checkpoint.pt"
    optimizer, average = MatrixDescent(segmenter, matrix_share=1.0), Averaged(segmenter, settings.average)
    first, losses, started = 0, [], time.monotonic()
    if checkpoint.exists():
        saved = load_checkpoint(checkpoint)
        segmenter.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        average.values, first = saved["average"], saved["step"]
    for step in range(first, settings.steps):
        loss = step_loss(segmenter, step, settings)
        optimizer.descend(loss, learning_rate(settings.rate, step=step, steps=settings.steps, warm_up=100))
        average.update(segmenter, step)
        losses.append(loss.detach())
        if step % 25 == 24:
            pace = (step + 1 - first) / (time.monotonic() - started)
            append_log(output / "log.jsonl", step=step + 1, loss=torch.stack(losses).mean(), steps_per_s=pace)
            losses = []
        if step % 100 == 99 or step + 1 == settings.steps:
            state = {"model": segmenter.state_dict(), "optimizer": optimizer.state_dict(), "step": step + 1}
            save_checkpoint(checkpoint, state | {"average": average.values})
            export(average, settings, step + 1, output)


def export(average: Averaged, settings: Settings, step: int, output: Path) -> None:
    """Writes the averaged weights in float16, the processor and the facts of the training to ``output/model``."""
    segmenter = new_segmenter(settings.seed)
    segmenter.load_state_dict(average.values)
    figures = tested(segmenter.eval())
    append_log(output / "log.jsonl", step=step, **figures)
    write_model(output / "model", [segmenter.half(), processor()], {**vars(settings), "step": step, **figures})


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point; ``arguments`` default to the command line."""
    options = options_of(arguments, name="promptable", about=__doc__, steps=4000)
    train(Settings(options.steps), options.output)


if __name__ == "__main__":
    main()
