"""Which devices there are, and which of them each worker generates on."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys

__all__ = ["MOST_IMAGES", "devices_of", "gpu_count", "gpu_names", "mask_workers_of"]

MASK_WORKERS_OF_A_GPU = 2

MOST_IMAGES = 64
"""In a batch; a GPU is busy by then, and the rows of a batch that nobody wants cost as much as the others."""

DRIVER_FILES = ("/dev/nvidiactl", "/dev/nvmap", "/dev/kfd", "/dev/dxg")
"""One of them is there where a driver is loaded: NVIDIA's, that of its Jetson boards, AMD's, and either under WSL."""


def devices_of(device: str | None, workers: int) -> list[str | None]:
    """A device for each worker: the GPUs in turn where there are some and ``device`` names none of them, else ``device``."""
    gpus = gpu_count() if device in (None, "cuda") else 0
    return [f"cuda:{number % gpus}" if gpus else device for number in range(workers)]


def mask_workers_of(device: str | None, wanted: int | None) -> int:
    """Mask workers for one image generator: ``wanted``, else 2 on a GPU and none on the CPU, where they would compete."""
    if wanted is not None:
        return wanted
    on_gpu = gpu_count() > 0 if device is None else device.startswith(("cuda", "mps"))
    return MASK_WORKERS_OF_A_GPU if on_gpu else 0


def gpu_count() -> int:
    """CUDA devices of this machine, without taking one."""
    if not _has_driver():
        return 0
    import torch

    return torch.cuda.device_count()


def _has_driver() -> bool:
    """Whether there may be a device that torch calls CUDA; importing torch to be told of none takes seconds."""
    if sys.platform == "darwin":
        return False
    return sys.platform != "linux" or any(map(os.path.exists, DRIVER_FILES))


def gpu_names() -> list[str]:
    """The GPUs of this machine and which of them are visible, without taking one; its name where the driver lists none."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return [platform.node()]
    command = [program, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    listed = subprocess.run(command, capture_output=True, text=True, check=False)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "all")
    return [*sorted(listed.stdout.splitlines()), visible] if listed.returncode == 0 else [platform.node()]
