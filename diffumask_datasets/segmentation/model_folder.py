"""The folder that a training leaves, written whole or not at all, and the checkpoints beside it while it runs.

out/model/config.json, model.safetensors, preprocessor_config.json     as transformers loads them
out/model/log.jsonl, curves.png                                        loss and learning rate over the steps
out/model/training.yaml                                                the settings; a folder that has it is whole
out/.model.checkpoints/                                                gone once the model is there
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import yaml
from transformers import PreTrainedModel
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from diffumask_datasets.dataset.atomic import atomic_folder, exclusive
from diffumask_datasets.errors import ExportError, TrainingError
from diffumask_datasets.recipes.json_reader import read_json
from diffumask_datasets.recipes.yaml_reader import read_yaml
from diffumask_datasets.segmentation.preprocessing import Preprocessing
from diffumask_datasets.segmentation.settings import TrainingSettings
from diffumask_datasets.segmentation.visualize import save_curves

__all__ = ["check_target", "checkpoints_of", "claim", "finished_digest", "last_checkpoint", "write_model"]

TRAINING_FILE = "training.yaml"
LOG_FILE = "log.jsonl"
STATE_BYTES = 256 * 2**20
"""The state of a Trainer grows with each line of its log."""


def check_target(output: Path) -> None:
    """Raises ExportError unless ``output`` is new, empty, or a model that this package wrote."""
    if output.exists() and not (output.is_dir() and (not any(output.iterdir()) or (output / TRAINING_FILE).exists())):
        raise ExportError(f"{output} is not empty and not a model of ours: choose another --output or remove it")


def finished_digest(output: Path) -> str | None:
    """The digest of the training that ``output`` is the whole result of; None where it is none."""
    path = output / TRAINING_FILE
    fields = read_yaml(path, what="the settings", error=TrainingError) if path.is_file() else None
    return str(fields["digest"]) if isinstance(fields, dict) and "digest" in fields else None


def checkpoints_of(output: Path) -> Path:
    """Where the checkpoints for ``output`` lie while it is trained."""
    return output.with_name(f".{output.name}.checkpoints")


def last_checkpoint(checkpoints: Path) -> Path | None:
    """The latest checkpoint that is whole: a process that was killed while writing one leaves a part of it."""
    # The Trainer writes its state last.
    states = checkpoints.glob(f"{PREFIX_CHECKPOINT_DIR}-*/{TRAINER_STATE_NAME}")
    whole = [state.parent for state in states if _is_json(state)]
    return max(whole, key=lambda folder: int(folder.name.rpartition("-")[2]), default=None)


@contextmanager
def claim(output: Path, digest: str) -> Iterator[Path]:
    """The folder of the checkpoints for ``output``, marked as those of this training, which alone uses it meanwhile.

    Raises:
        TrainingError: it holds checkpoints of another one.
        ExportError: another run is training into ``output``, or the folder cannot be written.
    """
    checkpoints = checkpoints_of(output)
    with ExitStack() as held:
        try:
            held.enter_context(exclusive(checkpoints, output))
            _mark(checkpoints, output, digest)
        except OSError as error:
            raise ExportError(f"cannot write {checkpoints}: {error.strerror or error}") from error
        yield checkpoints


def _mark(checkpoints: Path, output: Path, digest: str) -> None:
    mark = checkpoints / "digest"
    if mark.exists() and mark.read_text(encoding="utf-8") != digest and last_checkpoint(checkpoints):
        raise TrainingError(
            f"{checkpoints} holds checkpoints of another training (other settings or data): "
            f"remove it to start anew, or choose another --output than {output}"
        )
    mark.write_text(digest, encoding="utf-8")


def write_model(
    output: Path,
    model: PreTrainedModel,
    preprocessing: Preprocessing,
    *,
    settings: TrainingSettings,
    digest: str,
    history: Sequence[Mapping[str, Any]],
) -> None:
    """Writes a model beside its place and moves it there in one step; an earlier one is replaced once the new one is whole.

    Args:
        output: The folder.
        model: The network.
        preprocessing: How its images are prepared.
        settings: What it was trained by.
        digest: The digest of all that decides it.
        history: The log of its training.

    Raises:
        ExportError: ``output`` cannot be written.
    """
    with atomic_folder(output) as draft:
        model.save_pretrained(draft)
        preprocessing.save(draft, model.config)
        lines = [json.dumps({name: entry[name] for name in sorted(entry)}) for entry in history]
        (draft / LOG_FILE).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        save_curves(history, draft / "curves.png")
        fields = {**settings.model_dump(mode="json"), "digest": digest}
        text = yaml.safe_dump(fields, sort_keys=False, allow_unicode=True)
        (draft / TRAINING_FILE).write_text(text, encoding="utf-8")


def _is_json(path: Path) -> bool:
    try:
        read_json(path, what="the state", error=TrainingError, most_bytes=STATE_BYTES)
    except TrainingError:
        return False
    return True
