import importlib.metadata
import sys
from pathlib import Path

import pytest

from diffumask_datasets import export, verify
from diffumask_datasets.errors import ExportError
from diffumask_datasets.exporters import formats
from diffumask_datasets.exporters.registry import BUILT_IN, GROUP
from tests.helpers.made_datasets import dataset, drawn

THIRD_PARTY = """
from dataclasses import dataclass

from diffumask_datasets.exporters import Check, Part

@dataclass(frozen=True)
class AreasExporter:
    unit: str = "pixels"
    layout = 1

    def open(self, contents):
        return self

    def write(self, sample):
        return Part({f"{sample.sample_id}.txt": str(sum(o.area for o in sample.objects)).encode()}, {"id": sample.sample_id})

    def close(self, records):
        for split, found in records.items():
            for record in found:
                yield f"{split}.txt", f"{record['id']} {self.unit}\\n".encode()

    def read(self, folder, contents):
        self_folder = folder
        class Reader:
            def checks(self):
                yield Check("listed", (self_folder / "train.txt").exists(), "")
            def compare(self, sample, tally):
                area = int((self_folder / f"{sample.sample_id}.txt").read_text())
                tally.add("areas", differing=int(area != sum(o.area for o in sample.objects)), compared=1)
        return Reader()
"""


def test_every_built_in_format_is_an_entry_point() -> None:
    points = importlib.metadata.distribution("diffumask-datasets").entry_points.select(group=GROUP)
    assert {point.name: point.value for point in points} == BUILT_IN
    assert set(BUILT_IN) <= set(formats())


def test_a_third_party_adds_a_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "areas_format.py").write_text(THIRD_PARTY)
    info = tmp_path / "areas_format-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: areas-format\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{GROUP}]\nareas = areas_format:AreasExporter\nbroken = nowhere:Nothing\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "areas" in formats()
    source = dataset([drawn(0)])
    export(source, tmp_path / "out", format="areas", unit="px")
    assert (tmp_path / "out/made-0000.txt").read_text() == "487"
    assert (tmp_path / "out/train.txt").read_text() == "made-0000 px\n"
    checks = list(verify(tmp_path / "out", source=source))
    assert [check.passed for check in checks] == [True] * 6
    with pytest.raises(ExportError, match=r"the format 'broken' \(nowhere:Nothing\) cannot be loaded: No module named"):
        export(source, tmp_path / "other", format="broken")
    sys.modules.pop("areas_format")
