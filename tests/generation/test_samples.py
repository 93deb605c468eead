import errno
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffumask_datasets.dataset.schema import decode_label
from diffumask_datasets.diffusion.fake_model import FakeModel, planted_mask
from diffumask_datasets.errors import ModelError, RecipeError, StoreError, TokenAlignmentError, UnknownClassError
from diffumask_datasets.generation.prepare import prepare
from diffumask_datasets.generation.samples import GeneratedSamples, Made, Runtime
from diffumask_datasets.prompts.sources import prompt_for
from diffumask_datasets.recipes.recipe import Recipe
from tests.conftest import PLANTED


def rows(recipe: Recipe, start: int, stop: int, **runtime: Any) -> dict[int, Any]:
    return dict(GeneratedSamples(recipe, Runtime(**runtime)).rows(start, stop))


def test_the_mask_is_what_was_planted(planted: dict[str, Any]) -> None:
    recipe = prepare(Recipe.of(**planted, classes_per_image=2))
    for index, row in rows(recipe, 0, 6).items():
        prompt = prompt_for(recipe, index)
        where = planted_mask(prompt, row["seed"], height=48, width=64)
        class_ids = np.array([0, *(recipe.classes.index(name) + 1 for name in prompt.categories)])
        np.testing.assert_array_equal(decode_label(row["label"]), class_ids[where])
        assert row["prompt"] == prompt.text
        assert row["sample_id"] == f"{recipe.digest}-{index:08d}"


def test_prompts_are_checked_once_whatever_the_number_of_shards(
    planted: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[int] = []
    monkeypatch.setattr(FakeModel, "check_prompts", lambda self, prompts: checked.append(1))
    recipe = prepare(Recipe.of(**planted, seed=4242))
    assert [len(rows(recipe, start, start + 2)) for start in (0, 2, 4)] == [2, 2, 2]
    assert checked == [1]


@settings(max_examples=15)
@given(
    batch_size=st.integers(1, 5),
    ranges=st.lists(st.tuples(st.integers(0, 12), st.integers(1, 6)), min_size=1, max_size=5),
)
def test_a_sample_depends_on_recipe_and_index_alone(
    tmp_path_factory: pytest.TempPathFactory, batch_size: int, ranges: list[tuple[int, int]]
) -> None:
    recipe = prepare(Recipe.of(**PLANTED))
    straight = rows(recipe, 0, 18, batch_size=batch_size, store=tmp_path_factory.mktemp("straight"))
    store = tmp_path_factory.mktemp("in pieces")
    for start, length in ranges:
        pieces = rows(recipe, start, start + length, batch_size=batch_size, store=store)
        assert pieces == {index: straight[index] for index in range(start, start + length)}


def test_batch_sizes_give_the_same_sample_here(planted: dict[str, Any], tmp_path: Path) -> None:
    recipe = prepare(Recipe.of(**planted))
    one, four, eight = (rows(recipe, 0, 9, batch_size=size, store=tmp_path / str(size)) for size in (1, 4, 8))
    assert one == four == eight


def test_the_store_is_asked_first(planted: dict[str, Any], generated: Callable[[], int]) -> None:
    recipe = prepare(Recipe.of(**planted))
    rows(recipe, 0, 8)
    rows(recipe, 0, 20)
    assert generated() == 20


def test_only_what_is_missing_is_generated(
    planted: dict[str, Any], generated: Callable[[], int], own_store: Path
) -> None:
    recipe = prepare(Recipe.of(**planted))
    whole = rows(recipe, 0, 6)
    (damaged,) = own_store.rglob("00000004.sample")
    damaged.write_bytes(damaged.read_bytes()[:-1])
    assert rows(recipe, 0, 6) == whole
    assert generated() == 7


def test_a_sample_under_another_ones_name_is_made_again(
    planted: dict[str, Any], generated: Callable[[], int], own_store: Path
) -> None:
    recipe = prepare(Recipe.of(**planted))
    first = rows(recipe, 0, 4)
    folder = own_store / recipe.digest / "00000"
    (folder / "00000002.sample").write_bytes((folder / "00000001.sample").read_bytes())
    before = generated()
    assert rows(recipe, 0, 4) == first
    assert generated() - before == 1


@pytest.fixture
def read_only(own_store: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Makes the store read-only when called, also for root, whom permissions do not stop."""

    def refuse(path: Any, *args: Any, own: Any = os.mkdir, **options: Any) -> None:
        if own_store in (Path(path), *Path(path).parents) and not Path(path).exists():
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        own(path, *args, **options)

    def begin() -> None:
        monkeypatch.setattr(os, "mkdir", refuse)
        monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)

    return begin


def test_a_complete_store_need_not_be_writable(
    planted: dict[str, Any], generated: Callable[[], int], own_store: Path, read_only: Callable[[], None]
) -> None:
    recipe = prepare(Recipe.of(**planted))
    first = rows(recipe, 0, 3)
    (own_store / recipe.digest / "drafts").rmdir()
    read_only()
    before = generated()
    assert rows(recipe, 0, 3) == first
    assert list(GeneratedSamples(recipe).fill(0, 3)) == [Made(0), Made(1), Made(2)]
    # One more is refused before anything is generated.
    with pytest.raises(
        StoreError, match=r"cannot write the sample store at .*: Read-only file system; free space or set"
    ):
        rows(recipe, 0, 4)
    assert generated() == before


def test_a_store_that_is_read_only_is_said_before_generating(
    planted: dict[str, Any], generated: Callable[[], int], read_only: Callable[[], None]
) -> None:
    recipe = prepare(Recipe.of(**planted))
    rows(recipe, 0, 1)
    read_only()
    before = generated()
    with pytest.raises(
        StoreError, match=r"cannot write the sample store at .*: no permission to write; free space or set"
    ):
        rows(recipe, 0, 2)
    assert generated() == before


def test_one_sample_is_one_generation(planted: dict[str, Any], generated: Callable[[], int]) -> None:
    next(GeneratedSamples(prepare(Recipe.of(**planted))).rows(0, 1000))
    assert generated() == 1


def test_seeds_differ_between_samples_and_recipes(planted: dict[str, Any]) -> None:
    first = [row["seed"] for row in rows(prepare(Recipe.of(**planted)), 0, 20).values()]
    other = [row["seed"] for row in rows(prepare(Recipe.of(**planted, seed=1)), 0, 20).values()]
    assert len({*first, *other}) == 40


def test_a_class_without_mask_is_said(planted: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        row = rows(prepare(Recipe.of(**{**planted, "min_area": 0.99})), 0, 1)[0]
    assert (row["quality"], row["classes"], row["threshold"]) == (0.0, [], [])
    assert "; its quality counts as 0" in caplog.text


def test_nan_is_an_error_and_stores_nothing(
    planted: dict[str, Any], monkeypatch: pytest.MonkeyPatch, own_store: Path
) -> None:
    recipe = prepare(Recipe.of(**planted))
    seed = rows(recipe, 0, 1)[0]["seed"]
    monkeypatch.setenv("DIFFUMASK_PLANTED_BROKEN", str(seed))
    with pytest.raises(ModelError, match="NaN"):
        rows(recipe, 0, 1, store=own_store / "fresh", dtype="anew")
    assert list((own_store / "fresh").rglob("*.sample")) == []


def test_sizes_the_model_cannot_make(planted: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match="height 8 cannot be generated"):
        rows(prepare(Recipe.of(**{**planted, "height": 8})), 0, 1)


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        (
            {"classes": ["bot"]},
            UnknownClassError,
            r"cannot generate 'bot' \(did you mean 'boat'\?\); it knows: car, boat",
        ),
        ({"classes": ["car"], "prompts": ["grass"]}, TokenAlignmentError, "names none of the classes"),
        ({"classes": ["car"], "model": "./nowhere"}, ModelError, "no model './nowhere'"),
        ({"classes": ["car"], "model": "planted", "revision": "old"}, ModelError, "not the revision 'old'"),
    ],
)
def test_a_recipe_that_cannot_work_is_refused_early(
    fields: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        prepare(Recipe.of(**fields))


def test_a_folder_that_is_no_pipeline(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"is not a diffusers pipeline: it has no model_index\.json"):
        prepare(Recipe.of(classes=["car"], model=str(tmp_path)))


def test_batch_size_is_positive() -> None:
    with pytest.raises(RecipeError, match="batch_size: expected a number from 1 up, got 0"):
        Runtime(batch_size=0)


def test_poor_samples_are_generated_again_with_seeds_of_their_own(
    planted: dict[str, Any], tmp_path: Path, generated: Callable[[], int]
) -> None:
    fields = {**planted, "min_area": 0.3}
    once = rows(prepare(Recipe.of(**fields)), 0, 12, store=tmp_path / "once")
    poor = [index for index, row in once.items() if not row["classes"]]
    assert 0 < len(poor) < 12
    before = generated()
    generator = GeneratedSamples(prepare(Recipe.of(**fields, max_attempts=6)), Runtime(store=tmp_path / "often"))
    often = dict(generator.rows(0, 12))
    assert generator.rejected == {"a class has no mask": generated() - before - 12}
    for index, row in often.items():
        assert (row["seed"] == once[index]["seed"]) == (index not in poor) or not row["classes"]
    assert sum(not row["classes"] for row in often.values()) < len(poor)
    # whatever the order, the batch and the neighbours
    alone = GeneratedSamples(generator.recipe, Runtime(batch_size=5, store=tmp_path / "alone"))
    for index in (11, poor[0], 3):
        assert next(alone.rows(index, index + 1))[1] == often[index]


def test_a_hopeless_sample_is_its_first_attempt_and_says_so(
    planted: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fields = {**planted, "min_area": 0.99}
    once = rows(prepare(Recipe.of(**fields)), 0, 1, store=tmp_path / "once")[0]
    caplog.clear()
    often = rows(prepare(Recipe.of(**fields, max_attempts=3, min_quality=0.5)), 0, 1, store=tmp_path / "often")[0]
    assert (often["seed"], often["quality"]) == (once["seed"], 0.0)
    assert caplog.text.count("no mask for") == 1


def test_min_quality_needs_attempts() -> None:
    with pytest.raises(RecipeError, match=r"min_quality 0\.5 needs max_attempts of 2 or more"):
        Recipe.of(classes=["car"], min_quality=0.5)
