"""Evaluation: whose class is whose, figures equal to the official ones, pictures, bad input."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from diffumask_datasets.errors import DataError, ExportError, ShapeError, TrainingError, UnknownClassError
from diffumask_datasets.segmentation.evaluation import evaluate, match_classes, save_evaluation
from diffumask_datasets.segmentation.labelled import LabelledImages, labelled_rows
from diffumask_datasets.segmentation.layout_tables import CITYSCAPES_IDS
from diffumask_datasets.segmentation.layouts import read_layout
from diffumask_datasets.segmentation.models import build_model
from diffumask_datasets.segmentation.preprocessing import Preprocessing
from diffumask_datasets.segmentation.segmenter import Segmenter
from diffumask_datasets.segmentation.sources import labelled_of
from tests.segmentation.conftest import TINY, shapes
from tests.segmentation.test_layouts import folder, save, voc

Mask = NDArray[np.uint8]


def untrained(classes: tuple[str, ...]) -> Segmenter:
    model = build_model("segformer-small", classes, options=TINY["model_options"])  # type: ignore[arg-type]
    return Segmenter(model, Preprocessing(64, 64), device="cpu")


def street(root: Path, count: int = 4) -> None:
    """Random label ids, void ones among them, in the layout of Cityscapes; instances too, which the scorer opens."""
    for number in range(count):
        rng = np.random.default_rng(number)
        ids = np.kron(rng.integers(0, 34, (4, 8)), np.ones((16, 16))).astype(np.uint8)
        name = f"ulm_000000_{number:06d}"
        save(rng.integers(0, 255, (64, 128, 3)), root / "leftImg8bit" / "val" / "ulm" / f"{name}_leftImg8bit.png")
        save(ids, root / "gtFine" / "val" / "ulm" / f"{name}_gtFine_labelIds.png")


def official_scores(root: Path, predictions: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    if not hasattr(np, "in1d"):
        monkeypatch.setattr(np, "in1d", np.isin, raising=False)  # the scorer of 2023 knows numpy < 2.4
    import cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling as scorer  # noqa: N813

    masks = sorted(str(path) for path in (root / "gtFine" / "val").rglob("*_labelIds.png"))
    predicted = [str(predictions / f"{Path(mask).name.removesuffix('_gtFine_labelIds.png')}.png") for mask in masks]
    scorer.args.evalInstLevelScore, scorer.args.quiet, scorer.args.JSONOutput = False, True, False
    found: dict[str, Any] = scorer.evaluateImgLists(predicted, masks, scorer.args)
    return found


@pytest.mark.parametrize("classes", [tuple(CITYSCAPES_IDS.values()), ("background", "car", "person", "road")])
def test_cityscapes_figures_are_those_of_cityscapesscripts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, classes: tuple[str, ...]
) -> None:
    street(tmp_path / "cityscapes")
    segmenter = untrained(classes)
    data = read_layout("cityscapes", tmp_path / "cityscapes")
    scores = evaluate(segmenter, data, predictions=tmp_path / "predictions").scores
    official = official_scores(tmp_path / "cityscapes", tmp_path / "predictions", monkeypatch)
    for name, iou in zip(scores.classes, scores.iou, strict=True):
        if name != "background":
            assert iou == pytest.approx(official["classScores"][name], abs=1e-12, nan_ok=True)
    if len(classes) == 19:
        assert scores.miou == pytest.approx(official["averageScoreClasses"], abs=1e-12)
        assert scores.miou > 0


def test_a_perfect_model_scores_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = labelled_of(shapes(3))
    segmenter = untrained(("background", "Boat", "CAR"))
    answers = [np.array([0, 2, 1], dtype=np.uint8)[mask] for mask in _labels(data)]
    monkeypatch.setattr(segmenter, "predict", lambda images, batch_size: [answers.pop(0) for _ in images])
    result = evaluate(segmenter, data, predictions=tmp_path / "masks", batch_size=2)
    assert (result.scores.miou, result.scores.pixel_accuracy, result.scores.mean_boundary_iou) == (1.0, 1.0, 1.0)
    assert [mistake.iou for mistake in result.worst] == [1.0, 1.0, 1.0]
    written = [np.asarray(Image.open(tmp_path / "masks" / f"shapes-{number}.png")) for number in range(3)]
    np.testing.assert_array_equal(written, _labels(data))


def _labels(data: LabelledImages) -> list[Mask]:
    return [example.label for example in labelled_rows(data)]


def test_what_is_written(tmp_path: Path) -> None:
    voc(tmp_path / "VOC2012")
    result = evaluate(untrained(("background", "tvmonitor")), read_layout("voc", tmp_path / "VOC2012"))
    save_evaluation(result, tmp_path / "scores")
    save_evaluation(result, tmp_path / "scores")
    names = sorted(path.name for path in (tmp_path / "scores").iterdir())
    assert names == ["confusion.png", "scores.json", "worst.png"]
    figures = json.loads((tmp_path / "scores" / "scores.json").read_text())
    assert list(figures["classes"]) == ["background", "tvmonitor"]
    assert len(figures["as_background"]) == 19
    assert (figures["images"], len(figures["confusion"])) == (2, 2)
    # Two cards in one line, each of three tiles 160 wide.
    assert Image.open(tmp_path / "scores" / "worst.png").size == (8 + 2 * (480 + 8), 8 + 107 + 16 + 8)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_text("")
    with pytest.raises(ExportError, match="not an evaluation of ours"):
        save_evaluation(result, tmp_path / "photos")


def test_groups_and_strangers() -> None:
    data = LabelledImages(None, {1: ("person",), 2: ("rider",), 3: ("car",), 4: ("tree",)}, background=None)
    groups = {"person": "human", "rider": "human", "car": "vehicle"}
    matching = match_classes(("background", "human", "car", "truck"), data, rename={**groups, "truck": "vehicle"})
    assert matching.classes == ("background", "human", "vehicle")
    assert matching.truth[[1, 2, 3, 4, 255]].tolist() == [1, 1, 2, 0, 255]
    assert matching.predicted[:4].tolist() == [0, 1, 2, 2]
    assert (matching.as_background, matching.counted) == (("tree",), (1, 2))
    assert matching.values[:3].tolist() == [0, 1, 3]


def test_a_class_that_does_not_map() -> None:
    data = LabelledImages(None, {1: ("car",), 2: ("potted plant",)})
    with pytest.raises(
        UnknownClassError, match=r"class 'pottet plant' is none of the benchmark's \(did you mean 'pott"
    ):
        match_classes(("background", "car", "pottet plant"), data)
    matching = match_classes(("background", "car", "star"), data, rename={"star": "background"})
    assert matching.predicted[:3].tolist() == [0, 1, 0]


def test_a_model_without_background_ignores_what_it_does_not_know() -> None:
    data = LabelledImages(None, {7: ("road",), 8: ("sidewalk",)}, background=None)
    matching = match_classes(("road",), data)
    assert (matching.classes, matching.truth[[7, 8]].tolist(), matching.counted) == (("road",), [0, 255], (0,))


def test_out_of_memory_names_the_knob(monkeypatch: pytest.MonkeyPatch) -> None:
    def greedy(self: nn.Module, **_: Any) -> Any:
        return torch.empty(2**52)  # four petabytes: the allocator's own error

    segmenter = untrained(("background", "car", "boat"))
    monkeypatch.setattr("transformers.SegformerForSemanticSegmentation.forward", greedy)
    for count, knob in ((8, "8 images of 64x64 at once: take --batch-size 4"), (1, "only another --device has more")):
        with pytest.raises(TrainingError, match=f"out of memory predicting .*{knob}"):
            evaluate(segmenter, labelled_of(shapes(count)))


def test_bad_input(tmp_path: Path) -> None:
    folder(tmp_path)
    segmenter = untrained(("background", "car"))
    save(np.full((20, 30), 9), tmp_path / "masks" / "1.png")
    with pytest.raises(ShapeError, match=r"1: the mask has the values \[9\], which its dataset gives no name"):
        evaluate(segmenter, read_layout("folder", tmp_path))
    save(np.zeros((10, 30)), tmp_path / "masks" / "1.png")
    with pytest.raises(ShapeError, match="1: the image is 30x20 pixels but its mask is 30x10"):
        evaluate(segmenter, read_layout("folder", tmp_path))
    with pytest.raises(DataError, match="no image to evaluate on"):
        evaluate(untrained(("background", "car", "boat")), labelled_of(shapes(2).to_iterable_dataset().take(0)))
