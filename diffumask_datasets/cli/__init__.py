"""The command ``diffumask``: nothing but options and messages."""

from __future__ import annotations

from diffumask_datasets.cli.app import app, main

__all__ = ["app", "main"]
