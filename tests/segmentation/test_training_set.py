"""What a training sees: augmented anew each time, and the same again for the same position."""

import itertools
from collections.abc import Callable
from typing import Any

import torch
from scipy import ndimage

from diffumask_datasets.segmentation.preprocessing import Preprocessing
from diffumask_datasets.segmentation.settings import TrainingSettings
from diffumask_datasets.segmentation.sources import labelled_of, mix
from diffumask_datasets.segmentation.training_set import TrainingItems, TrainingStream
from tests.segmentation.conftest import shapes

Settings = Callable[..., TrainingSettings]


def items_of(settings: TrainingSettings, rows: Any, kind: Any) -> Any:
    mixture = mix(settings.sources, [labelled_of(rows)], classes=None, seed=0)
    return kind(mixture, settings, Preprocessing(64, 64))


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return torch.equal(one["pixel_values"], other["pixel_values"]) and torch.equal(one["labels"], other["labels"])


def cars(item: dict[str, Any]) -> int:
    return int(ndimage.label(item["labels"].numpy() == 1)[1])


def test_an_image_is_augmented_otherwise_each_time_it_is_seen(tiny: Settings) -> None:
    items = items_of(tiny(augment=["blur"], flip=False), shapes(1), TrainingItems)
    assert same(items[3], items[3])
    assert torch.equal(items[0]["labels"], items[1]["labels"])
    assert not torch.equal(items[0]["pixel_values"], items[1]["pixel_values"])


def test_splicing_takes_from_the_other_images_in_the_class_ids_of_the_model(tiny: Settings) -> None:
    plain = items_of(tiny(flip=False), shapes(8), TrainingItems)
    spliced = items_of(tiny(flip=False, augment=["splice:2x2"]), shapes(8), TrainingItems)
    assert [cars(plain[k]) for k in range(4)] == [1] * 4
    assert min(cars(spliced[k]) for k in range(4)) > 1
    assert set(spliced[0]["labels"].unique().tolist()) == {0, 1, 2}


def test_a_stream_splices_from_its_first_image_on(tiny: Settings) -> None:
    settings = tiny(augment=["splice:2x2"])
    items = [
        list(itertools.islice(items_of(settings, shapes(3).to_iterable_dataset(), TrainingStream), 7)) for _ in "ab"
    ]
    assert all(same(one, other) for one, other in zip(*items, strict=True))
    assert not same(items[0][0], items[0][3])


def test_colour_changes_the_channels_of_the_image_alone(tiny: Settings) -> None:
    plain = items_of(tiny(flip=False), shapes(1), TrainingItems)
    coloured = items_of(tiny(flip=False, colour=0.3), shapes(1), TrainingItems)
    assert same(coloured[3], coloured[3])
    assert not torch.equal(coloured[0]["pixel_values"], coloured[1]["pixel_values"])
    assert torch.equal(plain[0]["labels"], coloured[0]["labels"])
    for before, after in zip(plain[0]["pixel_values"], coloured[0]["pixel_values"], strict=True):
        high, low = int(before.argmax()), int(before.argmin())
        gain = (after.flatten()[high] - after.flatten()[low]) / (before.max() - before.min())
        lift = after.flatten()[low] - gain * before.min()
        assert 0.7 <= gain <= 1.3
        assert -0.3 <= lift <= 0.3
        assert torch.allclose(before * gain + lift, after, atol=1e-5)
