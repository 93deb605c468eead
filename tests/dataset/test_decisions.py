from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffumask_datasets.errors import ReviewError
from diffumask_datasets.review import Decision, decisions_text, merge_decisions, read_decisions

TEXT = st.text()
DECISIONS = st.lists(
    st.builds(
        Decision,
        sample_id=st.text(min_size=1),
        verdict=st.sampled_from(["accepted", "rejected"]),
        reason=TEXT,
        tags=st.lists(TEXT, max_size=3).map(tuple),
    ),
    unique_by=lambda decision: decision.sample_id,
)


@given(decisions=DECISIONS)
def test_what_is_written_is_read(decisions: list[Decision]) -> None:
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        path = Path(folder, "decisions.jsonl")
        path.write_bytes(decisions_text(decisions).encode())
        assert read_decisions(path) == {decision.sample_id: decision for decision in decisions}


def test_the_lines_are_ordered_and_plain() -> None:
    text = decisions_text([Decision("b", "accepted"), Decision("a", "rejected", "Fußgänger fehlt", ("x",))])
    assert text == (
        '{"sample_id": "a", "verdict": "rejected", "reason": "Fußgänger fehlt", "tags": ["x"]}\n'
        '{"sample_id": "b", "verdict": "accepted", "reason": "", "tags": []}\n'
    )


def test_of_two_lines_the_later_holds(tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_text(
        '{"sample_id": "a", "verdict": "rejected"}\n\n{"sample_id": "a", "verdict": "accepted"}\n'
    )
    assert read_decisions(tmp_path / "d.jsonl") == {"a": Decision("a", "accepted")}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"sample_id": "a", "verdict": "acepted"}', r"line 1: verdict 'acepted' \(did you mean 'accepted'\?\)"),
        ('{"sample_id": "a"}', "line 1: expected"),
        ('{"sample_id": "a", "verdict": "accepted", "run": "rm"}', "line 1: expected"),
        ('{"sample_id": 3, "verdict": "accepted"}', "sample_id, reason and tags are text"),
        ('{"sample_id": "", "verdict": "accepted"}', "sample_id is not empty"),
        ('{"sample_id": "a", "verdict": "accepted", "tags": "x"}', "tags: expected a list of words"),
        ('{"sample_id": "a", "verdict": ["accepted"]}', "verdict"),
        ("[1]", "line 1: expected"),
        ("{", "line 1 is not JSON"),
    ],
)
def test_lines_that_are_no_decision(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "d.jsonl").write_text(line + "\n")
    with pytest.raises(ReviewError, match=message):
        read_decisions(tmp_path / "d.jsonl")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ReviewError, match=r"decisions: cannot read .*none\.jsonl"):
        read_decisions(tmp_path / "none.jsonl")


ANNA = {"a": Decision("a", "accepted", "fine", ("x",)), "b": Decision("b", "rejected")}
BEN = {
    "a": Decision("a", "accepted", "good", ("y", "x")),
    "b": Decision("b", "accepted"),
    "c": Decision("c", "accepted"),
}


def test_two_reviewers_who_disagree_are_refused() -> None:
    with pytest.raises(ReviewError, match=r"reviewers disagree about 1 samples \(b…\)"):
        merge_decisions([ANNA, BEN])


@pytest.mark.parametrize(
    ("files", "conflicts", "verdict"),
    [
        ([ANNA, BEN], "reject", "rejected"),
        ([BEN, ANNA], "reject", "rejected"),
        ([ANNA, BEN], "last", "accepted"),
        ([BEN, ANNA], "last", "rejected"),
    ],
)
def test_a_rule_settles_it(files: list[dict[str, Decision]], conflicts: str, verdict: str) -> None:
    merged = merge_decisions(files, conflicts=conflicts)
    assert merged["b"].verdict == verdict
    assert set(merged) == {"a", "b", "c"}


def test_reviewers_who_agree_are_joined() -> None:
    assert merge_decisions([ANNA, {"a": BEN["a"]}])["a"] == Decision("a", "accepted", "fine; good", ("x", "y"))


def test_an_unknown_rule() -> None:
    with pytest.raises(ReviewError, match="conflicts 'vote': expected error, reject, last"):
        merge_decisions([ANNA], conflicts="vote")
