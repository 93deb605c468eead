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
    """Does what ``datasets.load_dataset("diffumask", name, …)`` does, with a version of datasets that cannot be hooked.

    Args:
        name: The config: ``default``, ``instance``, ``detection``, ``panoptic`` or ``toybox-rendered``.
        split: The split to return; default: a dict of all splits.
        streaming: Return a stream, whose samples are generated as they are read.
        num_proc: Processes that generate.
        cache_dir: The cache of datasets.
        **fields: Those of :class:`~diffumask_datasets.generation.config.DiffuMaskConfig`.

    Returns:
        A ``Dataset`` or ``IterableDataset``, or a dict of them.

    Raises:
        RecipeError: An unknown field or an illegal value.
    """
    builder = DiffuMask(cache_dir=cache_dir, config_name=name, **fields)
    if streaming:
        return builder.as_streaming_dataset(split=split)
    builder.download_and_prepare(num_proc=num_proc)
    wanted = datasets.Split(split) if split in builder.info.splits else split
    return builder.as_dataset(split=wanted)
