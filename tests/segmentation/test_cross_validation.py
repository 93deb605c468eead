"""What noise learning calls: train on some rows, look at others, the same twice."""

from pathlib import Path

import numpy as np
import pytest
from transformers import Trainer

from diffumask_datasets.segmentation.cross_validation import train_and_predict
from tests.segmentation.conftest import TINY, shapes


def test_they_come_in_the_order_asked_and_the_model_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = shapes(6)

    def predict(order: list[int]) -> list[np.ndarray]:
        return list(train_and_predict(rows, train_on=[0, 1, 2, 3], predict_on=order, folder=tmp_path / "fold", **TINY))

    first = predict([4, 5])
    assert [(found.shape, found.dtype) for found in first] == [((3, 64, 64), np.float32)] * 2
    np.testing.assert_allclose([found.sum(axis=0) for found in first], 1, atol=1e-5)
    monkeypatch.setattr(Trainer, "train", None)
    np.testing.assert_array_equal(predict([5, 4]), first[::-1])
