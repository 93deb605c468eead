"""Training a segmenter with transformers' Trainer: seeded, resumable, and clear about what stopped it."""

from __future__ import annotations

import contextlib
import functools
import logging
import math
import random
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Sampler, SequentialSampler
from transformers import PreTrainedModel, PrinterCallback, Trainer, TrainingArguments
from transformers.trainer_utils import set_seed
from transformers.utils.logging import disable_progress_bar

from diffumask_datasets.dataset.image_listing import told
from diffumask_datasets.errors import DataError, ModelError, RecipeError, TrainingError
from diffumask_datasets.models.out_of_memory import names_the_knob
from diffumask_datasets.models.weights import load_whole
from diffumask_datasets.sample import IGNORE
from diffumask_datasets.segmentation.class_check import check_classes, warn_of_unseen
from diffumask_datasets.segmentation.labelled import LabelledImages, read_example
from diffumask_datasets.segmentation.model_folder import (
    check_target,
    checkpoints_of,
    claim,
    finished_digest,
    last_checkpoint,
    write_model,
)
from diffumask_datasets.segmentation.models import SMALL, build_model, check_model
from diffumask_datasets.segmentation.preprocessing import Preprocessing
from diffumask_datasets.segmentation.segmenter import Segmenter, device_of
from diffumask_datasets.segmentation.settings import TrainingSettings
from diffumask_datasets.segmentation.sources import SOURCE, Mixture, mix, open_source
from diffumask_datasets.segmentation.training_set import TrainingItems, TrainingStream, collated

__all__ = ["ANY_HARDWARE", "Hardware", "train"]

logger = logging.getLogger(__name__)

RATE_FROM_SCRATCH = 1e-3
RATE_FINE_TUNING = 1e-4


@dataclass(frozen=True, slots=True)
class Hardware:
    """What changes how fast a model trains but not what it is meant to become: torch's device, processes that read data.

    A stream is read by the training process itself, so that its images come in one order.
    """

    device: str | None = None
    workers: int = 0


ANY_HARDWARE = Hardware()


def train(
    settings: TrainingSettings,
    output: Path,
    *,
    data: list[LabelledImages] | None = None,
    hardware: Hardware = ANY_HARDWARE,
) -> Segmenter:
    """Trains a segmenter into a folder that transformers loads; started again, it goes on at the last checkpoint.

    A training that is already there whole is loaded and not repeated.

    Args:
        settings: What to train, and on which sources.
        output: The folder of the model.
        data: The opened sources, in order, in place of opening those of ``settings``.
        hardware: Device and loader processes.

    Returns:
        The trained segmenter.

    Raises:
        DataError: A source cannot be read or is empty, or no mask shows a class.
        ModelError: No such model, or no such device.
        RecipeError: A precision that the device does not have.
        TrainingError: The loss became nan or infinite, the memory ran out, or other checkpoints are in the way.
        ExportError: ``output`` holds something that is not ours, or cannot be written.
    """
    check_target(output)
    check_model(settings.model, settings.model_options)
    device = _training_device(hardware.device)
    opened = data if data is not None else [open_source(source) for source in settings.sources]
    mixture = mix(settings.sources, opened, classes=settings.classes, seed=settings.seed)
    digest = settings.digest_with(mixture.fingerprint)
    if finished_digest(output) == digest:
        shutil.rmtree(checkpoints_of(output), ignore_errors=True)  # of a process that was killed at its very end
        return Segmenter.load(output, device=hardware.device)
    check_classes(mixture)
    with claim(output, digest) as checkpoints:
        with _seeded(settings.seed):
            trainer = _trainer(settings, mixture, checkpoints, device, workers=hardware.workers)
            _run(trainer, settings, last_checkpoint(checkpoints))
        if isinstance(trainer.train_dataset, TrainingStream):
            warn_of_unseen(mixture.classes, trainer.train_dataset.unseen)
        if mixture.left_out:
            logger.warning(told(mixture.left_out))
        history = [entry for entry in trainer.state.log_history if "loss" in entry]
        write_model(output, trainer.unwrapped, trainer.preprocessing, settings=settings, digest=digest, history=history)
        shutil.rmtree(checkpoints)
    return Segmenter(trainer.unwrapped, trainer.preprocessing, device=hardware.device)


class _SegmentationTrainer(Trainer):  # type: ignore[misc]  # transformers is not read by the type checker
    """A Trainer that keeps the order of its items and stops at the first loss that is no number."""

    preprocessing: Preprocessing

    @property
    def unwrapped(self) -> PreTrainedModel:
        model: PreTrainedModel = self.accelerator.unwrap_model(self.model)
        return model

    def _get_train_sampler(self, *_: Any) -> Sampler[int] | None:
        return None if isinstance(self.train_dataset, TrainingStream) else SequentialSampler(self.train_dataset)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        # Trainer reads the file as it is and only warns of names that do not fit; from_pretrained also knows the older
        # names under which some families are saved. Without this a resumed SegFormer starts from random weights.
        network = self.unwrapped if model is None else model
        saved = load_whole(
            type(self.unwrapped), resume_from_checkpoint, what=f"the checkpoint {resume_from_checkpoint}"
        )
        network.load_state_dict(saved.state_dict())

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, **_: Any
    ) -> Tensor | tuple[Tensor, Any]:
        """The model's own loss, 0 where no pixel counts; raises TrainingError where it is no finite number."""
        outputs = model(**{name: value for name, value in inputs.items() if name != "sample_ids"})
        loss = 0 * outputs.logits.sum() if _all_ignored(inputs) else outputs.loss.mean()
        if not math.isfinite(loss.item()):
            seen = ", ".join(inputs["sample_ids"][:4])
            raise TrainingError(
                f"the loss became {loss.item()} at step {self.state.global_step + 1}, on {seen}: "
                f"lower the learning rate (it was {self.args.learning_rate:g}), and use bf16 or float32 if it was fp16"
            )
        return (loss, outputs) if return_outputs else loss


def _all_ignored(inputs: dict[str, Any]) -> bool:
    labels = inputs.get("labels")
    return labels is not None and bool((labels == IGNORE).all())


def _trainer(
    settings: TrainingSettings, mixture: Mixture, checkpoints: Path, device: torch.device, *, workers: int
) -> _SegmentationTrainer:
    if not sys.stderr.isatty():
        disable_progress_bar()
    model = build_model(
        settings.model, mixture.classes, from_scratch=settings.from_scratch, options=settings.model_options
    )
    preprocessing = _preprocessing(settings, mixture)
    streaming = not hasattr(mixture.rows, "__len__")
    items: Any = (TrainingStream if streaming else TrainingItems)(mixture, settings, preprocessing)
    trainer = _SegmentationTrainer(
        model=model,
        args=_arguments(settings, checkpoints, device, workers=0 if streaming else workers),
        train_dataset=items,
        data_collator=functools.partial(collated, model_type=model.config.model_type),
    )
    # Our loss is a mean over the batch, whatever keywords the model's forward takes.
    trainer.model_accepts_loss_kwargs = False
    trainer.remove_callback(PrinterCallback)
    trainer.preprocessing = preprocessing
    return trainer


def _preprocessing(settings: TrainingSettings, mixture: Mixture) -> Preprocessing:
    height, width = settings.height, settings.width
    if height is None or width is None:
        first = next(iter(mixture.rows), None)
        if first is None:
            raise DataError("there is no image to train on: check the splits of the sources")
        seen = read_example(first, mixture.colours[first[SOURCE]]).label.shape
        height, width = height or seen[0], width or seen[1]
    if settings.model in SMALL:
        return Preprocessing(height, width)
    return Preprocessing.of_checkpoint(settings.model, height=height, width=width)


def _arguments(
    settings: TrainingSettings, checkpoints: Path, device: torch.device, *, workers: int
) -> TrainingArguments:
    precision = _precision(settings.precision, device)
    fresh = settings.from_scratch or settings.model in SMALL
    arguments = TrainingArguments(
        output_dir=str(checkpoints),
        max_steps=settings.steps,
        per_device_train_batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.accumulate,
        learning_rate=settings.learning_rate or (RATE_FROM_SCRATCH if fresh else RATE_FINE_TUNING),
        weight_decay=settings.weight_decay,
        lr_scheduler_type=settings.schedule,
        warmup_steps=round(settings.warmup * settings.steps),
        logging_steps=settings.log_every,
        logging_nan_inf_filter=False,
        save_steps=settings.checkpoint_every,
        save_total_limit=1,
        seed=settings.seed,
        data_seed=settings.seed,
        bf16=precision == "bf16",
        fp16=precision == "fp16",
        use_cpu=device.type == "cpu",
        dataloader_num_workers=workers,
        # Each process reads its own batches of a stream: names and lists of masks cannot be dispatched as tensors.
        accelerator_config={"dispatch_batches": False},
        remove_unused_columns=False,
        report_to=[],
        disable_tqdm=not sys.stderr.isatty(),
    )
    if arguments.n_gpu > 1:
        # Trainer would cut each batch into pieces for all GPUs, which the lists of masks do not survive.
        arguments._n_gpu = 1
    return arguments


def _training_device(name: str | None) -> torch.device:
    device = device_of(name)
    if device.index:
        raise ModelError(
            f"device {name!r}: a training takes the first GPU it sees; set CUDA_VISIBLE_DEVICES={device.index} instead"
        )
    return device


def _precision(wanted: str, device: torch.device) -> str:
    if wanted == "fp16" and device.type == "cpu":
        raise RecipeError("precision: fp16 needs a GPU; on the CPU take float32 or bf16")
    if wanted != "auto":
        return wanted
    if device.type != "cuda":
        return "float32"
    return "bf16" if torch.cuda.is_bf16_supported() else "fp16"


def _run(trainer: _SegmentationTrainer, settings: TrainingSettings, checkpoint: Path | None) -> None:
    if checkpoint:
        logger.warning("going on from %s", checkpoint.name)
    with names_the_knob(TrainingError, functools.partial(_memory_advice, trainer, settings)):
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)


def _memory_advice(trainer: _SegmentationTrainer, settings: TrainingSettings) -> str:
    size, count = trainer.preprocessing, settings.batch_size
    smaller = f"--batch-size {count // 2} and --accumulate {2 * settings.accumulate} (the same images per step), or "
    return (
        f"at step {trainer.state.global_step + 1} with batches of {count} images of {size.height}x{size.width}: "
        f"take {smaller if count > 1 else ''}a smaller --size"
    )


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """The global generators start from ``seed`` inside, and are given back as they were."""
    state, numpy_state = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        set_seed(seed)
        try:
            yield
        finally:
            random.setstate(state)
            np.random.set_state(numpy_state)
