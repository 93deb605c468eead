"""Folds in other processes and here: the same judgement, and processes only where they pay."""

import logging
import pickle
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diffumask_datasets.curation import folds
from diffumask_datasets.generation.workers import Inline
from tests.segmentation.conftest import TINY, shapes

TRAINING: dict[str, Any] = {**TINY, "height": 64, "width": 64, "steps": 2}


def test_another_process_judges_a_fold_as_this_one_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[int] = []

    def judged(name: str) -> bytes:
        with closing(folds.fold_executor(shapes(6), np.array([0, 1] * 3), tmp_path / name, TRAINING)) as executor:
            return pickle.dumps(executor.submit(1, heard.append).result())

    here = judged("here")
    monkeypatch.setattr(folds, "WORTH_A_PROCESS", 0)
    monkeypatch.setattr(folds, "cores", lambda: 2)
    with caplog.at_level(logging.INFO):
        assert judged("elsewhere") == here
    assert caplog.messages == ["2 folds are trained by 2 processes, on 2 cores"]
    assert heard == [1, 1]


@pytest.mark.parametrize(
    ("cores", "free", "changes"),
    [(1, 100, {}), (8, 1, {}), (8, 100, {"steps": 10}), (8, 100, {"model": "./large"})],
    ids=["one core", "memory for one", "few steps", "a large model"],
)
def test_one_process_where_others_do_not_pay(
    cores: int, free: int, changes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folds, "cores", lambda: cores)
    monkeypatch.setattr(folds, "free_memory", lambda: free * 10**9)
    training = {**TRAINING, "steps": 10_000, **changes}
    assert isinstance(folds.fold_executor(shapes(4), np.array([0, 1, 0, 1]), tmp_path, training), Inline)
