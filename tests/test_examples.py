import subprocess
import sys
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parent.parent


def test_quickstart(tmp_path: Path) -> None:
    """The whole way with the shipped model: what ``make demo`` runs."""
    command = [sys.executable, str(ROOT / "examples" / "quickstart.py"), "--output", "demo", "--num-samples", "4"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("4 samples with the columns sample_id, image, label, objects,")
    assert "first of the stream: 'a photo of a " in done.stdout
    assert Image.open(tmp_path / "demo" / "preview.png").size[0] > 1000
