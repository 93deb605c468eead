from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from datasets import load_dataset

from diffumask_datasets import generate
from diffumask_datasets.augmentation.folder import augment_folder
from diffumask_datasets.dataset.reader import open_dataset
from diffumask_datasets.errors import ExportError, ReviewError
from diffumask_datasets.review import Decision, apply_decisions, decisions_text, read_decisions
from tests.helpers.command import diffumask_here


@pytest.fixture
def folder(planted: dict[str, Any], tmp_path: Path) -> Path:
    generate(tmp_path / "ds", splits={"train": 6, "validation": 2}, **planted)
    return tmp_path / "ds"


def ids(folder: Path) -> list[str]:
    return [row["sample_id"] for _, row in open_dataset(folder).rows()]


def ends(folder: Path) -> list[int]:
    return [int(sample_id[-8:]) for sample_id in ids(folder)]


def verdicts(
    folder: Path, *, accepted: list[int] | tuple[int, ...] = (), rejected: list[int] | tuple[int, ...] = ()
) -> Any:
    digest = ids(folder)[0][:12]
    given = {"accepted": accepted, "rejected": rejected}
    decisions = [Decision(f"{digest}-{k:08d}", verdict) for verdict, indices in given.items() for k in indices]
    return {decision.sample_id: decision for decision in decisions}


def test_the_accepted_subset(folder: Path, tmp_path: Path, generated: Callable[[], int]) -> None:
    before = generated()
    decisions = verdicts(folder, accepted=[1, 4, 90_000_001], rejected=[0])
    done = apply_decisions(folder, decisions, tmp_path / "good")
    assert (done.accepted, done.rejected, done.undecided, done.fresh) == (3, 1, 4, 0)
    assert ends(tmp_path / "good") == [1, 4, 90_000_001]
    assert read_decisions(tmp_path / "good" / "decisions.jsonl") == decisions
    assert generated() == before


def test_the_accepted_subset_can_be_made_again(folder: Path, tmp_path: Path, cache_dir: str) -> None:
    apply_decisions(folder, verdicts(folder, accepted=[1, 4, 90_000_001]), tmp_path / "good")
    again = load_dataset("diffumask", recipe=str(tmp_path / "good"), store=str(tmp_path / "new"), cache_dir=cache_dir)
    assert [*again["train"]["sample_id"], *again["validation"]["sample_id"]] == ids(tmp_path / "good")
    recipe = yaml.safe_load((tmp_path / "good" / "recipe.yaml").read_text())
    assert (recipe["splits"], recipe["skip"]) == ({"train": 2, "validation": 1}, [0, 2, 3, 90_000_000])


def test_refill_until_the_asked_number_is_accepted(folder: Path, tmp_path: Path) -> None:
    first = verdicts(folder, accepted=[0, 2, 3], rejected=[1, 5, 90_000_000])
    done = apply_decisions(folder, first, tmp_path / "second", refill=True)
    assert (done.accepted, done.undecided, done.fresh) == (3, 2, 3)
    assert ends(tmp_path / "second") == [0, 2, 3, 4, 6, 7, 90_000_001, 90_000_002]
    # The fresh ones are looked at: one of them is bad, too.
    second = verdicts(folder, accepted=[4, 7, 90_000_001, 90_000_002], rejected=[6])
    apply_decisions(tmp_path / "second", second, tmp_path / "third", refill=True)
    assert ends(tmp_path / "third") == [0, 2, 3, 4, 7, 8, 90_000_001, 90_000_002]
    last = apply_decisions(tmp_path / "third", verdicts(folder, accepted=[8]), tmp_path / "done")
    assert (last.accepted, last.undecided) == (8, 0)
    assert len(read_decisions(tmp_path / "done" / "decisions.jsonl")) == 12


def test_what_is_kept_is_kept_to_the_byte(folder: Path, tmp_path: Path) -> None:
    apply_decisions(folder, verdicts(folder, rejected=[1]), tmp_path / "refilled", refill=True)
    rows = {row["sample_id"]: row for _, row in open_dataset(folder).rows()}
    kept = [row for _, row in open_dataset(tmp_path / "refilled").rows() if row["sample_id"] in rows]
    assert len(kept) == 7
    assert all(row == rows[row["sample_id"]] for row in kept)


def test_decisions_outlive_a_regeneration(folder: Path, planted: dict[str, Any], tmp_path: Path) -> None:
    decisions = verdicts(folder, accepted=[0], rejected=[1, 700])
    generate(tmp_path / "again", num_samples=3, store=tmp_path / "other store", **planted)
    done = apply_decisions(tmp_path / "again", decisions, tmp_path / "good")
    assert (done.accepted, done.rejected) == (1, 1)


def test_a_folder_is_replaced_by_its_own_subset(folder: Path) -> None:
    apply_decisions(folder, verdicts(folder, accepted=[2, 3]), folder)
    assert ends(folder) == [2, 3]


def test_decisions_for_another_dataset(folder: Path, tmp_path: Path) -> None:
    foreign = {"ffffffffffff-00000001": Decision("ffffffffffff-00000001", "accepted")}
    with pytest.raises(ReviewError, match=r"1 decisions are for samples of another dataset \(ffffffffffff-00000001…\)"):
        apply_decisions(folder, foreign, tmp_path / "good")
    assert not (tmp_path / "good").exists()


def test_ids_of_an_augmented_dataset_of_labelled_images_are_known_by_what_they_begin_with(
    folder: Path, tmp_path: Path
) -> None:
    recipe = yaml.safe_load((folder / "recipe.yaml").read_text())
    (folder / "recipe.yaml").write_text(yaml.safe_dump({**recipe, "labelled": {"images": 8, "digest": "0123456789ab"}}))
    augment_folder(folder, tmp_path / "augmented", augment="blur")
    # The last was rejected in a review before, so that it is gone.
    decisions = verdicts(tmp_path / "augmented", accepted=[0], rejected=[77])
    done = apply_decisions(tmp_path / "augmented", decisions, tmp_path / "good")
    assert (done.accepted, done.rejected) == (1, 0)
    assert ends(tmp_path / "good") == [0]


def test_nothing_accepted(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ReviewError, match=r"nothing is accepted yet \(1 of 8 samples are decided\)"):
        apply_decisions(folder, verdicts(folder, rejected=[1]), tmp_path / "good")


def test_targets_and_sources_that_are_not_ours(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="is no dataset folder"):
        apply_decisions(tmp_path / "none", {}, tmp_path / "good")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_text("")
    with pytest.raises(ExportError, match="not a dataset of ours"):
        apply_decisions(folder, verdicts(folder, accepted=[1]), tmp_path / "photos")


def test_the_command(folder: Path, tmp_path: Path) -> None:
    anna, ben = tmp_path / "anna.jsonl", tmp_path / "ben.jsonl"
    anna.write_text(decisions_text(verdicts(folder, accepted=[1, 2]).values()))
    ben.write_text(decisions_text(verdicts(folder, accepted=[1], rejected=[2]).values()))
    command = ["review", str(folder), "--apply", "--output", "good", "--decisions", str(anna), "--decisions", str(ben)]
    refused = diffumask_here(*command, cwd=tmp_path)
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "reviewers disagree about 1 samples" in refused.stderr
    done = diffumask_here(*command, "--conflicts", "reject", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "wrote good: 1 accepted, 1 rejected, 6 undecided\n"), done.stderr
