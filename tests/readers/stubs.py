"""Lets the foreign readers be imported: without compiled code, without a network, without a trace in the user's folders.

torchvision's wheel is linked against CUDA and knows its operators only where that can be loaded; mmcv-lite has no ``ops``.
No reader of datasets calls either.
"""

from __future__ import annotations

import os
import sys
import tempfile
import types

import torch

__all__ = ["install"]

_LIBRARY: list[torch.library.Library] = []


class _Operators(types.ModuleType):
    """``mmcv.ops``: every name is a class that does nothing."""

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (torch.nn.Module,), {})


def install() -> None:
    """Makes ``import torchvision`` and ``import mmseg`` work, and keeps ultralytics from downloading; once."""
    if _LIBRARY:
        return
    os.environ |= {"YOLO_CONFIG_DIR": tempfile.mkdtemp(), "YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false"}
    _LIBRARY.append(torch.library.Library("torchvision", "DEF"))
    for name in ("nms", "qnms"):
        _LIBRARY[0].define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    sys.modules["mmcv.ops"] = _Operators("mmcv.ops")
