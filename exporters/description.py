"""A sample as plain JSON: everything a row holds but its pictures."""

from __future__ import annotations

import json
from typing import Any

from diffumask_datasets.dataset.schema import REQUIRED, features_of
from diffumask_datasets.errors import ExportError
from diffumask_datasets.exporters.contents import ExportSample

__all__ = ["described", "json_text"]

OURS = frozenset(features_of(("class",), heat_maps=True, threshold_curve=True, opinions=True))


def described(sample: ExportSample) -> dict[str, Any]:
    """Id, objects (RLE and all) as columns hold them, and whatever tells how the sample was made.

    Raises:
        ExportError: a column of the dataset's own that JSON has no form for.
    """
    rest = {name: cell for name, cell in sample.row.items() if name not in REQUIRED}
    for name in rest.keys() - OURS:
        json_text({name: rest[name]})
    return {"sample_id": sample.sample_id, "objects": sample.row["objects"], **rest}


def json_text(value: Any) -> str:
    """One line of JSON.

    Raises:
        ExportError: something in it that JSON has no form for.
    """
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ExportError(f"a column cannot be written as JSON: {error}; leave it out with remove_columns") from error
