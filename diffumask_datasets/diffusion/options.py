"""The identity of a LoRA and of a single-file checkpoint. Imports no torch."""

from __future__ import annotations

from pathlib import Path

from diffumask_datasets.diffusion.revision import fingerprint, hub_commit
from diffumask_datasets.errors import ModelError
from diffumask_datasets.models.fingerprint import file_fingerprint

__all__ = ["resolve_checkpoint", "resolve_lora"]


def resolve_lora(lora: str | None, revision: str | None = None) -> str | None:
    """The identity of a LoRA's content: a fingerprint of its file or folder, or the commit of a Hub repository.

    Raises:
        ModelError: there is none, or ``revision`` names another content than is there.
    """
    if lora is None:
        return None
    path = Path(lora).expanduser()
    if not path.exists():
        if lora.startswith((".", "/", "~")) or lora.count("/") != 1:
            raise ModelError(f"no LoRA {lora!r}: give a safetensors file, a folder or a Hub id owner/name")
        return hub_commit(lora, revision)
    present = fingerprint(path) if path.is_dir() else file_fingerprint(path)
    if revision not in (None, present):
        raise ModelError(f"the LoRA {lora!r} has content {present!r}, not the revision {revision!r} that is asked for")
    return present


def resolve_checkpoint(checkpoint: str | None, revision: str | None = None) -> str | None:
    """The identity of a single-file checkpoint's content.

    Raises:
        ModelError: there is none, it is no safetensors file, or ``revision`` names another content than it has.
    """
    if checkpoint is None:
        return None
    path = Path(checkpoint).expanduser()
    if path.suffix != ".safetensors":
        raise ModelError(f"the checkpoint {checkpoint!r} is no .safetensors file; pickled ones can run any code")
    if not path.is_file():
        raise ModelError(f"there is no checkpoint {checkpoint!r}: give a .safetensors file on this machine")
    present = file_fingerprint(path)
    if revision not in (None, present):
        raise ModelError(f"the checkpoint {checkpoint!r} has content {present!r}, not {revision!r} that is asked for")
    return present
