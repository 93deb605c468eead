"""Every command that reads or writes a dataset does so wherever it is, and keeps all that it holds."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import load_dataset
from PIL import Image

from diffumask_datasets import export, generate, push
from diffumask_datasets.dataset.atomic import upload
from diffumask_datasets.dataset.reader import open_dataset
from diffumask_datasets.dataset.schema import HEAT_MAPS, THRESHOLD_CURVE
from diffumask_datasets.dataset.storage import dataset_location, fetched, list_files, name_of
from diffumask_datasets.errors import ExportError
from diffumask_datasets.segmentation.settings import Source
from diffumask_datasets.segmentation.sources import open_source
from tests.conftest import PLANTED
from tests.diffusion.conftest import pipeline_folder  # noqa: F401
from tests.helpers.command import diffumask_here
from tests.helpers.hub_content import Repo
from tests.helpers.hub_server import GOOD_TOKEN, LocalHub

WHERE = ("folder", "s3", "hub")
REJECTED = "rejected by hand"


@dataclass(frozen=True)
class Place:
    """A place for datasets, and how they are put there."""

    where: str
    root: str
    tmp: Path
    hub: LocalHub

    def put(self, folder: Path, name: str) -> str:
        """Copies a folder; gives what a user types to name it."""
        if self.where == "folder":
            shutil.copytree(folder, self.tmp / name)
        elif self.where == "s3":
            upload(folder, f"{self.root}/{name}", last="recipe.yaml")
        else:
            files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.*")}
            self.hub.state.repos[f"me/{name}"] = Repo(files)
        return {"folder": name, "s3": f"{self.root}/{name}", "hub": f"me/{name}"}[self.where]

    def output(self, name: str) -> str:
        """Where a command writes: into the bucket where its source is there, else into a folder."""
        return f"{self.root}/{name}" if self.where == "s3" else name


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset with every optional column, another view than the default, and the decisions of a reviewer."""
    folder = tmp_path_factory.mktemp("walk")
    extent = {
        "splits": {"train": 4, "validation": 2},
        "skip": [1],
        "keep_heat_maps": True,
        "keep_threshold_curve": True,
    }
    generate(folder / "ds", view="instance", store=folder / "store", **extent, **PLANTED)
    (folder / "ds" / "decisions.jsonl").write_text(decisions(open_dataset(folder / "ds").split_of_ids()))
    return folder / "ds"


def decisions(ids: Any) -> str:
    first, *others = ids
    lines = [{"sample_id": first, "verdict": "rejected", "reason": REJECTED}]
    lines += [{"sample_id": sample_id, "verdict": "accepted"} for sample_id in others]
    return "".join(json.dumps(line) + "\n" for line in lines)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Runs a command in an empty folder; gives what it prints."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_TOKEN", GOOD_TOKEN)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def run(*words: str) -> str:
        done = diffumask_here(*words, cwd=tmp_path / "here")
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture(params=WHERE)
def place(request: pytest.FixtureRequest, tmp_path: Path, run: Any, local_hub: LocalHub) -> Place:
    root = request.getfixturevalue("bucket") if request.param == "s3" else ""
    return Place(request.param, root, tmp_path / "here", local_hub)


@pytest.fixture
def source(place: Place, made: Path) -> str:
    return place.put(made, "ds")


def held(dataset: str | Path) -> dict[str, Any]:
    """All that a dataset holds, and the names of what lies there."""
    opened = open_dataset(str(dataset))
    assert opened.optional == (HEAT_MAPS, THRESHOLD_CURVE)
    return {
        "rows": list(opened.rows()),
        "recipe": opened.recipe_fields,
        "view": opened.view,
        "decisions": opened.decisions,
        "names": sorted(name_of(path) for path in list_files(dataset_location(str(dataset)))),
    }


def nothing_else_is_here(*names: str) -> None:
    """Neither drafts nor a folder that is called ``s3:``."""
    assert {path.name for path in Path().iterdir()} <= {"ds", *names}


REWRITING: dict[str, tuple[str, list[int], list[str], int]] = {
    "remask --threshold 0.4": ("remask", [1], [], 6),
    "curate --folds 0 --min-quality 0.5": ("curate", [1], ["decisions.jsonl", "rejections.jsonl"], 6),
    "augment --augment blur --originals": ("augment", [], [], 12),
    "review --apply": ("review", [0, 1], ["decisions.jsonl"], 5),
    "review --refill": ("review", [0, 1], ["decisions.jsonl"], 6),
}
"""Command → its name, the indices that its recipe leaves out, what lies beside the data, and the number of rows."""


@pytest.mark.parametrize("command", sorted(REWRITING))
def test_a_dataset_that_is_made_of_another(
    command: str, place: Place, source: str, made: Path, run: Any, tmp_path: Path
) -> None:
    name, skip, beside, count = REWRITING[command]
    options = command.split()[1:] + (["--decisions", str(made / "decisions.jsonl")] if name == "review" else [])
    run(name, source, "--output", place.output("out"), *options)
    nothing_else_is_here("out")
    run(name, str(made), "--output", str(tmp_path / "expected"), *options)
    found = held(place.output("out"))
    assert found == held(tmp_path / "expected")
    assert (found["view"], found["recipe"].get("skip", []), len(found["rows"])) == ("instance", skip, count)
    assert found["names"] == sorted(["README.md", "data", "id2label.json", "instance", "recipe.yaml", *beside])
    assert found["decisions"] == (held(made)["decisions"] if beside else None)


def test_corrected_masks(place: Place, source: str, made: Path, run: Any, tmp_path: Path) -> None:
    run("export", str(made), "--format", "imagefolder", "--output", str(tmp_path / "edits"), "--workers", "1")
    path = next((tmp_path / "edits" / "validation" / "labels").iterdir())
    mask = Image.open(path)
    mask.paste(3, (0, 0, 7, 5))
    mask.save(path)
    edits = str(tmp_path / "edits")
    if place.where == "s3":
        upload(tmp_path / "edits", f"{place.root}/edits", last="diffumask-export.json")
        edits = f"{place.root}/edits"
    printed = run("correct", source, "--from", edits, "--format", "imagefolder", "--output", place.output("out"))
    assert printed == f"wrote {place.output('out')}: 1 corrected, 5 came back unchanged, 0 not in {edits}\n"
    nothing_else_is_here("out")
    found, before = held(place.output("out")), held(made)
    assert (found["recipe"], found["view"]) == (before["recipe"], "instance")
    assert found["names"] == sorted([*before["names"]])
    changed = [
        number for number, rows in enumerate(zip(found["rows"], before["rows"], strict=True)) if rows[0] != rows[1]
    ]
    assert [found["rows"][number][1]["sample_id"] for number in changed] == [path.stem]
    assert found["decisions"][path.stem].tags == ("corrected",)
    assert {**found["decisions"], path.stem: None} == {**before["decisions"], path.stem: None}


def test_reasons_of_an_earlier_curation_stay(made: Path, run: Any, tmp_path: Path) -> None:
    shutil.copytree(made, tmp_path / "ds")
    (tmp_path / "ds" / "rejections.jsonl").write_text('{"sample_id": "gone"}\n')
    for command in ("curate --folds 0", "review --apply"):
        options = ["--decisions", str(made / "decisions.jsonl")] if command.startswith("review") else []
        run(*command.split(), str(tmp_path / "ds"), "--output", "out", *options)
        assert Path("out/rejections.jsonl").read_text() == '{"sample_id": "gone"}\n'


def test_export_and_verify(place: Place, source: str, made: Path, run: Any, tmp_path: Path) -> None:
    run("export", source, "--format", "coco", "--output", place.output("coco"), "--workers", "1")
    assert "FAIL" not in run("verify", place.output("coco"), "--source", source)
    nothing_else_is_here("coco")
    run("export", str(made), "--format", "coco", "--output", str(tmp_path / "expected"), "--workers", "1")
    with fetched(dataset_location(place.output("coco"))) as folder:
        found, expected = (files_below(each) for each in (folder, tmp_path / "expected"))
    assert found == expected


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_review_page(place: Place, source: str, made: Path, run: Any, tmp_path: Path) -> None:
    run("review", source, "--html", place.output("page.html"))
    run("review", str(made), "--html", str(tmp_path / "expected.html"))
    nothing_else_is_here("page.html")
    if place.where == "s3":
        with fetched(place.root) as bucket:
            page = (bucket / "page.html").read_bytes()
    else:
        page = Path("page.html").read_bytes()
    assert page == (tmp_path / "expected.html").read_bytes()
    assert REJECTED.encode() in page


def test_a_picture(place: Place, source: str, made: Path, run: Any, tmp_path: Path) -> None:
    assert (
        run("show", source, "--output", place.output("sheet.png")) == f"wrote {place.output('sheet.png')}: 6 samples\n"
    )
    run("show", str(made), "--output", str(tmp_path / "expected.png"))
    nothing_else_is_here("sheet.png")
    with fetched(place.root or Path()) as folder:
        assert (folder / "sheet.png").read_bytes() == (tmp_path / "expected.png").read_bytes()


def test_push(place: Place, source: str, made: Path, run: Any) -> None:
    run("push", source, "me/pushed")
    found, before = held("me/pushed"), held(made)
    assert {**found, "names": None} == {**before, "names": None}
    assert {"data", "instance", "detection", "decisions.jsonl", "recipe.yaml"} <= set(found["names"])


def test_merge(place: Place, made: Path, run: Any, tmp_path: Path) -> None:
    fields = {"keep_heat_maps": True, "keep_threshold_curve": True, **PLANTED}
    generate(tmp_path / "whole", num_samples=4, view="detection", **fields)
    for index in range(2):
        generate(tmp_path / f"part{index}", num_samples=4, shard=f"{index}/2", **fields)
    shards = [place.put(tmp_path / f"part{index}", f"part{index}") for index in (1, 0)]
    run("merge", *shards, "--output", place.output("out"), "--view", "detection")
    assert held(place.output("out")) == held(tmp_path / "whole")
    nothing_else_is_here("out", "part0", "part1")


def test_generate_and_reproduce_from_a_recipe(place: Place, source: str, made: Path, run: Any) -> None:
    run("generate", "--recipe", source, "--output", place.output("out"), "--view", "instance")
    assert held(place.output("out"))["rows"] == held(made)["rows"]
    sample_id = held(made)["rows"][-1][1]["sample_id"]
    assert run("reproduce", sample_id, "--recipe", source) == f"{sample_id}: identical, image and mask\n"
    nothing_else_is_here("out")


@pytest.mark.parametrize("stream", [False, True])
def test_training_and_evaluation_read_it(place: Place, source: str, made: Path, stream: bool, run: Any) -> None:
    config = None if place.where == "s3" else "semantic"
    data = open_source(Source(dataset=source, split="validation", config=config, stream=stream))
    expected = [row for split, row in open_dataset(made).rows() if split == "validation"]
    assert [(row["sample_id"], row["image"]["bytes"], row["label"]["bytes"]) for row in data.rows] == [
        (row["sample_id"], row["image"]["bytes"], row["label"]["bytes"]) for row in expected
    ]
    assert data.classes == ("car", "potted plant", "boat")


def test_an_affinity_net_is_trained_on_it(place: Place, source: str, run: Any) -> None:
    printed = run("train-affinity", source, "--output", "net.safetensors", "--images", "1", "--epochs", "1")
    assert printed == "wrote net.safetensors\n"
    nothing_else_is_here("net.safetensors")


def test_labels_are_written_to_a_url(bucket: str, run: Any, pipeline_folder: Path) -> None:  # noqa: F811
    Path("photos").mkdir()
    Image.fromarray(np.zeros((64, 64, 3), dtype=np.uint8)).save("photos/one.png")
    fields = ["height=64", "width=64", "attention_grids=[8]", "refinement=null", "threshold=0.5"]
    options = [word for field in fields for word in ("--set", field)] + ["--timestep", "300", "--keep-heat-maps"]
    options += ["--classes", "car", "--model", str(pipeline_folder), "--device", "cpu"]
    run("label", "photos", "--output", f"{bucket}/out", *options)
    run("label", "photos", "--output", "out", *options)
    assert list(open_dataset(f"{bucket}/out").rows()) == list(open_dataset("out").rows())
    nothing_else_is_here("photos", "out")


@pytest.mark.parametrize(
    "command",
    [
        "train ds --output",
        "evaluate model ds --output",
        "evaluate model ds --predictions",
        "train-affinity ds --output",
        "tune-attention ds --output",
        "reproduce 0123456789ab-00000000 --recipe ds --output",
    ],
)
def test_what_stays_on_this_machine_is_no_url(command: str, tmp_path: Path) -> None:
    done = diffumask_here(*command.split(), "s3://bucket/out", cwd=tmp_path)
    assert done.returncode == 2
    assert "s3://bucket/out is a URL, and this is written to this machine only: give a path" in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_stream_is_exported_and_not_pushed(made: Path, tmp_path: Path, local_hub: LocalHub) -> None:
    stream = load_dataset(str(made), "semantic", split="train", streaming=True, cache_dir=str(tmp_path / "cache"))
    assert export(stream, tmp_path / "coco", format="coco")["samples"] == {"train": 4}
    with pytest.raises(ExportError, match="a stream does not tell how many rows it has; give a map-style dataset"):
        push(stream, "me/stream", token=GOOD_TOKEN)
    assert local_hub.state.repos == {}
