"""Worker processes of exports: they may be forked or spawned."""

import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from diffumask_datasets import export
from diffumask_datasets.exporters import encoding, formats
from diffumask_datasets.exporters.contents import Contents
from diffumask_datasets.exporters.registry import make_exporter
from tests.helpers.made_datasets import CLASSES, dataset, drawn, tree


def test_workers_may_be_spawned_as_on_windows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    three = dataset([drawn(number) for number in range(3)])
    spawned = partial(ProcessPoolExecutor, mp_context=multiprocessing.get_context("spawn"))
    monkeypatch.setattr(encoding, "ProcessPoolExecutor", spawned)
    export(three, tmp_path / "two", format="imagefolder", workers=2)
    export(three, tmp_path / "one", format="imagefolder")
    assert tree(tmp_path / "two") == tree(tmp_path / "one")


@pytest.mark.parametrize("name", formats())
def test_what_a_worker_is_given_can_be_sent_to_another_process(name: str) -> None:
    options = {"labels": "own"} if name == "cityscapes" else {}
    writer = make_exporter(name, options).open(Contents(CLASSES, ("train",)))
    encoder = encoding.Encoder(writer, Path("out"), len(CLASSES))
    assert pickle.loads(pickle.dumps(encoder)).output == Path("out")
