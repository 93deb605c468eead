"""The same dataset without the registered name: the builder's public methods and nothing of datasets' inside."""

from __future__ import annotations

from typing import Any

import datasets

from diffumask_datasets.builders.diffumask import DiffuMask

__all__ = ["load_dataset"]


def load_dataset(
    name: str = "default",
    *,
    split: str | None = None,
    streaming: bool = False,
    num_proc: int | None = None,
    cache_dir: str | None = None,
    **fields: Any,
) -> Any:
    """What ``datasets.load_dataset("diffumask", name, …)`` gives, for a version of datasets that cannot be hooked.

    ``fields`` are those of :class:`~diffumask_datasets.Recipe` and of the builder's config. Without ``split``, a dict of
    all splits.

    Raises:
        RecipeError: an unknown field or an illegal value.
    """
    builder = DiffuMask(cache_dir=cache_dir, config_name=name, **fields)
    if streaming:
        return builder.as_streaming_dataset(split=split)
    builder.download_and_prepare(num_proc=num_proc)
    wanted = datasets.Split(split) if split in builder.info.splits else split
    return builder.as_dataset(split=wanted)
