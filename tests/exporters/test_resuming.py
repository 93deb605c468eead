"""An export that was interrupted goes on, and takes no folder of another."""

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diffumask_datasets import export, verify
from diffumask_datasets.dataset.schema import png_cell
from diffumask_datasets.errors import ExportError
from tests.exporters.test_run import ROOT, passed
from tests.helpers.made_datasets import dataset, drawn, tree
from tests.helpers.waiting import wait_until


def test_the_bytes_do_not_depend_on_run_or_workers(tmp_path: Path) -> None:
    source = dataset([drawn(number) for number in range(11)])
    for name, workers in (("one", 1), ("two", 2), ("again", 2)):
        export(source, tmp_path / name, format="coco", workers=workers)
    assert tree(tmp_path / "one") == tree(tmp_path / "two") == tree(tmp_path / "again")


def test_a_finished_export_is_not_done_again(three: Any, tmp_path: Path) -> None:
    first = export(three, tmp_path / "coco", format="coco")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "coco").rglob("*")}
    assert export(three, tmp_path / "coco", format="coco") == first
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "coco").rglob("*")} == before


def test_it_goes_on_where_it_stopped(tmp_path: Path) -> None:
    rows = [drawn(number) for number in range(6)]
    whole = dataset(rows)
    export(whole, tmp_path / "whole", format="voc")
    broken = dataset([*rows[:4], {**rows[4], "label": png_cell(np.zeros((3, 3), np.uint8))}, rows[5]])
    with pytest.raises(ExportError, match="made-0004: the image is 56x40"):
        export(broken, tmp_path / "voc", format="voc")
    assert not (tmp_path / "voc" / "diffumask-export.json").exists()
    first = tmp_path / "voc/VOCdevkit/VOC2012/JPEGImages/made-0000.jpg"
    third = first.with_name("made-0002.jpg")
    written = first.stat().st_mtime_ns
    third.write_bytes(b"torn")
    export(whole, tmp_path / "voc", format="voc")
    # What was whole is not written again; what was torn is.
    assert first.stat().st_mtime_ns == written
    assert tree(tmp_path / "voc") == tree(tmp_path / "whole")


SLOW_EXPORT = """
import sys, time
from diffumask_datasets import export
from diffumask_datasets.exporters.voc import writer
from tests.helpers.made_datasets import dataset, drawn

write = writer.VocWriter.write
def slow(self, sample):
    time.sleep(0.1)
    return write(self, sample)
writer.VocWriter.write = slow
try:
    export(dataset([drawn(number) for number in range(40)]), sys.argv[1], format="voc", workers=int(sys.argv[2]))
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.usefixtures("heeds_interrupts")
@pytest.mark.parametrize(("how", "workers"), [(signal.SIGINT, 1), (signal.SIGINT, 2), (signal.SIGKILL, 2)])
def test_an_end_at_any_instant_can_be_resumed(how: signal.Signals, workers: int, tmp_path: Path) -> None:
    source = dataset([drawn(number) for number in range(40)])
    target = tmp_path / "voc"
    command = [sys.executable, "-c", SLOW_EXPORT, str(target), str(workers)]
    process = subprocess.Popen(command, cwd=ROOT, start_new_session=True)
    journal = target / ".diffumask-export" / "train.jsonl"
    wait_until(
        lambda: process.poll() is not None or (journal.exists() and journal.read_bytes().count(b"\n") >= 3),
        "three samples are in the journal",
    )
    os.kill(process.pid, how)
    process.wait(timeout=60)
    assert process.returncode == (130 if how == signal.SIGINT else -signal.SIGKILL)
    assert not (target / "diffumask-export.json").exists()
    with pytest.raises(ExportError, match="voc is not finished: export again to go on"):
        list(verify(target))
    export(source, target, format="voc")
    export(source, tmp_path / "whole", format="voc")
    assert tree(target) == tree(tmp_path / "whole")


FULL_DISK = """
import resource, signal, sys
from diffumask_datasets import export
from tests.helpers.made_datasets import dataset, drawn

source = dataset([drawn(number) for number in range(3)] + [drawn(3, height=400, width=400)])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    export(source, sys.argv[1], format="coco", workers=int(sys.argv[2]))
except ValueError as error:
    print(error)
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_a_disk_that_takes_no_more_leaves_an_export_that_can_go_on(workers: int, tmp_path: Path) -> None:
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path / "coco"), str(workers)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.count("\n") == 1
    assert "made-0003.png: File too large; fix that and run the same export again" in done.stdout
    assert not list((tmp_path / "coco").rglob("made-0003.png"))
    source = dataset([drawn(number) for number in range(3)] + [drawn(3, height=400, width=400)])
    assert export(source, tmp_path / "coco", format="coco")["samples"] == {"train": 4}
    assert passed(tmp_path / "coco", source=source)


def test_a_foreign_folder_is_refused(three: Any, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_text("")
    with pytest.raises(ExportError, match="photos is not empty and not an export of ours"):
        export(three, tmp_path / "photos", format="coco")
    assert tree(tmp_path / "photos") == {"cat.jpg": b""}


@pytest.mark.parametrize("finished", [True, False])
def test_the_folder_of_another_export_is_refused(finished: bool, three: Any, tmp_path: Path) -> None:
    export(three, tmp_path / "out", format="coco")
    if not finished:
        manifest = json.loads((tmp_path / "out" / "diffumask-export.json").read_text())
        (tmp_path / "out" / "diffumask-export.json").unlink()
        (tmp_path / "out" / ".diffumask-export").mkdir()
        (tmp_path / "out" / ".diffumask-export" / "begun.json").write_text(json.dumps(manifest["export"]))
    with pytest.raises(ExportError, match="differs from this one in its format, options"):
        export(three, tmp_path / "out", format="voc")
    with pytest.raises(ExportError, match="differs from this one in its source"):
        export(three.select([0, 1]), tmp_path / "out", format="coco")
