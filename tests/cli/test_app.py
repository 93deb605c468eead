import errno
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from diffumask_datasets import __version__
from diffumask_datasets.cli import main
from tests.helpers.command import diffumask, diffumask_here
from tests.helpers.waiting import wait_until

PLANTED = ["--model", "planted", "--set", "height=48", "--set", "width=64", "--set", "refinement=null"]


def test_generate_then_again_from_the_recipe(tmp_path: Path) -> None:
    first = diffumask(
        "generate", "car", "potted plant", "--num-samples", "3", "--output", "ds", "--preview", *PLANTED, cwd=tmp_path
    )
    assert (first.returncode, first.stdout) == (0, "wrote ds; look at ds/preview.png\n")
    assert (tmp_path / "ds" / "preview.png").stat().st_size > 1000
    again = diffumask_here("generate", "--config", "ds/recipe.yaml", "--output", "ds2", cwd=tmp_path)
    assert again.returncode == 0
    name = "data/train-00000-of-00001.parquet"
    assert (tmp_path / "ds2" / name).read_bytes() == (tmp_path / "ds" / name).read_bytes()


def test_options_win_over_the_config(tmp_path: Path) -> None:
    fields = {"classes": ["car"], "model": "planted", "height": 48, "width": 64, "splits": {"train": 2}, "seed": 1}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(fields))
    command = ["generate", "boat", "--config", "recipe.yaml", "--num-samples", "3", "--output", "ds"]
    assert diffumask_here(*command, cwd=tmp_path).returncode == 0
    written = yaml.safe_load((tmp_path / "ds" / "recipe.yaml").read_text())
    assert (written["classes"], written["splits"], written["seed"]) == (["boat"], {"train": 3}, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["bot", "--num-samples", "2"],
            "error: the model 'toybox' cannot generate 'bot' (did you mean 'boat'?); it knows:",
        ),
        (["car", *PLANTED], "error: split 'train' has no size"),
        (["--num-samples", "2", *PLANTED], "error: classes: Field required"),
        (["car", "--num-samples", "-2", *PLANTED], "error: split 'train': expected a number of samples from 1 to"),
        (["car", "--num-samples", "2", "--set", "hight=3"], "error: unknown field 'hight' (did you mean 'height'?)"),
        (["car", "--num-samples", "2", "--set", "splits={train: 2}"], "error: give num_samples or splits, not both"),
        (["car", "--num-samples", "2", "--set", "height"], "error: --set 'height': expected FIELD=VALUE"),
        (["car", "--num-samples", "2", "--prompt", "grass"], "error: the prompt 'grass' names none of the classes"),
        (["car", "--num-samples", "2", "--config", "none.yaml"], "error: cannot read the recipe none.yaml"),
        (["car", "--num-samples", "2", "--model", "."], "error: the folder '.' is not a diffusers pipeline"),
        (
            ["car", "--num-samples", "2", "--batch-size", "0", *PLANTED],
            "error: batch_size: expected a number from 1 up",
        ),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(tmp_path: Path, arguments: list[str], message: str) -> None:
    done = diffumask_here("generate", *arguments, "--output", "ds", cwd=tmp_path)
    assert done.returncode == 1
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "ds").exists()


def test_a_number_of_workers_is_auto_or_from_1_up(tmp_path: Path) -> None:
    command = ["generate", "car", "--num-samples", "1", "--output", "ds", *PLANTED, "--workers"]
    for wrong in ("0", "-1", "two"):
        done = diffumask_here(*command, wrong, cwd=tmp_path)
        assert done.returncode == 2
        assert f"expected auto or a number from 1 up, got {wrong}" in " ".join(done.stderr.split())
    assert diffumask_here(*command, "auto", cwd=tmp_path).returncode == 0


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    wrong = ["generate", "bot", "--num-samples", "2", "--output", "ds"]
    done = diffumask(*wrong, cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)  # no library that is loaded says a word
    done = diffumask("--debug", *wrong, cwd=tmp_path)
    assert done.returncode != 0
    assert "Traceback" in done.stderr


@pytest.mark.usefixtures("heeds_interrupts")
def test_ctrl_c_says_that_nothing_is_lost(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "diffumask_datasets", "generate", "car", "--num-samples", "500", "--output", "ds"]
    environment = {**os.environ, "DIFFUMASK_PLANTED_SECONDS": "0.2"}
    process = subprocess.Popen([*command, *PLANTED], stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=environment)
    wait_until(lambda: list(tmp_path.rglob("*.sample")) or process.poll() is not None, "the first sample is stored")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted; finished samples are kept" in errors
    assert not (tmp_path / "ds").exists()
    assert diffumask_here(*command[3:-3], "2", "--output", "ds", *PLANTED, cwd=tmp_path).returncode == 0
    assert pq.read_table(tmp_path / "ds" / "data").num_rows == 2


def test_export_then_verify(tmp_path: Path) -> None:
    diffumask_here("generate", "car", "--num-samples", "2", "--output", "ds", *PLANTED, cwd=tmp_path)
    (tmp_path / "options.yaml").write_text("ids: official\nring: 1\n")
    command = ["export", "ds", "--format", "voc", "--output", "voc", "--config", "options.yaml", "--option", "ring=0"]
    done = diffumask_here(*command, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "wrote voc: 2 samples as voc\n")
    checked = diffumask_here("verify", "voc", "--format", "voc", "--source", "ds", cwd=tmp_path)
    assert checked.returncode == 0
    assert {line.split()[0] for line in checked.stdout.splitlines()} == {"ok"}
    assert "ok   SegmentationClass pixels: 0 of 6144 differ" in checked.stdout
    next((tmp_path / "voc").rglob("*.xml")).write_text("<annotation/>")
    changed = diffumask_here("verify", "voc", "--source", "ds", cwd=tmp_path)
    assert changed.returncode == 1
    assert "FAIL object counts: 1 of 2 differ" in changed.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["prompts", "vocs"], "error: unknown vocabulary 'vocs' (did you mean 'voc'?)"),
        (["prompts", "car", "--split", "trian"], "error: unknown split 'trian' (did you mean 'train'?)"),
        (["prompts", "car", "--set", "prompt_source={kind: captions, path: no.txt}"], "error: no captions at 'no.txt'"),
        (["prompts", "car", "--set", "prompt_source={kind: captions, path: ''}"], "error: no captions at ''"),
        (["prompts", "car", "--set", "prompt_source={kind: language_model, model: ./no}"], "no text model './no'"),
        (["prompts", "car", "--set", "augment=3"], "error: augment: expected a list; legal: splice, "),
        (["prompts"], "error: classes: Field required"),
        (["augment", "nowhere", "--output", "out", "--augment", "blur"], "error: nowhere is no dataset folder"),
        (
            ["augment", "nowhere", "--output", "out", "--augment", "blurr"],
            "error: augment: 0: unknown kind 'blurr'; there are: 'splice', 'blur', ",
        ),
        (["augment", "nowhere", "--output", "out", "--augment", "{"], "error: --augment '{' is not plain YAML: "),
    ],
)
def test_bad_prompts_and_augmentations_are_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["diffumask", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    errors = capsys.readouterr().err
    assert ended.value.code == 1
    assert message in errors
    assert errors.count("\n") == 1


def test_augment_a_finished_dataset(tmp_path: Path) -> None:
    made = diffumask_here("generate", "car", "boat", "--num-samples", "3", "--output", "ds", *PLANTED, cwd=tmp_path)
    assert made.returncode == 0
    steps = ["--augment", "splice:2x2", "--augment", "{kind: blur, probability: 0.5}"]
    done = diffumask_here("augment", "ds", "--output", "out", *steps, "--originals", cwd=tmp_path)
    assert done.returncode == 0
    assert re.fullmatch(r"wrote out: \d\.\d objects and .* look partly hidden\n", done.stdout)
    assert pq.read_table(tmp_path / "out" / "data").num_rows == 6
    dense = ["--augment", "compose:4", "--sizes-of", "ds"]
    done = diffumask_here("augment", "ds", "--output", "dense", *dense, cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout.startswith("wrote dense: ")
    (step,) = yaml.safe_load((tmp_path / "dense" / "recipe.yaml").read_text())["augmented"]["augment"]
    assert step["objects"] == [4, 4]
    assert {name for name, *_ in step["sizes"]} <= {"car", "boat"}
    assert step["sizes"]
    again = diffumask_here("generate", "--config", "out/recipe.yaml", "--output", "again", cwd=tmp_path)
    assert (again.returncode, again.stderr.count("\n")) == (1, 1)
    assert "describes an augmented dataset: generate its source, then run diffumask augment on it" in again.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["export", "none", "--format", "coco"], "error: none is no dataset folder: expected data/*.parquet"),
        (["export", "none", "--format", "vox"], "error: unknown format 'vox' (did you mean 'voc'?)"),
        (["export", "none", "--format", "coco", "--option", "ids"], "error: --option 'ids': expected FIELD=VALUE"),
        (["export", "none", "--format", "coco", "--config", "no.yaml"], "error: cannot read the options no.yaml"),
    ],
)
def test_bad_exports_are_one_line_and_leave_nothing(tmp_path: Path, arguments: list[str], message: str) -> None:
    done = diffumask_here(*arguments, "--output", "out", cwd=tmp_path)
    assert done.returncode == 1
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_doctor_reports(tmp_path: Path) -> None:
    done = diffumask_here("doctor", cwd=tmp_path)
    lines = {line.split()[1]: line.split()[0] for line in done.stdout.splitlines()}
    assert lines["torch"] == lines["pydensecrf2"] == lines["registration"] == lines["toybox"] == "ok"
    assert done.returncode == 0


def test_doctor_fails_where_the_store_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DIFFUMASK_CACHE", str(tmp_path / "file"))
    done = diffumask_here("doctor", cwd=tmp_path)
    assert done.returncode == 1
    assert "cannot write the sample store" in done.stdout


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["generate"],
        ["prompts"],
        ["augment"],
        ["export"],
        ["verify"],
        ["doctor"],
        ["review"],
        ["push"],
        ["reproduce"],
    ],
)
def test_help(tmp_path: Path, command: list[str]) -> None:
    done = diffumask_here(*command, "--help", cwd=tmp_path)
    assert done.returncode == 0
    assert "--help" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["curate", "n" * 300, "--output", "out"], "error: cannot read nnn"),
        (["generate", "car", "--num-samples", "1", "--output", "n" * 300], "error: cannot read nnn"),
        (["generate", "car", "--recipe", "n" * 300, "--output", "out"], "error: cannot read nnn"),
        (["prompts", "car", "--config", "n" * 300], "error: cannot read the recipe nnn"),
        (["prompts", "caf\udce9"], "error: the argument 'caf\\udce9' is not text in the encoding of this terminal"),
        (["curate", "caf\udce9", "--output", "out"], "error: the argument 'caf\\udce9' is not text"),
        (
            ["prompts", "--set", r'classes=["a\u0001"]'],
            r"error: classes: 'a\x01' holds '\x01', which is no character of a text",
        ),
    ],
)
def test_names_that_no_file_system_or_encoding_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], line: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["diffumask", *arguments])
    with pytest.raises(SystemExit, match="1"):
        main()
    said = capsys.readouterr().err
    assert said.startswith(line)
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("code", "line"), [(errno.ENOSPC, "free some space, or set TMPDIR"), (errno.EACCES, "")])
def test_a_full_disk_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], code: int, line: str
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code), "/tmp/diffumask-reproduce-x")

    monkeypatch.setattr("tempfile.TemporaryDirectory", refused)
    (tmp_path / "recipe.yaml").write_text("classes: [car]\nmodel: planted", encoding="utf-8")
    command = ["reproduce", "0123456789ab-00000000", "--recipe", str(tmp_path / "recipe.yaml")]
    monkeypatch.setattr(sys, "argv", ["diffumask", *command])
    with pytest.raises(SystemExit, match="1"):
        main()
    said = capsys.readouterr().err
    assert said.startswith(f"error: {os.strerror(code)}: /tmp/diffumask-reproduce-x{line and '; ' + line}")
    assert said.count("\n") == 1


def test_a_terminal_of_ascii_shows_codes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}.items():
        monkeypatch.setenv(name, value)
    command = ["prompts", "--set", r'classes=["caf\u00e9"]', "--model", "planted", "--num", "1"]
    done = diffumask(*command, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout in ("a photo of a caf\\xe9\n", "a photo of a café\n")


def test_the_help_of_a_size_says_how_it_is_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["diffumask", "train", "--help"])
    with pytest.raises(SystemExit, match="0"):
        main()
    said = " ".join(capsys.readouterr().out.split())
    assert "--size HEIGHT WIDTH Size of the images the model sees, e.g. --size 512 512." in said


def test_version(tmp_path: Path) -> None:
    assert diffumask_here("--version", cwd=tmp_path).stdout == f"diffumask {__version__}\n"
