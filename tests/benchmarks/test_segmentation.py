"""The experiments on the toybox: each has a name of its own, is done once, and follows from all that it says."""

import functools
import itertools
import math
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from diffumask_datasets.augmentation.scene import annotate
from diffumask_datasets.dataset.density import image_density
from diffumask_datasets.dataset.schema import decode_label
from diffumask_datasets.toybox import CLASS_NAMES
from tests.benchmarks.segmentation_data import FOLDS, Drawn, Fold, GeneratedImage, Kept, Remasked
from tests.benchmarks.segmentation_experiments import (
    FULL,
    PARTS,
    QUICK,
    Experiment,
    Part,
    Repeat,
    Sizes,
    experiments,
    plain,
)
from tests.benchmarks.segmentation_instances import average_precision, pixels_of, touching_scenes
from tests.benchmarks.segmentation_judged import judged_ious

PLANTED = (("model", "planted"), ("height", 64), ("width", 64))


def drawn(steps: int, count: int = 4) -> Experiment:
    return Experiment("drawn", (Part(Drawn("train", count)),), Drawn("test", 2), steps)


@pytest.mark.parametrize("sizes", [FULL, QUICK])
def test_every_experiment_has_a_name_of_its_own(sizes: Sizes) -> None:
    made = experiments(sizes)
    assert tuple(made) == PARTS
    names = [plain(member.name) for member in itertools.chain.from_iterable(made.values())]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z0-9_-]+", name) for name in names)
    for part in PARTS:
        for member in made[part]:
            shares = {1.4, 4} if part == "steps" else {0.4 if member.start else 1}
            assert member.settings(seed=1).steps / sizes.steps in shares
    assert {member.settings(seed=1).steps / sizes.steps for member in made["steps"]} == {1.4, 4}
    assert {part for part in PARTS for member in made[part] if member.start} == {"headline", "open"}


def test_fine_tuning_starts_where_the_other_training_ended(tmp_path: Path) -> None:
    start = drawn(steps=1)
    tuned = Repeat(replace(start, name="tuned", start=start, training={"learning_rate": 1e-9}), 0)
    tuned.do(tmp_path)
    assert Repeat(start, 0).figures(tmp_path) is not None
    before, after = (load_file(repeat.model(tmp_path) / "model.safetensors") for repeat in (Repeat(start, 0), tuned))
    weights = [name for name in before if name.endswith("weight")]
    assert all(torch.allclose(after[name], before[name], atol=1e-6) for name in weights)
    other = replace(start, name="tuned", start=drawn(steps=2), training={"learning_rate": 1e-9})
    assert Repeat(other, 0).figures(tmp_path) is None


def test_a_repeat_is_done_once_and_another_one_has_another_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repeat = Repeat(drawn(steps=1), 0)
    assert repeat.figures(tmp_path) is None
    repeat.do(tmp_path)
    found = repeat.figures(tmp_path)
    assert found is not None
    assert found["images"] == 2
    monkeypatch.setattr("transformers.Trainer.train", None)
    repeat.do(tmp_path)  # the model is there: a process killed between training and judging repeats the second alone
    assert repeat.figures(tmp_path) == found
    for other in (Repeat(drawn(steps=1), 1), Repeat(drawn(steps=2), 0), Repeat(drawn(steps=1, count=3), 0)):
        assert other.figures(tmp_path) is None


def test_generated_images_through_every_kind_of_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generated = GeneratedImage(
        6, fields=(*PLANTED, ("prompts", ("a photo of a car", "a photo of a car beside a boat")))
    )
    generated.make(tmp_path)
    assert len(generated.rows(tmp_path)) == 6
    others = Remasked(generated, (("threshold", 0.9),))
    others.make(tmp_path)
    assert others.rows(tmp_path)["sample_id"][:] != generated.rows(tmp_path)["sample_id"][:]
    assert others.rows(tmp_path)[0]["image"] == generated.rows(tmp_path)[0]["image"]
    folds = tuple(Fold(generated, number, 1) for number in range(FOLDS))
    for fold in folds:
        fold.make(tmp_path)
    rows = itertools.chain.from_iterable(fold.agreements(tmp_path) for fold in folds)
    assert sorted(rows) == list(range(6))
    chosen = Kept(generated, folds, drop=0.5, count=3)
    assert set(chosen.needs) == {generated, *folds}
    assert 0 < len(chosen.rows(tmp_path)) <= 3
    every = replace(chosen, drop=0.0, count=6)
    assert len(every.rows(tmp_path)) == 6
    alone = replace(every, alone=True).rows(tmp_path)
    assert [len(names) for names in alone["classes"]] == [1, 1, 1]
    ignoring = replace(every, drop=0.5, ignore=True)
    ignored = ignoring.rows(tmp_path)
    assert ignored.features == generated.rows(tmp_path).features
    judged = list(ignoring.judged(tmp_path).values())
    assert any(judged)
    for row, before, flagged in zip(ignored, generated.rows(tmp_path), judged, strict=True):
        now, then = decode_label(row["label"]), decode_label(before["label"])
        assert set(np.unique(now)) & set(flagged) == set()
        assert (now == 255).tolist() == ((then == 255) | np.isin(then, list(flagged))).tolist()
        assert row["image"] == before["image"]
    labels = [decode_label(row["label"]) for row in generated.rows(tmp_path)]
    halves = [np.where(np.arange(label.shape[1]) % 2, label, 0) for label in labels]
    for seen, expected in ((labels, 1.0), (halves, 0.5)):
        judge = SimpleNamespace(look=lambda images, seen=seen: [SimpleNamespace(label=label) for label in seen])
        monkeypatch.setattr("tests.benchmarks.segmentation_judged.load_judge", lambda judge=judge: judge)
        assert judged_ious([ignoring], tmp_path)[0] == pytest.approx((expected, expected), abs=0.05)
    assert math.isnan(judged_ious([every], tmp_path)[0][1])


def test_average_precision_of_the_truth_and_of_merged_objects() -> None:
    scenes = touching_scenes(3)
    assert all(image_density(annotate(scene)).touching >= 2 for scene in scenes)

    def network(pixel_values: torch.Tensor, *, merged: bool = False) -> SimpleNamespace:
        (scene,) = [scene for scene in scenes if torch.equal(pixels_of([scene]), pixel_values)]
        masks = torch.stack([torch.from_numpy(scene.instances == number + 1) for number in range(len(scene.things))])
        masks = masks.any(dim=0, keepdim=True).expand_as(masks) if merged else masks
        classes = torch.tensor([thing.category - 1 for thing in scene.things])
        logits = torch.nn.functional.one_hot(classes, len(CLASS_NAMES) + 1).float() * 20
        return SimpleNamespace(class_queries_logits=logits[None], masks_queries_logits=masks[None].float() * 20 - 10)

    assert average_precision(network, scenes) == pytest.approx(1.0)
    assert average_precision(functools.partial(network, merged=True), scenes) < 0.3
