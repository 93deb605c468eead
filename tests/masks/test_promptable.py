"""Promptable segmenters of transformers: the same form for all, exact coordinates, clear refusals."""

from __future__ import annotations

import json
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from diffumask_datasets.errors import ModelError
from diffumask_datasets.masks.promptable import CHUNK, Prompt, Segmenter, load_segmenter, model_type_of
from tests.helpers.segmenters import KINDS, save_tiny_segmenter

HEIGHT, WIDTH = 40, 60
IMAGE = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("segmenters")
    return {kind: save_tiny_segmenter(kind, root / kind) for kind in KINDS}


def prompts(count: int) -> list[Prompt]:
    rng = np.random.default_rng(1)
    return [
        Prompt(
            rng.uniform(0, 40, (1 + number % 3, 2)).astype(np.float32),
            np.array([1, 0, 0][: 1 + number % 3]),
            (1.0, 2.0, 30.0 + number % 9, 30.0),
            rng.normal(0, 3, (HEIGHT, WIDTH)).astype(np.float32),
        )
        for number in range(count)
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_answers_alike_whatever_was_asked_before(kind: str, folders: dict[str, Path]) -> None:
    segmenter = load_segmenter(str(folders[kind]), device="cpu")
    asked = prompts(CHUNK + 2)
    answers = segmenter.ask(IMAGE, asked)
    assert {answer.logits.shape for answer in answers} == {(3, HEIGHT, WIDTH)}
    assert {answer.scores.shape for answer in answers} == {(3,)}
    assert all(np.isfinite(answer.logits).all() and np.ptp(answer.logits) > 0 for answer in answers)
    segmenter.ask(IMAGE[::-1].copy(), asked[:1])
    again = segmenter.ask(IMAGE, asked)
    for one, other in zip(answers, again, strict=True):
        np.testing.assert_array_equal(one.logits, other.logits)
        np.testing.assert_array_equal(one.scores, other.scores)
    alone = segmenter.ask(IMAGE, asked[-1:])[0]
    np.testing.assert_allclose(alone.logits, answers[-1].logits, atol=1e-3)
    points_alone = segmenter.ask(IMAGE, [Prompt(one.points, one.labels) for one in asked[:2]])
    assert [answer.logits.shape for answer in points_alone] == [(3, HEIGHT, WIDTH)] * 2


class Recorder:
    """A network that keeps what it is given, and whose masks are a ramp from left to right."""

    device, dtype = "cpu", torch.float32

    def __init__(self) -> None:
        self.prompt_encoder = types.SimpleNamespace(input_image_size=64, image_embedding_size=(8, 8))
        self.encoded: list[Any] = []
        self.given: dict[str, Any] = {}

    def get_image_embeddings(self, pixels: torch.Tensor) -> torch.Tensor:
        self.encoded.append(pixels)
        return pixels[:, :1, ::8, ::8]

    def __call__(self, **given: Any) -> Any:
        self.given = given
        count = len(given["input_points"])
        ramp = torch.arange(32.0).expand(count, 1, 3, 32, 32)
        return types.SimpleNamespace(pred_masks=ramp, iou_scores=torch.zeros(count, 1, 3))


@pytest.mark.parametrize(
    ("padded", "point", "box", "right"),
    [
        (True, (5.3667, 6.4333), (1.1, 2.1667, 30.9667, 32.0333), 31.0),
        (False, (5.3667, 9.9), (1.1, 3.5, 30.9667, 48.3), 31.0),
    ],
    ids=["padded", "stretched"],
)
def test_coordinates_are_those_of_the_networks_image(
    padded: bool, point: tuple[float, ...], box: tuple[float, ...], right: float
) -> None:
    network = Recorder()
    segmenter = Segmenter(network, padded=padded, mean=(0.5,) * 3, deviation=(0.25,) * 3)
    asked = Prompt(
        np.array([[5, 6]], np.float32), np.array([1]), (1, 2, 29, 30), np.full((HEIGHT, WIDTH), 3, np.float32)
    )
    longer = Prompt(np.array([[5, 6], [7, 8]], np.float32), np.array([1, 0]), (1, 2, 29, 30), asked.mask)
    answer, _ = segmenter.ask(np.full((HEIGHT, WIDTH, 3), 255, np.uint8), [asked, longer])
    assert network.given["input_points"][0, 0].tolist() == [pytest.approx(list(point), abs=1e-3), [0, 0]]
    assert network.given["input_labels"][:, 0].tolist() == [[1, -10], [1, 0]]
    assert network.given["input_boxes"][0, 0].tolist() == pytest.approx(list(box), abs=1e-3)
    mask, (pixels,) = network.given["input_masks"], network.encoded
    assert mask.shape == (2, 1, 32, 32)
    assert float(mask[0, 0, 10, 10]) == pytest.approx(3.0)
    assert float(mask[0, 0, -1, 0]) == pytest.approx(-10.0 if padded else 3.0)
    assert pixels.shape == (1, 3, 64, 64)
    assert float(pixels[0, 0, 0, 0]) == 2.0
    assert float(pixels[0, 0, -1, 0]) == (0.0 if padded else 2.0)
    assert answer.logits[0, 0, -1] == right


def test_an_image_is_encoded_once() -> None:
    network = Recorder()
    segmenter = Segmenter(network, padded=True, mean=(0.5,) * 3, deviation=(0.25,) * 3)
    for image in (IMAGE, IMAGE.copy(), IMAGE[:, ::-1].copy()):
        segmenter.ask(image, prompts(40))
    assert len(network.encoded) == 2


def test_models_that_take_no_prompts_are_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "clipseg"}), encoding="utf-8")
    with pytest.raises(ModelError, match=r"\(model_type 'clipseg'\) takes no points, boxes and masks as prompts; give"):
        model_type_of(str(tmp_path))
    with pytest.raises(ModelError, match="no promptable segmenter 'nothing': give an existing folder or a Hub id"):
        model_type_of("nothing")


def test_a_network_that_does_not_say_how_it_sees_images_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = save_tiny_segmenter("sam", tmp_path / "sam")
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(ModelError, match=r"has neither processor_config\.json nor preprocessor_config\.json"):
        load_segmenter(str(folder))
