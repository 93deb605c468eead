"""Folds in several processes and here: the same judgement, and processes only where they pay."""

import logging
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diffumask_datasets.curation import folds
from diffumask_datasets.curation.noise import cross_validated_agreements
from diffumask_datasets.generation.workers import Inline
from tests.segmentation.conftest import TINY, shapes

TRAINING: dict[str, Any] = {**TINY, "height": 64, "width": 64, "steps": 2}


def test_two_processes_judge_as_one_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rows = shapes(6)
    heard: list[int] = []

    def agreements(name: str) -> bytes:
        found = cross_validated_agreements(rows, folds=2, folder=tmp_path / name, progress=heard.append, **TRAINING)
        return pickle.dumps(found)

    here = agreements("here")
    monkeypatch.setattr(folds, "WORTH_A_PROCESS", 0)
    monkeypatch.setattr(folds, "cores", lambda: 2)
    with caplog.at_level(logging.INFO):
        assert agreements("in processes") == here
    assert caplog.messages == ["2 folds are trained by 2 processes, on 2 cores"]
    assert heard == [1, 2, 1, 2]


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
