"""A sample as plain JSON: everything a row holds but its pictures."""

from __future__ import annotations

import json
from typing import Any

from diffumask_datasets.columns import REQUIRED
from diffumask_datasets.exporters.contents import ExportSample

__all__ = ["described", "json_text"]


def described(sample: ExportSample) -> dict[str, Any]:
    """Id, objects (RLE and all) as columns hold them, and whatever tells how the sample was made."""
    rest = {name: cell for name, cell in sample.row.items() if name not in REQUIRED}
    return {"sample_id": sample.sample_id, "objects": sample.row["objects"], **rest}


def json_text(value: Any) -> str:
    """One line of JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
