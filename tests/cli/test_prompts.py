"""The command that prints prompts."""

import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from diffumask_datasets.cli import main
from tests.cli.test_app import PLANTED
from tests.helpers.command import diffumask_here


def test_prompts_are_printed_and_no_model_is_loaded(tmp_path: Path) -> None:
    code = (
        "import sys; sys.argv = ['diffumask', 'prompts', 'voc', '--num', '20']\n"
        "from diffumask_datasets.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print('LOADED', *{'torch', 'diffusers', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True)
    *lines, loaded = done.stdout.splitlines()
    assert loaded.strip() == "LOADED"
    assert len(lines) == len(set(lines)) == 20
    again = diffumask_here("prompts", "voc", "--num", "3", cwd=tmp_path)
    assert again.stdout.splitlines() == lines[:3]


def test_prompts_are_in_the_styles_of_the_model(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def lines(*arguments: str) -> list[str]:
        monkeypatch.setattr(sys, "argv", ["diffumask", "prompts", "voc", "--num", "40", *arguments])
        with pytest.raises(SystemExit):
            main()
        return capsys.readouterr().out.splitlines()

    assert any(line.startswith("a wide-angle photo of") for line in lines("--model", "me/model"))
    assert {line.split()[1] for line in lines()} == {"photo", "picture", "image"}


def test_prompts_of_a_finished_dataset(tmp_path: Path) -> None:
    made = diffumask_here("generate", "car", "--num-samples", "2", "--output", "ds", *PLANTED, cwd=tmp_path)
    assert made.returncode == 0
    done = diffumask_here("prompts", "--config", "ds/recipe.yaml", "--num", "2", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == pq.read_table(tmp_path / "ds" / "data")["prompt"].to_pylist()


def test_prompts_of_a_caption_file_and_a_split(tmp_path: Path) -> None:
    (tmp_path / "captions.txt").write_text("\n".join(f"a car by wall {number}" for number in range(20)))
    source = "prompt_source={kind: captions, path: captions.txt}"
    train, validation = (
        diffumask_here("prompts", "car", "--num", "40", "--set", source, "--split", split, cwd=tmp_path)
        for split in ("train", "validation")
    )
    assert (train.returncode, train.stderr) == (0, "")
    assert len(train.stdout.splitlines()) == 40
    assert not set(train.stdout.splitlines()) & set(validation.stdout.splitlines())
