"""Training: learns, repeats itself, goes on after an interruption, says what stopped it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn
from transformers import AutoModelForSemanticSegmentation, Trainer

from diffumask_datasets.dataset.schema import png_cell
from diffumask_datasets.errors import DataError, ExportError, ModelError, RecipeError, ShapeError, TrainingError
from diffumask_datasets.segmentation.labelled import LabelledImages
from diffumask_datasets.segmentation.segmenter import Segmenter
from diffumask_datasets.segmentation.settings import TrainingSettings
from diffumask_datasets.segmentation.sources import labelled_of
from diffumask_datasets.segmentation.training import Hardware, train
from tests.segmentation.conftest import shapes, two_shapes

Settings = Callable[..., TrainingSettings]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = load_file(folder / "model.safetensors")
    return found


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_it_learns(tiny: Settings, tmp_path: Path) -> None:
    options = {"depths": [1] * 4, "hidden_sizes": [16] * 4, "num_attention_heads": [1] * 4, "decoder_hidden_size": 16}
    settings = tiny(steps=60, learning_rate=1e-2, model_options=options)
    segmenter = train(settings, tmp_path / "model", data=[labelled_of(shapes(24))])
    images, labels = zip(*(two_shapes(seed) for seed in range(100, 108)), strict=True)
    predicted = list(segmenter.predict(images, batch_size=3))
    assert np.mean([(mask == label).mean() for mask, label in zip(predicted, labels, strict=True)]) > 0.9
    found = np.stack(predicted)
    wanted = np.stack(labels)
    for class_id in (1, 2):
        both = ((found == class_id) & (wanted == class_id)).sum()
        assert both / ((found == class_id) | (wanted == class_id)).sum() > 0.5


def test_what_lies_in_the_folder(tiny: Settings, tmp_path: Path) -> None:
    train(tiny(), tmp_path / "model", data=[labelled_of(shapes(8))])
    names = sorted(path.name for path in (tmp_path / "model").iterdir())
    assert names == [
        "config.json",
        "curves.png",
        "log.jsonl",
        "model.safetensors",
        "preprocessor_config.json",
        "training.yaml",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    log = [json.loads(line) for line in (tmp_path / "model" / "log.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in log] == [1, 2, 3]
    assert Image.open(tmp_path / "model" / "curves.png").size[0] > 500
    plain = AutoModelForSemanticSegmentation.from_pretrained(tmp_path / "model")
    assert plain.config.id2label == {0: "background", 1: "car", 2: "boat"}
    loaded = Segmenter.load(tmp_path / "model")
    assert (loaded.preprocessing.height, loaded.preprocessing.width) == (64, 64)


def test_the_same_settings_give_the_same_weights_and_another_seed_others(tiny: Settings, tmp_path: Path) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    for name, seed in (("one", 0), ("two", 0), ("three", 1)):
        train(tiny(seed=seed, scale=(0.5, 2.0)), tmp_path / name, data=[labelled_of(shapes(8))])
    assert torch.equal(torch.get_rng_state(), before)
    assert same(weights(tmp_path / "one"), weights(tmp_path / "two"))
    assert not same(weights(tmp_path / "one"), weights(tmp_path / "three"))


def train_interrupted(
    settings: TrainingSettings, output: Path, data: list[LabelledImages], patch: pytest.MonkeyPatch, *, at: int
) -> None:
    step = Trainer.training_step

    def interrupted(self: Any, *arguments: Any, **keywords: Any) -> Any:
        if self.state.global_step == at:
            raise KeyboardInterrupt
        return step(self, *arguments, **keywords)

    with patch.context() as own:
        own.setattr(Trainer, "training_step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(settings, output, data=data)


@pytest.mark.parametrize("stream", [False, True])
def test_an_interrupted_training_goes_on_as_if_nothing_had_been(
    tiny: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    rows = shapes(7)
    data = [labelled_of(rows.to_iterable_dataset() if stream else rows)]
    settings = tiny(steps=5, checkpoint_every=2, scale=(0.7, 1.4), augment=["splice:2x2", "occlude"])
    train(settings, tmp_path / "straight", data=data)
    train_interrupted(settings, tmp_path / "model", data, monkeypatch, at=3)
    assert not (tmp_path / "model").exists()
    step = Trainer.training_step
    steps: list[int] = []

    def counted(self: Any, *arguments: Any, **keywords: Any) -> Any:
        steps.append(self.state.global_step)
        return step(self, *arguments, **keywords)

    monkeypatch.setattr(Trainer, "training_step", counted)
    train(settings, tmp_path / "model", data=data)
    assert steps == [2, 3, 4]
    assert same(weights(tmp_path / "straight"), weights(tmp_path / "model"))


def test_a_checkpoint_that_was_not_written_to_its_end_is_passed_over(
    tiny: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = [labelled_of(shapes(8))]
    settings = tiny(steps=5, checkpoint_every=2)
    train(settings, tmp_path / "straight", data=data)
    train_interrupted(settings, tmp_path / "model", data, monkeypatch, at=3)
    checkpoints = tmp_path / ".model.checkpoints"
    for step, state in ((4, None), (10, "{")):
        shutil.copytree(checkpoints / "checkpoint-2", checkpoints / f"checkpoint-{step}")
        (checkpoints / f"checkpoint-{step}" / "trainer_state.json").unlink()
        if state:
            (checkpoints / f"checkpoint-{step}" / "trainer_state.json").write_text(state)
    train(settings, tmp_path / "model", data=data)
    assert same(weights(tmp_path / "straight"), weights(tmp_path / "model"))


def test_a_training_that_was_killed_at_its_very_end_leaves_nothing_in_the_way(tiny: Settings, tmp_path: Path) -> None:
    data = [labelled_of(shapes(8))]
    train(tiny(), tmp_path / "model", data=data)
    (tmp_path / ".model.checkpoints").mkdir()
    (tmp_path / ".model.checkpoints" / "digest").write_text("of this training")
    train(tiny(), tmp_path / "model", data=data)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_whole_training_is_not_repeated_and_another_one_replaces_it(
    tiny: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = [labelled_of(shapes(8))]
    train(tiny(), tmp_path / "model", data=data)
    first = weights(tmp_path / "model")
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train", None)
        train(tiny(), tmp_path / "model", data=data)
    train(tiny(), tmp_path / "model", data=[labelled_of(shapes(8, first=20))])
    assert not same(first, weights(tmp_path / "model"))


def test_checkpoints_of_another_training_are_not_taken_up(
    tiny: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = [labelled_of(shapes(8))]
    with monkeypatch.context() as patch:
        patch.setattr("diffumask_datasets.segmentation.training.write_model", None)
        with pytest.raises(TypeError):
            train(tiny(checkpoint_every=1), tmp_path / "model", data=data)
    with pytest.raises(TrainingError, match="holds checkpoints of another training"):
        train(tiny(seed=5), tmp_path / "model", data=data)


def test_accumulated_batches_weigh_like_one(tiny: Settings, tmp_path: Path) -> None:
    """Two times two images make about the step that four make: the losses are averaged, not added."""
    logs = []
    for name, batch_size, accumulate in (("one", 4, 1), ("two", 2, 2)):
        settings = tiny(batch_size=batch_size, accumulate=accumulate, steps=1, flip=False)
        train(settings, tmp_path / name, data=[labelled_of(shapes(8))])
        logs.append(json.loads((tmp_path / name / "log.jsonl").read_text()))
    assert logs[1]["loss"] == pytest.approx(logs[0]["loss"], rel=0.1)
    assert logs[1]["grad_norm"] == pytest.approx(logs[0]["grad_norm"], rel=0.5)


def test_a_loss_that_is_no_number_stops_it_and_says_where(tiny: Settings, tmp_path: Path) -> None:
    settings = tiny(learning_rate=1e30, warmup=0.0, steps=10)
    with pytest.raises(TrainingError, match=r"the loss became (nan|inf) at step \d+, on shapes-\d.*lower the learning"):
        train(settings, tmp_path / "model", data=[labelled_of(shapes(8))])
    assert not (tmp_path / "model").exists()


def test_a_batch_in_which_no_pixel_counts_teaches_nothing(tiny: Settings, tmp_path: Path) -> None:
    data = [labelled_of(shapes(2)), labelled_of(shapes(6, first=10, classes=("dog", "cat")))]
    sources = ({"dataset": "one"}, {"dataset": "two", "others": "ignore"})
    ignored = [LabelledImages(part.rows, part.names, None, part.ignored | {0}) for part in data]
    settings = tiny(sources=sources, classes=("car", "boat"), batch_size=1, steps=8)
    train(settings, tmp_path / "model", data=ignored)
    losses = [json.loads(line)["loss"] for line in (tmp_path / "model" / "log.jsonl").read_text().splitlines()]
    assert 0.0 in losses
    assert max(losses) > 0.0


def test_a_stream_is_read_by_one_process_however_many_there_are(tiny: Settings, tmp_path: Path) -> None:
    data = [labelled_of(shapes(7).to_iterable_dataset())]
    for workers in (0, 2):
        train(tiny(), tmp_path / str(workers), data=data, hardware=Hardware(workers=workers))
    assert same(weights(tmp_path / "0"), weights(tmp_path / "2"))


@pytest.mark.parametrize(
    ("device", "changes", "error", "message"),
    [
        ("gpu", {}, ModelError, "unknown device 'gpu'; e.g. 'cpu', 'cuda'"),
        ("mps", {}, ModelError, "device 'mps': torch sees none on this machine"),
        ("cpu:1", {}, ModelError, "device 'cpu:1': a training takes the first GPU it sees; set CUDA_VISIBLE_DEVICES=1"),
        ("cpu", {"precision": "fp16"}, RecipeError, "precision: fp16 needs a GPU; on the CPU take float32 or bf16"),
    ],
)
def test_hardware_that_is_not_there(
    tiny: Settings, tmp_path: Path, device: str, changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        train(tiny(**changes), tmp_path / "model", data=[labelled_of(shapes(4))], hardware=Hardware(device))


def test_out_of_memory_names_the_knob(tiny: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def greedy(self: nn.Module, **_: Any) -> Any:
        return torch.empty(2**52)  # four petabytes: the allocator's own error

    monkeypatch.setattr("transformers.SegformerForSemanticSegmentation.forward", greedy)
    message = "out of memory at step 1 with batches of 4 images of 64x64: take --batch-size 2 and --accumulate 2"
    with pytest.raises(TrainingError, match=message):
        train(tiny(), tmp_path / "model", data=[labelled_of(shapes(8))])
    with pytest.raises(TrainingError, match="batches of 1 images of 64x64: take a smaller --size"):
        train(tiny(batch_size=1), tmp_path / "one", data=[labelled_of(shapes(8))])


def test_a_foreign_folder_is_refused(tiny: Settings, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_text("")
    with pytest.raises(ExportError, match="photos is not empty and not a model of ours"):
        train(tiny(), tmp_path / "photos", data=[labelled_of(shapes(8))])


def test_an_empty_stream(tiny: Settings, tmp_path: Path) -> None:
    empty = labelled_of(shapes(8).to_iterable_dataset().take(0))
    for size in ({}, {"height": 64, "width": 64}):
        with pytest.raises(DataError, match=r"no image to train on|stream to train on has no rows"):
            train(tiny(**size), tmp_path / "model", data=[empty])


def test_image_and_mask_of_different_sizes(tiny: Settings, tmp_path: Path) -> None:
    rows = shapes(1).to_list()
    rows[0]["label"] = png_cell(np.ones((32, 48), dtype=np.uint8))
    data = labelled_of(datasets.Dataset.from_list(rows, features=shapes(1).features))
    with pytest.raises(ShapeError, match="shapes-0: the image is 64x64 pixels but its mask is 48x32"):
        train(tiny(height=64, width=64), tmp_path / "model", data=[data])


def test_a_mask_value_without_a_name(tiny: Settings, tmp_path: Path) -> None:
    rows = shapes(4)
    one_class = rows.remove_columns("classes").add_column("classes", [[1]] * 4)
    one_class = one_class.cast_column("classes", [datasets.ClassLabel(names=["background", "car"])])
    data = labelled_of(one_class)
    with pytest.raises(ShapeError, match=r"the mask has the values \[2\], which its dataset gives no name"):
        train(tiny(), tmp_path / "model", data=[data])
