import sys
from pathlib import Path

import pytest

from diffumask_datasets import export, verify
from diffumask_datasets.errors import ExportError
from diffumask_datasets.exporters import formats
from diffumask_datasets.exporters.registry import BUILT_IN, GROUP, make_exporter
from tests.helpers.made_datasets import dataset, drawn
from tests.helpers.plugins import contributed, offer


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_every_built_in_format_can_be_made(name: str) -> None:
    assert name in formats()
    assert make_exporter(name, {}).layout >= 1


def test_a_package_adds_the_format_of_the_contributing_guide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    points, modules = contributed()
    offer(
        tmp_path / "site",
        monkeypatch,
        points=points.replace(f"[{GROUP}]", f"[{GROUP}]\nbroken = nowhere:Nothing"),
        **modules,
    )
    assert "areas" in formats()
    source = dataset([drawn(0)])
    export(source, tmp_path / "out", format="areas", unit="px")
    assert (tmp_path / "out/made-0000.txt").read_text() == "487"
    assert (tmp_path / "out/train.txt").read_text() == "made-0000 px\n"
    checks = list(verify(tmp_path / "out", source=source))
    assert [check.passed for check in checks] == [True] * 6
    with pytest.raises(ExportError, match=r"the format 'broken' \(nowhere:Nothing\) cannot be loaded: No module named"):
        export(source, tmp_path / "other", format="broken")
    sys.modules.pop("my_formats")
