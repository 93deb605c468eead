from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from diffumask_datasets.captions import count_co_occurrence, fingerprint_captions, mentions, read_captions
from diffumask_datasets.errors import RecipeError

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


def test_co_occurrence_counts_captions_not_mentions() -> None:
    words = (("car", "car"), ("boat", "boat"), ("tree", "tree"))
    counted = count_co_occurrence(["car boat car", "boat car", "tree"], words)
    assert counted == {"car": {"boat": 2.0}, "boat": {"car": 2.0}, "tree": {}}


def test_sources_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text(" \n")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    (tmp_path / "bad.parquet").write_text("no parquet")
    pq.write_table(pa.table({"captions": ["a"], "number": [1]}), tmp_path / "c.parquet")
    cases = {
        ("empty.txt", "caption"): "holds no caption",
        ("latin.txt", "caption"): "expected UTF-8 text, one caption a line",
        ("bad.parquet", "caption"): "cannot read the captions",
        ("c.parquet", "caption"): r"no column 'caption' \(did you mean 'captions'\?\); it has: captions, number",
        ("c.parquet", "number"): "expected texts in the caption column, got int",
        ("none.txt", "caption"): "no captions at",
    }
    for (name, column), message in cases.items():
        with pytest.raises(RecipeError, match=message):
            read_captions(str(tmp_path / name), column=column)
