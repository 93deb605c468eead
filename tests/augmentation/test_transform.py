from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest

from diffumask_datasets.augmentation.transform import Augment
from diffumask_datasets.dataset.schema import features_of
from diffumask_datasets.errors import DataError, RecipeError
from tests.helpers.scenes import CLASSES, check_row, random_scene, row_of_scene


@pytest.fixture
def rows() -> list[dict[str, Any]]:
    return [row_of_scene(random_scene(seed), f"abc-{seed:08d}") for seed in range(5)]


@pytest.fixture
def dataset(rows: list[dict[str, Any]]) -> Any:
    return datasets.Dataset.from_list(rows, features=features_of(CLASSES))


def content(row: Any) -> tuple[bytes, bytes, list[int]]:
    return np.asarray(row["image"]).tobytes(), np.asarray(row["label"]).tobytes(), row["objects"]["area"]


def test_map_keeps_features_and_consistency(dataset: Any) -> None:
    made = dataset.map(Augment(["splice:2x2", "perspective"], pool=dataset))
    assert made.features == dataset.features
    assert made.num_rows == 5
    for before, row in zip(dataset, made, strict=True):
        check_row(row)
        assert row["label"].mode == "L"
        assert row["sample_id"] == before["sample_id"]
        assert content(row) != content(before)


def test_order_batches_and_access_do_not_matter(dataset: Any) -> None:
    augment = Augment(["splice", "occlude", "blur"], seed=3, pool=dataset)
    one_by_one = [content(row) for row in dataset.map(augment, load_from_cache_file=False)]
    in_batches = [content(row) for row in dataset.map(augment, batched=True, batch_size=2)]
    shown = dataset.with_transform(augment)
    accessed = {number: content(shown[number]) for number in (4, 0, 2)}
    assert in_batches == one_by_one
    assert accessed == {number: one_by_one[number] for number in (4, 0, 2)}
    assert one_by_one != [
        content(row) for row in dataset.map(Augment(["splice", "occlude", "blur"], seed=4, pool=dataset))
    ]


def test_in_several_processes(dataset: Any) -> None:
    augment = Augment(["splice:1x2"], pool=dataset)
    alone, together = dataset.map(augment), dataset.map(augment, num_proc=2)
    assert [content(row) for row in alone] == [content(row) for row in together]


def test_compositions_name_their_classes(dataset: Any) -> None:
    steps = [{"kind": "compose", "objects": [6, 6], "sizes": {"tree": [0.1, 0.2]}, "min_quality": 0}]
    with pytest.raises(RecipeError, match=r"compose names the class 'tree'; there are: none \(give classes=\)"):
        dataset.map(Augment(steps, pool=dataset))
    for row in dataset.map(Augment(steps, pool=dataset, classes=CLASSES)):
        check_row(row)


def test_a_stream_draws_from_its_batch(dataset: Any, rows: list[dict[str, Any]]) -> None:
    stream = dataset.to_iterable_dataset().map(Augment(["splice:2x2"]), batched=True, batch_size=4)
    *made, last = stream
    for row in (*made, last):
        check_row(row)
    assert last["sample_id"] == "abc-00000004"
    assert len(last["prompt"].split(" | ")) == 4
    assert all(len(row["prompt"].split(" | ")) == 4 for row in made)
    assert {prompt for row in made for prompt in row["prompt"].split(" | ")} == {
        f"prompt {number}" for number in range(4)
    }


def test_blur_and_perspective_need_no_others(rows: list[dict[str, Any]]) -> None:
    made = Augment(["blur", "perspective"])(rows[0])
    check_row({**made, "image": made["image"], "label": made["label"]})
    assert "heat_maps" not in made


def test_only_the_columns_that_are_there(dataset: Any) -> None:
    few = dataset.select_columns(["image", "label", "objects"])
    row = few.map(Augment(["splice:2x2"], pool=few))[0]
    assert sorted(row) == ["image", "label", "objects"]


def test_datasets_of_one_sample_are_refused(dataset: Any, rows: list[dict[str, Any]]) -> None:
    message = "take pixels from other samples, and there is only 1: give a dataset of at least two"
    with pytest.raises(RecipeError, match=message):
        Augment(["splice"], pool=dataset.select([0]))
    with pytest.raises(RecipeError, match=message):
        Augment(["occlude"])(rows[0])
    Augment(["blur"], pool=dataset.select([0]))


def test_a_sample_is_never_its_own_other(dataset: Any, rows: list[dict[str, Any]]) -> None:
    for pool in (dataset, rows, [*rows, *rows]):
        for seed in range(12):
            row = Augment(["splice:1x2"], seed=seed, pool=pool)(pool[0])
            assert len(row["prompt"].split(" | ")) == 2
    all_five = Augment(["splice:2x2", "splice:1x2"], pool=dataset)(dataset[0])["prompt"].split(" | ")
    assert "prompt 0" in all_five


def test_rows_without_an_id_are_told_apart_by_their_images(rows: list[dict[str, Any]]) -> None:
    del rows[0]["sample_id"], rows[1]["sample_id"]
    made = Augment(["splice:1x2"], pool=rows[:2])(rows[0])
    assert sorted(made["prompt"].split(" | ")) == ["prompt 0", "prompt 1"]


def test_a_row_that_names_a_file_is_refused(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    (tmp_path / "image.png").write_bytes(rows[0]["image"]["bytes"])
    stored = {**rows[0], "image": {"path": str(tmp_path / "image.png"), "bytes": None}}
    with pytest.raises(DataError, match="not opened"):
        Augment(["splice:1x2"], pool=rows[:2])(stored)


@pytest.mark.parametrize(
    ("column", "cell", "message"),
    [
        (
            "label",
            None,
            "column label: expected a picture as datasets.Image gives it, got NoneType; .* without with_format",
        ),
        ("image", np.zeros((24, 32, 3)), "column image: expected a picture .* got ndarray"),
    ],
)
def test_rows_that_are_not_ours(rows: list[dict[str, Any]], column: str, cell: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Augment(["blur"])({**rows[0], column: cell})


def test_a_stream_is_no_pool(dataset: Any) -> None:
    with pytest.raises(RecipeError, match="pool: expected a map-style dataset or a list of rows, got IterableDataset"):
        Augment(["splice"], pool=dataset.to_iterable_dataset())


def test_a_recipe_field(planted: dict[str, Any], cache_dir: str, generated: Callable[[], int]) -> None:
    fields = {**planted, "num_samples": 6, "split": "train", "cache_dir": cache_dir}
    plain = datasets.load_dataset("diffumask", **fields)
    made = datasets.load_dataset("diffumask", augment=["splice:2x2"], keep_heat_maps=True, **fields)
    assert generated() <= 16
    assert plain["sample_id"][0].split("-")[0] != made["sample_id"][0].split("-")[0]
    for row in made:
        check_row(row)
        assert row["image"].size == (64, 48)
        assert set(row["classes"]) <= set(row["heat_maps"]["category"])
    assert max(len(row["classes"]) for row in made) >= 2


def test_a_sample_of_an_augmented_recipe_depends_on_its_index_alone(planted: dict[str, Any], tmp_path: Path) -> None:
    from diffumask_datasets.generation.prepare import prepare
    from diffumask_datasets.generation.samples import GeneratedSamples, Runtime
    from diffumask_datasets.recipes.recipe import Recipe

    steps = ["splice:2x2", {"kind": "blur", "probability": 0.5}, {"kind": "compose", "min_quality": 0.1}]
    recipe = prepare(Recipe.of(**planted, augment=steps))

    def rows_of(start: int, stop: int, name: str, **runtime: Any) -> dict[int, Any]:
        return dict(GeneratedSamples(recipe, Runtime(store=tmp_path / name, **runtime)).rows(start, stop))

    straight = rows_of(0, 20, "one")
    assert rows_of(17, 19, "two") == {index: straight[index] for index in (17, 18)}
    assert rows_of(3, 6, "three", batch_size=4) == {index: straight[index] for index in (3, 4, 5)}


def test_a_stream_generates_what_the_first_sample_needs(
    planted: dict[str, Any], cache_dir: str, generated: Callable[[], int]
) -> None:
    stream = datasets.load_dataset(
        "diffumask", streaming=True, split="train", augment="splice:2x2", cache_dir=cache_dir, **planted
    )
    check_row(next(iter(stream)))
    assert generated() == 4


def test_a_recipe_with_a_grid_larger_than_its_image(planted: dict[str, Any]) -> None:
    from diffumask_datasets.recipes.recipe import Recipe

    with pytest.raises(RecipeError, match="the grid 8x8 is too large for an image of 24x64"):
        Recipe.of(**{**planted, "height": 24, "augment": ["splice:8x8"]})


def test_augment_is_in_the_digest() -> None:
    from diffumask_datasets.recipes.recipe import Recipe

    plain = Recipe.of(classes=["car"])
    assert Recipe.of(classes=["car"], augment=[]).digest == plain.digest
    one = Recipe.of(classes=["car"], augment="splice:2x2")
    assert one.digest == Recipe.of(classes=["car"], augment=[{"kind": "splice", "grid": "2x2"}]).digest != plain.digest
    assert Recipe.of(**one.model_dump(mode="json")) == one
