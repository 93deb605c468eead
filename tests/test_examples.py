import os
import subprocess
import sys
from pathlib import Path

from PIL import Image

from diffumask_datasets.exporters import formats
from tests.helpers.hub_server import GOOD_TOKEN, LocalHub

ROOT = Path(__file__).parent.parent


def test_quickstart(tmp_path: Path) -> None:
    """The whole way with the shipped model: what ``make demo`` runs."""
    command = [sys.executable, str(ROOT / "examples" / "quickstart.py"), "--output", "demo", "--num-samples", "4"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("4 samples with the columns sample_id, image, label, objects,")
    assert "first of the stream: 'a picture of a mushroom on sand'" in done.stdout
    for name in ("coco", "voc"):
        assert f"demo-{name}: read back and compared with the dataset, " in done.stdout
        assert (tmp_path / f"demo-{name}" / "diffumask-export.json").exists()
    assert Image.open(tmp_path / "demo" / "preview.png").size[0] > 1000


def test_push_to_hub(local_hub: LocalHub, tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "examples" / "push_to_hub.py"), "me/boats", "--folder", "boats"]
    environment = {**os.environ, "HF_TOKEN": GOOD_TOKEN, "HF_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        [*command, "--num-samples", "4", "--model", "planted"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "loaded 4 samples with the columns sample_id, image, label, objects," in done.stdout
    assert "4 of 4 masks are the same when made again from the recipe" in done.stdout
    assert "README.md" in local_hub.state.repos["me/boats"].files


def test_export_all_formats(tmp_path: Path) -> None:
    script = str(ROOT / "examples" / "export_all_formats.py")
    command = [sys.executable, script, "--output", "out", "--num-samples", "4", "--model", "planted"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(formats())
    assert all(line.endswith("every check passed") for line in lines), done.stdout
