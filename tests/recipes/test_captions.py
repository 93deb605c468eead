from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from diffumask_datasets.errors import RecipeError
from diffumask_datasets.recipes.captions import count_co_occurrence, fingerprint_captions, mentions, read_captions

TEXTS = ("a car", "a boat at sea")


def test_the_same_captions_from_every_kind_of_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "c.txt").write_text(" a  car\n\na boat at sea\na car\n")
    pq.write_table(pa.table({"caption": TEXTS, "other": [1, 2]}), tmp_path / "c.parquet")
    (tmp_path / "ds").mkdir()
    pq.write_table(pa.table({"text": [list(TEXTS), []]}), tmp_path / "ds" / "train.parquet")
    assert read_captions(str(tmp_path / "c.txt")) == TEXTS
    assert read_captions(str(tmp_path / "c.parquet")) == TEXTS
    assert read_captions(str(tmp_path / "ds"), column="text") == TEXTS


def test_a_fingerprint_knows_texts_and_order() -> None:
    assert fingerprint_captions(TEXTS) == fingerprint_captions(list(TEXTS)) != fingerprint_captions(TEXTS[::-1])


def test_mentions_in_reading_order_longest_first() -> None:
    words = (("car", "car"), ("plant", "plant"), ("potted plant", "potted plant"), ("automobile", "car"))
    text = "Potted plants beside a plant, an Automobile and a carpet"
    assert [(name, text[start:end]) for name, start, end in mentions(text, words)] == [
        ("potted plant", "Potted plants"),
        ("plant", "plant"),
        ("car", "Automobile"),
    ]


@pytest.mark.parametrize(
    ("word", "text", "said"),
    [
        ("fox", "two foxes run", "foxes"),
        ("berry", "Berries on a plate", "Berries"),
        ("toy", "toys", "toys"),
        ("bus", "a bus's door", "bus"),
        ("bus", "a bust", None),
        ("dog", "a hot-dog stand", "dog"),
        ("c++", "the C++ code", "C++"),
        ("bird", "a bİrd and a bird", "bird"),
        ("potted plant", "a potted planter", None),
    ],
)
def test_what_counts_as_a_mention(word: str, text: str, said: str | None) -> None:
    assert [text[start:end] for _, start, end in mentions(text, ((word, word),))] == ([said] if said else [])


def test_a_word_that_is_given_wins_over_a_plural() -> None:
    words = (("glass", "material"), ("glasses", "spectacles"))
    assert [name for name, _, _ in mentions("glass, glasses", words)] == ["material", "spectacles"]


def test_co_occurrence_counts_captions_not_mentions() -> None:
    words = (("car", "car"), ("boat", "boat"), ("tree", "tree"))
    counted = count_co_occurrence(["car boat car", "boat car", "tree"], words)
    assert counted == {"car": {"boat": 2.0}, "boat": {"car": 2.0}, "tree": {}}


def test_sources_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text(" \n")
    (tmp_path / "binary.txt").write_bytes(b"a\x81\xe9")
    (tmp_path / "bad.parquet").write_text("no parquet")
    pq.write_table(pa.table({"captions": ["a"], "number": [1]}), tmp_path / "c.parquet")
    cases = {
        ("empty.txt", "caption"): "holds no caption",
        (
            "binary.txt",
            "caption",
        ): "is no text in UTF-8, UTF-16 or Windows-1252; save it as UTF-8; expected one caption",
        ("bad.parquet", "caption"): "cannot read the captions",
        ("c.parquet", "caption"): r"no column 'caption' \(did you mean 'captions'\?\); it has: captions, number",
        ("c.parquet", "number"): "expected texts in the caption column, got int",
        ("none.txt", "caption"): "no captions at",
        ("none.csv", "caption"): "none.csv: expected a text file, one caption a line, a parquet file, or",
    }
    for (name, column), message in cases.items():
        with pytest.raises(RecipeError, match=message):
            read_captions(str(tmp_path / name), column=column)


@pytest.mark.parametrize("source", ["", "captions/none.txt", "none.parquet", "./a/b", "a/b/c"])
def test_a_file_that_is_missing_is_not_looked_for_on_the_hub(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets, "load_dataset", None)
    with pytest.raises(RecipeError, match=f"no captions at '{source}': give a text file"):
        read_captions(source)


def test_a_dataset_of_several_configs(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load_dataset(*arguments: str, **options: str) -> datasets.Dataset:
        asked.append((arguments, options))
        return datasets.Dataset.from_dict({"caption": TEXTS})

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert read_captions("me/captions", split="test", config="en", revision="abc") == TEXTS
    assert asked == [(("me/captions", "en"), {"split": "test", "revision": "abc"})]
