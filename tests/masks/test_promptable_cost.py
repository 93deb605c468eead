"""What a segmenter costs without a GPU is told before it starts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from diffumask_datasets.errors import ModelError
from diffumask_datasets.masks import promptable_cost
from diffumask_datasets.masks.promptable_cost import tell_concept_cost
from tests.helpers.segmenters import save_tiny_concept_segmenter, save_tiny_segmenter


def test_a_slow_segmenter_is_told_of_before_it_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    place = str(save_tiny_segmenter("sam2", tmp_path))
    promptable_cost.tell_cost(place)
    assert caplog.text == ""
    operations = promptable_cost.encoding_operations(place, "sam2")
    assert 1e6 < operations < 1e8
    monkeypatch.setattr(promptable_cost, "_operations_a_second", lambda: operations / 20)
    promptable_cost.tell_cost(place)
    assert caplog.messages == [
        f"{place} takes about 20 s an image on one core of this machine, and there is no GPU; "
        "a smaller one is 'facebook/sam2.1-hiera-tiny'"
    ]


def test_a_slow_sam_3_is_told_of_before_it_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(promptable_cost, "_operations_a_second", lambda: 1e12)
    place = str(save_tiny_concept_segmenter(tmp_path))
    tell_concept_cost(place, remedy="take another")
    assert caplog.text == ""
    monkeypatch.setattr(promptable_cost, "_operations_a_second", lambda: 1e5)
    tell_concept_cost(place, remedy="take another")
    (told,) = caplog.messages
    assert told.startswith(f"{place} takes about ")
    assert told.endswith(" s for each class looked for on one core of this machine, and there is no GPU; take another")
    caplog.clear()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    tell_concept_cost(place, remedy="take another")
    assert caplog.text == ""


def test_what_takes_no_names_is_refused_before_it_starts(tmp_path: Path) -> None:
    place = str(save_tiny_segmenter("sam2", tmp_path))
    with pytest.raises(
        ModelError, match=r"\(model_type 'sam2'\) finds nothing by its name; give a checkpoint of SAM 3"
    ):
        tell_concept_cost(place, remedy="take another")


def test_what_a_network_lacks_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "edgetam"}), encoding="utf-8")
    with pytest.raises(ModelError, match=r"the promptable segmenter '.*' cannot be loaded: .*timm"):
        promptable_cost.encoding_operations(str(tmp_path), "edgetam")
