"""``diffumask train`` and ``diffumask evaluate`` as a user types them, in this process: loading torch anew costs seconds."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from diffumask_datasets.cli import main
from tests.segmentation.conftest import TINY

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def diffumask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs the command line in ``tmp_path``: exit status, what it printed, what it complained of."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["diffumask", *arguments])
        capsys.readouterr()  # what a fixture has said
        with pytest.raises(SystemExit) as end:
            main()
        status = end.value.code if isinstance(end.value.code, int) else 0
        return (status, *capsys.readouterr())

    return run


def tiny_options() -> list[str]:
    options = ["--steps", "2", "--batch-size", "2"]
    return [*options, "--set", f"model_options={json.dumps(TINY['model_options'])}"]


def test_train_then_evaluate(diffumask: Command, shapes_folder: Path, tmp_path: Path) -> None:
    status, printed, complaints = diffumask("train", "shapes", "--output", "model", *tiny_options())
    assert (status, printed) == (0, "wrote model\n"), complaints
    written = yaml.safe_load((tmp_path / "model" / "training.yaml").read_text())
    assert (written["steps"], written["sources"][0]["dataset"]) == (2, "shapes")
    command = ["evaluate", "model", "shapes", "--benchmark", "dataset", "--split", "train", "--output", "scores"]
    status, printed, complaints = diffumask(*command, "--map", "boat=background")
    assert status == 0, complaints
    assert [line.split()[0] for line in printed.splitlines()[1:]] == ["background", "car", "mean", "without", "pixel"]
    scores = json.loads((tmp_path / "scores" / "scores.json").read_text())
    assert (scores["images"], scores["as_background"]) == (8, ["boat"])


def test_an_experiment_file(diffumask: Command, shapes_folder: Path, tmp_path: Path) -> None:
    experiment = {
        "name": "two sources",
        "train": {
            **TINY,
            "steps": 1,
            "sources": [{"dataset": "shapes", "limit": 4}, {"dataset": "shapes", "first": 4, "weight": 0.5}],
        },
        "evaluate": {"benchmark": "dataset", "root": "shapes", "split": "train", "unseen": ["boat"]},
    }
    (tmp_path / "experiment.yaml").write_text(yaml.safe_dump(experiment))
    given = ["--seed", "7", "--augment", "splice:2x2", "--augment", "{kind: blur, kernel: [2, 5]}"]
    status, _, complaints = diffumask("train", "--config", "experiment.yaml", "--output", "model", *given)
    assert status == 0, complaints
    written = yaml.safe_load((tmp_path / "model" / "training.yaml").read_text())
    assert (written["seed"], [step["kind"] for step in written["augment"]]) == (7, ["splice", "blur"])
    status, printed, complaints = diffumask("evaluate", "model", "--config", "experiment.yaml")
    assert status == 0, complaints
    assert printed.splitlines()[-1].startswith("seen ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train"], "error: sources: name at least one dataset to train on, e.g. out/ds"),
        (
            ["train", "none"],
            "error: there is no dataset 'none': give a folder, a URL, or a dataset of the Hub as owner/name",
        ),
        (["train", "shapes", "--weight", "1", "--weight", "2"], "error: --weight: expected one for each of 1 datasets"),
        (["train", "shapes", "--model", "segformr-small"], "error: no model 'segformr-small' (did you mean 'segf"),
        (["train", "shapes", "--steps", "0"], "error: steps: Input should be greater than 0"),
        (["train", "shapes", "--set", "stepps=3"], "error: unknown field 'stepps' (did you mean 'steps'?)"),
        (["train", "voc=shapes"], "error: no shapes/ImageSets/Segmentation/train.txt: the voc layout needs it"),
        (["train", "none.yaml"], "error: cannot read the recipe none.yaml"),
        (["train", "--config", "none.yaml"], "error: cannot read the experiment none.yaml"),
        (["train", "shapes", "--device", "gpu"], "error: unknown device 'gpu'"),
        (["train", "shapes", "--augment", "splice:9x9"], "error: augment.0.splice.grid: Input should be '1x2'"),
        (["evaluate", "none", "shapes", "--config", "half.yaml"], "error: half.yaml: evaluate: expected fields like"),
        (["evaluate", "none", "shapes", "--benchmark", "dataset", "--split", "train"], "error: no model 'none'"),
        (
            ["evaluate", "none", "shapes", "--benchmark", "coco"],
            "error: benchmark: Input should be 'voc', 'cityscapes'",
        ),
        (["evaluate", "none", "--benchmark", "voc"], "error: root: Field required"),
        (["evaluate", "none", "shapes", "--benchmark", "cityscapes"], "error: no shapes/gtFine/val: the cityscapes"),
        (
            ["evaluate", "none", "shapes", "--benchmark", "dataset", "--map", "car"],
            "error: --map 'car': expected CLASS=N",
        ),
    ],
)
@pytest.mark.usefixtures("local_hub")  # one that does not answer is asked for half a minute
def test_bad_input_is_one_line(
    diffumask: Command, shapes_folder: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    (tmp_path / "half.yaml").write_text("train: {}\nevaluate:")
    status, _, complaints = diffumask(*arguments, *(["--output", "out"] if arguments[0] == "train" else []))
    assert status == 1
    # Reading a dataset shows its progress before.
    assert complaints.splitlines()[-1].startswith(message)
    assert "Traceback" not in complaints
    assert not (tmp_path / "out").exists()
