import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffumask_datasets.errors import RecipeError
from diffumask_datasets.recipes.splits import SPLIT_STARTS, SplitPlan


@given(size=st.integers(1, 5000), num_shards=st.one_of(st.none(), st.integers(1, 200)), batch_size=st.integers(1, 64))
def test_shards_cover_every_index_once_in_order(size: int, num_shards: int | None, batch_size: int) -> None:
    plan = SplitPlan.of(num_samples=size, num_shards=num_shards, batch_size=batch_size)
    ((name, shards),) = plan.shards()
    assert name == "train"
    assert [index for start, stop in shards for index in range(start, stop)] == list(range(size))
    assert all(start < stop for start, stop in shards)
    if num_shards is not None:
        assert len(shards) == min(num_shards, size) or num_shards <= -(-size // batch_size) == len(shards)


def test_shards_are_cut_between_batches() -> None:
    ((_, shards),) = SplitPlan.of(num_samples=20, num_shards=2, batch_size=8).shards()
    assert shards == [(0, 8), (8, 20)]


def test_an_endless_stream_reads_in_order() -> None:
    ((_, shards),) = SplitPlan.of().shards()
    assert shards[:2] == [(0, 1000), (1000, 2000)]
    assert shards[-1][1] == SPLIT_STARTS["validation"]


def test_splits_share_no_index() -> None:
    plan = SplitPlan.of(splits={"train": 10, "validation": 5, "test": 5})
    ranges = [range(shards[0][0], shards[-1][1]) for _, shards in plan.shards()]
    assert len({index for indices in ranges for index in indices}) == 20


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_samples": 0}, "split 'train': expected a number of samples from 1 to 90000000, got 0"),
        ({"num_samples": -3}, "got -3"),
        ({"num_samples": 2.5}, "got 2.5"),
        ({"num_samples": True}, "got True"),
        ({"splits": {"validaton": 3}}, r"unknown split 'validaton' \(did you mean 'validation'\?\)"),
        ({"splits": {}}, "splits: name at least one"),
        ({"splits": {"train": 3}, "num_samples": 3}, "give num_samples or splits, not both"),
        ({"num_samples": 3, "num_shards": 0}, "num_shards: expected a number from 1 up, got 0"),
    ],
)
def test_bad_sizes(fields: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        SplitPlan.of(**fields)  # type: ignore[arg-type]


def test_only_a_stream_does_without_a_size() -> None:
    with pytest.raises(RecipeError, match=r"split 'train' has no size: give num_samples=\.\.\., or streaming=True"):
        SplitPlan.of().check_finite()


@given(
    size=st.integers(1, 300),
    skip=st.lists(st.integers(0, 400), max_size=60),
    num_shards=st.one_of(st.none(), st.integers(1, 20)),
    batch_size=st.integers(1, 16),
)
def test_skipped_indices_are_neither_made_nor_counted(
    size: int, skip: list[int], num_shards: int | None, batch_size: int
) -> None:
    plan = SplitPlan.of(num_samples=size, skip=skip, num_shards=num_shards, batch_size=batch_size)
    ((_, shards),) = plan.shards()
    indices = [index for start, stop in shards for index in range(start, stop)]
    assert indices == [index for index in range(size + 401) if index not in skip][:size]
    assert all(start < stop for start, stop in shards)


def test_each_split_skips_its_own_indices() -> None:
    shards = dict(SplitPlan.of(splits={"train": 3, "validation": 2}, skip=[1, 90_000_000]).shards())
    assert shards["train"] == [(0, 1), (2, 3), (3, 4)]
    assert [index for start, stop in shards["validation"] for index in range(start, stop)] == [90_000_001, 90_000_002]


@pytest.mark.parametrize("skip", ["12", [1.5], [-1], [True], [100_000_000]])
def test_bad_skips(skip: list[int]) -> None:
    with pytest.raises(RecipeError, match="skip: expected indices, as in sample ids, from 0 to 99999999"):
        SplitPlan.of(num_samples=3, skip=skip)
