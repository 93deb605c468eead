"""The shipped model through the builder: what the planted double cannot show."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Image, load_dataset

from diffumask_datasets.errors import CaptureError, RecipeError, TokenAlignmentError

FIELDS: dict[str, Any] = {
    "classes": ["car", "mushroom"],
    "num_samples": 4,
    "num_inference_steps": 3,
    "attention_timesteps": (0, 1000),
    "split": "train",
}


def load(folder: Path, **how: Any) -> Any:
    return load_dataset(
        "diffumask", store=str(folder / "store"), cache_dir=str(folder / "datasets"), **{**FIELDS, **how}
    )


def content(dataset: Any) -> list[tuple[str, bytes, bytes]]:
    raw = dataset.cast_column("image", Image(decode=False)).cast_column("label", Image(decode=False))
    return [(row["sample_id"], row["image"]["bytes"], row["label"]["bytes"]) for row in raw]


def test_shards_processes_and_threads_leave_every_byte(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        plain = content(load(tmp_path / "plain", batch_size=2))
        # The parent has painted by now: forked workers must neither hang nor differ.
        assert content(load(tmp_path / "workers", batch_size=2, num_proc=2)) == plain
        torch.set_num_threads(1)
        assert content(load(tmp_path / "odd", batch_size=2, num_shards=3)) == plain
    finally:
        torch.set_num_threads(threads)


def test_masks_hardly_depend_on_the_batch_size(tmp_path: Path) -> None:
    one, four = (load(tmp_path / str(size), batch_size=size) for size in (1, 4))
    for mine, theirs in zip(one, four, strict=True):
        assert np.mean(np.asarray(mine["label"]) != np.asarray(theirs["label"])) < 0.005


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"height": 100},
            RecipeError,
            "height 100 cannot be painted by this model: it takes multiples of 32; the nearest is 96",
        ),
        ({"attention_grids": [64]}, CaptureError, r"no cross-attention layer has a grid of attention_grids \[64\]"),
        ({"attention_timesteps": [1, 2]}, RecipeError, r"attention_timesteps \[1, 2\] holds none of the 3 timesteps"),
        ({"prompts": ["very " * 40 + "{classes}"]}, TokenAlignmentError, "is truncated away"),
        ({"device": "toaster"}, ValueError, "unknown device 'toaster'"),
    ],
)
def test_what_this_model_cannot_do(
    tmp_path: Path, change: dict[str, Any], error: type[Exception], message: str
) -> None:
    stream = load(tmp_path, streaming=True, **change)
    with pytest.raises(error, match=message):
        next(iter(stream))
    assert not list(tmp_path.rglob("*.sample"))


def test_a_caption_too_long_is_refused_before_anything_is_painted(tmp_path: Path) -> None:
    captions = [f"a {name} in place {number}" for name in FIELDS["classes"] for number in range(50)]
    path = tmp_path / "captions.txt"
    path.write_text("\n".join([*captions, "very " * 40 + "red car"]))
    stream = load(tmp_path, streaming=True, prompt_source={"kind": "captions", "path": str(path)})
    with pytest.raises(TokenAlignmentError, match=r"class term 'car' is truncated away: the prompt 'very very"):
        next(iter(stream))
    assert not list(tmp_path.rglob("*.sample"))
