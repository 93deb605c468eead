"""bench_real from end to end, on tiny random pipelines and drawn scenes in the layout of VOC."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diffumask_datasets.errors import DataError, ModelError, RecipeError
from tests.benchmarks import bench_real
from tests.benchmarks.bench_real import measure
from tests.benchmarks.real_data import RealImages, classes_for
from tests.benchmarks.real_figures import miou, shown_figures
from tests.benchmarks.real_options import Options
from tests.benchmarks.real_shown import METHODS, overlaps
from tests.helpers.segmenters import save_tiny_segmenter
from tests.helpers.tiny_models import models
from tests.helpers.voc_folder import voc_folder

SCENES = (["car"], ["flower"], ["car", "flower"], ["flower", "car"], ["boat", "flower"])
FAMILIES = ("sd1", "sdxl", "sd3", "flux", "pixart_alpha")
FEW = {"num_inference_steps": 2, "attention_timesteps": (0, 999), "prompts": ["a {classes}"]}
"""Tiny tokenizers read 16 tokens."""

CLASSES = "car,potted plant"


@pytest.fixture(scope="module")
def voc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return voc_folder(tmp_path_factory.mktemp("data") / "VOC2012", SCENES)


def saved(folder: Path, model: str) -> str:
    models.built(model).save_pretrained(folder / model)
    return str(folder / model)


def options(folder: Path, model: str, voc: Path, **numbers: Any) -> Options:
    variables = {"MODEL": model, "VOC": str(voc), "SIZE": "64", "IMAGES": "1", "GENERATED": "1", "CLASSES": CLASSES}
    return Options.of({**variables, "OUTPUT": str(folder / "out"), **numbers})


@pytest.mark.parametrize("model", FAMILIES)
def test_any_family_is_measured_from_one_command(model: str, voc: Path, tmp_path: Path) -> None:
    found = measure(options(tmp_path, saved(tmp_path, model), voc), **FEW)
    figures = json.loads((tmp_path / "out" / "real.json").read_text())
    for name in METHODS:
        assert {f"iou_{name}_single", f"iou_{name}_several", f"miou_{name}"} <= set(figures)
        assert 0 <= figures[f"iou_{name}_several"] < 1
    assert (figures["shown_images_single"], figures["shown_images_several"]) == (1, 1)
    assert 0 < figures["heat_auto_single"] <= 1
    assert figures["shown_megabytes"] > 100
    assert figures["generated_images"] == 1
    assert figures["labelled_images_per_hour"] == pytest.approx(
        3600 / (figures["generated_seconds"] + figures["generated_mask_seconds"])
    )
    assert (found.made, found.missing, found.errors) == (3, 0, [])
    page = (tmp_path / "out" / "real.html").read_text()
    assert page.count('src="data:image/jpeg;base64,') == 3
    assert f"<td class=n>{figures['iou_auto_single']:.4g}</td>" in page


def test_a_segmenter_is_one_more_method(voc: Path, tmp_path: Path) -> None:
    segmenter = str(save_tiny_segmenter("sam", tmp_path / "segmenter"))
    found = measure(options(tmp_path, saved(tmp_path, "sd1"), voc, SEGMENTER=segmenter), ["shown"], **FEW)
    assert {"iou_sam_single", "iou_sam_several", "miou_sam", "iou_auto_single"} <= set(found.figures)
    assert found.errors == []
    with pytest.raises(ModelError, match="takes no points, boxes and masks as prompts"):
        measure(
            options(tmp_path, str(tmp_path / "sd1"), voc, SEGMENTER=str(tmp_path / "sd1" / "unet")), ["shown"], **FEW
        )


def test_a_killed_run_goes_on(voc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, judged, looked = options(tmp_path, saved(tmp_path, "sd1"), voc), bench_real.judged, list[str]()

    def killed_at_the_second(*args: Any) -> Any:
        if len(looked) == 1:
            raise KeyboardInterrupt
        looked.append(args[0].name)
        return judged(*args)

    monkeypatch.setattr(bench_real, "judged", killed_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        measure(asked, **FEW)
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "records").iterdir()}
    assert len(kept) == 2
    monkeypatch.setattr(bench_real, "judged", judged)
    assert measure(asked, **FEW).made == 2
    assert all(path.stat().st_mtime_ns == written for path, written in kept.items())
    again = measure(asked, **FEW)
    assert (again.made, again.missing) == (0, 0)
    assert again.figures["labelled_images_per_hour"] > 0


def test_the_minutes_end_a_run_with_what_there_is(voc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = options(tmp_path, saved(tmp_path, "sd1"), voc, MINUTES="1")
    assert asked.minutes == 1
    monkeypatch.setattr(bench_real, "SHOWN_SHARE", 0.0)
    found = measure(asked, **FEW)
    assert (found.figures["shown_images"], found.figures["generated_images"]) == (0, 1)
    assert (found.made, found.missing) == (1, 2)
    assert "iou_auto_single" not in found.figures
    assert (tmp_path / "out" / "real.html").exists()


def test_a_model_without_data_generates_alone(tmp_path: Path) -> None:
    asked = Options.of(
        {
            "MODEL": saved(tmp_path, "sd1"),
            "SIZE": "64",
            "GENERATED": "1",
            "CLASSES": "car",
            "OUTPUT": str(tmp_path / "out"),
        }
    )
    found = measure(asked, **FEW)
    assert found.figures["generated_images"] == 1
    assert "shown_images" not in found.figures
    with pytest.raises(RecipeError, match="needs a dataset: make bench-real MODEL=OWNER/NAME VOC="):
        measure(asked, ["shown"], **FEW)


def test_masks_that_cannot_be_made_count_as_empty(voc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.benchmarks import real_shown

    def no_signal(*args: Any, **kwargs: Any) -> Any:
        raise ModelError("the heat map is constant")

    monkeypatch.setattr(real_shown, "show_image", no_signal)
    found = measure(options(tmp_path, saved(tmp_path, "sd1"), voc), ["shown"], **FEW)
    assert (found.figures["shown_images_failed"], found.figures["iou_auto_single"]) == (2, 0)
    assert "heat_auto_single" in found.figures
    assert "auto: the heat map is constant" in (tmp_path / "out" / "real.html").read_text()


def test_overlaps_and_means_are_exact() -> None:
    truth, label = np.uint8([[1, 1, 0, 255], [2, 2, 0, 0]]), np.uint8([[1, 0, 0, 1], [2, 255, 0, 2]])
    counts = overlaps(label, truth, (0, 1, 2))
    assert counts == [(0, 2, 4), (1, 1, 2), (2, 1, 3)]
    record = {"kind": "several", "heat": {"auto": [0.5, 1.0], "equal": [0.0, 0.0]}, "errors": {}, "seconds": 2.0}
    records = [{**record, "counts": dict.fromkeys(METHODS, counts), "megabytes": 5.0, "classes": ["car", "boat"]}]
    figures = shown_figures(records)
    assert figures["iou_auto_several"] == pytest.approx((1 / 2 + 1 / 3) / 2)
    assert figures["heat_auto_several"] == 0.75
    assert miou(records, "auto") == pytest.approx((2 / 4 + 1 / 2 + 1 / 3) / 3)
    assert "iou_auto_single" not in figures


def test_images_are_chosen_by_their_classes(voc: Path) -> None:
    source = Options.of({"MODEL": "toybox", "VOC": str(voc)}).source
    assert source
    data = bench_real.open_source(source, split="test")
    assert classes_for(data, [], "sd") == f"voc:{','.join(bench_real.Recipe.of(classes='voc').classes)}"
    assert classes_for(data, ["Car", "TV monitor"], "sd") == "voc:car,tvmonitor"
    with pytest.raises(DataError, match="CLASSES: 'whale' is none of the dataset's: aeroplane, "):
        classes_for(data, ["whale"], "sd")
    images = RealImages(data, ("car", "potted plant"), per_kind=10)
    found = list(images.read(images.chosen()))
    assert sorted((image.name, image.kind) for image in found) == [
        ("000", "single"),
        ("001", "single"),
        ("002", "several"),
        ("003", "several"),
        ("004", "single"),
    ]
    assert all(set(np.unique(image.truth)) == {0, *image.shown} for image in found)
    alone = RealImages(data, ("boat",), per_kind=10)
    assert len(alone.chosen()) == 1
    assert alone.left_out["without a class"] == 4
    with pytest.raises(DataError, match="no image shows between 1 and 8 of the classes sheep"):
        RealImages(data, ("sheep",), per_kind=10).chosen()


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({}, "MODEL names no model: make bench-real MODEL="),
        ({"MODEL": "m", "VOC": "a", "DATA": "b"}, "VOC and DATA both name a dataset"),
        ({"MODEL": "m", "IMAGES": "many"}, "IMAGES=many: expected a whole number from 1 on"),
        ({"MODEL": "m", "MINUTES": "0"}, "MINUTES=0: expected a whole number from 1 on"),
    ],
)
def test_what_is_not_understood_is_one_line(variables: dict[str, str], message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        Options.of(variables)
    assert str(caught.value).startswith(message)


def test_a_dataset_is_named_as_for_training(voc: Path) -> None:
    named = Options.of({"MODEL": "a/b", "DATA": f"folder={voc}", "SPLIT": "dev"})
    assert named.source
    assert (named.source.layout, named.source.split) == ("folder", "dev")
    assert named.output.name.startswith("a-b-folder-")


def test_a_folder_of_images_and_masks_is_read(voc: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "images").symlink_to(voc / "JPEGImages")
    (tmp_path / "data" / "masks").symlink_to(voc / "SegmentationClass")
    names = {0: "background", 4: "boat", 7: "car", 16: "paper flower"}
    (tmp_path / "data" / "id2label.json").write_text(json.dumps(names))
    source = Options.of({"MODEL": "m", "DATA": f"folder={tmp_path / 'data'}"}).source
    assert source
    data = bench_real.open_source(source, split="test")
    assert classes_for(data, [], "m") == ["boat", "car", "paper flower"]  # no vocabulary has all three
    images = RealImages(data, ("boat", "car", "paper flower"), per_kind=2)
    first, second, third, fourth = images.read(images.chosen())
    assert [one.kind for one in (first, second, third, fourth)] == ["single", "several"] * 2
    assert {first.shown, third.shown} == {(2,), (3,)}


def test_the_command_ends_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MODEL", "VOC", "DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.argv", ["bench_real"])
    with pytest.raises(SystemExit, match=r"^error: MODEL names no model: make bench-real MODEL="):
        bench_real.main()
