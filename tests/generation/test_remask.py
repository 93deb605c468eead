"""Masks made again from kept heat maps are those that generating would have made."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from datasets import load_dataset

from diffumask_datasets.dataset.decisions import Decision, decisions_text
from diffumask_datasets.dataset.reader import open_dataset
from diffumask_datasets.dataset.schema import decode_label
from diffumask_datasets.errors import ExportError, ModelError, RecipeError
from diffumask_datasets.generation.generate import generate
from diffumask_datasets.generation.remask import remask
from diffumask_datasets.generation.train_affinity_net import train_affinity
from diffumask_datasets.masks.affinity_net import AffinityNetSettings, read_facts
from diffumask_datasets.masks.affinity_training import AffinityTraining
from diffumask_datasets.recipes.file import read_recipe_file
from diffumask_datasets.recipes.recipe import Recipe


def table(folder: Path) -> list[dict[str, Any]]:
    return [row for path in sorted((folder / "data").glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


@pytest.fixture
def kept(planted: dict[str, Any], tmp_path: Path) -> Path:
    generate(tmp_path / "ds", splits={"train": 3, "validation": 1}, keep_heat_maps=True, classes_per_image=2, **planted)
    return tmp_path / "ds"


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"threshold": "adaptive", "refinement": "densecrf", "ignore_margin": 0.1},
        {"threshold": 0.05, "unary": "hard"},
        {"min_area": 0.2},
    ],
)
def test_the_result_is_what_generating_gives(
    changes: dict[str, Any], kept: Path, planted: dict[str, Any], tmp_path: Path
) -> None:
    recipe = remask(kept, tmp_path / "again", **changes)
    fields = {**planted, **changes, "classes_per_image": 2}
    generate(tmp_path / "anew", splits={"train": 3, "validation": 1}, keep_heat_maps=True, **fields)
    assert table(tmp_path / "again") == table(tmp_path / "anew")
    assert (tmp_path / "again" / "recipe.yaml").read_text() == (tmp_path / "anew" / "recipe.yaml").read_text()
    assert recipe == open_dataset(tmp_path / "anew").recipe


def test_nothing_is_generated_and_plain_datasets_reads_it(
    kept: Path, tmp_path: Path, generated: Any, cache_dir: str
) -> None:
    before = generated()
    remask(kept, tmp_path / "again", threshold=0.05)
    assert generated() == before
    rows = load_dataset(str(tmp_path / "again"), split="train", cache_dir=cache_dir)
    assert rows.num_rows == 3
    assert set(np.unique(decode_label(rows[0]["label"]))) > {0}
    assert rows[0]["threshold"] == pytest.approx([0.05] * len(rows[0]["classes"]))


def test_the_threshold_curve_is_kept_when_asked_for(planted: dict[str, Any], tmp_path: Path, cache_dir: str) -> None:
    fields = {**planted, "threshold": "adaptive"}
    generate(tmp_path / "ds", num_samples=1, keep_heat_maps=True, keep_threshold_curve=True, **fields)
    rows = load_dataset(str(tmp_path / "ds"), split="train", cache_dir=cache_dir)
    kept = {"keep_heat_maps": True, "keep_threshold_curve": True}
    built = load_dataset("diffumask", num_samples=1, split="train", cache_dir=cache_dir, **kept, **fields)
    curve = rows[0]["threshold_curve"]
    assert curve == built[0]["threshold_curve"]
    assert curve["category"] == rows[0]["heat_maps"]["category"]
    assert len(curve["gamma"][0]) == len(curve["score"][0]) == 15
    # fractions 0.15 … 0.85 of the range of the map
    assert np.diff(curve["gamma"][0]).min() > 0
    legal = [g for g, s in zip(curve["gamma"][0], curve["score"][0], strict=True) if s == max(curve["score"][0])]
    assert rows[0]["threshold"][0] in legal
    remask(tmp_path / "ds", tmp_path / "again", threshold=0.5)
    assert table(tmp_path / "again")[0]["threshold_curve"]["gamma"] == [[]]


def test_an_affinity_net_is_trained_once_and_used(kept: Path, tmp_path: Path) -> None:
    file = tmp_path / "affinity.safetensors"
    settings = AffinityNetSettings(channels=4, input_side=64)
    training = AffinityTraining(epochs=25)
    assert train_affinity(kept, file, settings=settings, training=training)
    assert read_facts(file)["images"] == "4"
    before = file.stat().st_mtime_ns
    assert not train_affinity(kept, file, settings=settings, training=training)
    assert file.stat().st_mtime_ns == before
    plain = table(kept)
    for number, threshold in enumerate([0.5, "affinity"]):
        out = tmp_path / f"out{number}"
        recipe = remask(kept, out, affinity="affinitynet", affinity_net=str(file), threshold=threshold)
        assert len(recipe.affinity_net_revision or "") == 16
        rows = table(out)
        assert len(rows) == 4
        assert rows[0]["heat_maps"] == plain[0]["heat_maps"]
        assert rows[0]["image"] == plain[0]["image"]
    gammas = [gamma for row in table(tmp_path / "out1") for gamma in row["threshold"]]
    assert gammas
    assert all(0.349 < gamma < 0.541 for gamma in gammas)
    file.write_bytes(file.read_bytes() + b" ")
    with pytest.raises(ModelError, match="has content"):
        remask(tmp_path / "out0", tmp_path / "out2", trust_recipe=True)


def test_only_the_user_has_a_net_of_a_recipe_followed(tmp_path: Path, planted: dict[str, Any]) -> None:
    generate(tmp_path / "ds", num_samples=2, keep_heat_maps=True, **planted)
    recipe = tmp_path / "ds" / "recipe.yaml"
    fields = yaml.safe_load(recipe.read_text(encoding="utf-8"))
    fields |= {"affinity": "affinitynet", "affinity_net": "/srv/net.safetensors"}
    recipe.write_text(yaml.safe_dump(fields), encoding="utf-8")
    with pytest.raises(
        RecipeError, match=r"names the local affinity_net '/srv/net.safetensors', .* add --trust-recipe"
    ):
        remask(tmp_path / "ds", tmp_path / "x", threshold=0.4)
    for own in ({"trust_recipe": True}, {"affinity_net": "/srv/net.safetensors"}):
        with pytest.raises(ModelError, match="no affinity net '/srv/net"):
            remask(tmp_path / "ds", tmp_path / "x", threshold=0.4, **own)
    remask(tmp_path / "ds", tmp_path / "x", threshold=0.4, affinity=None, affinity_net=None)


def test_what_cannot_be_made_again(kept: Path, planted: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"unknown field 'treshold' \(did you mean 'threshold'\?\)"):
        remask(kept, tmp_path / "x", treshold=0.4)
    with pytest.raises(RecipeError, match="unknown parameter 'bins' of the threshold 'otsu'; parameters: none"):
        remask(kept, tmp_path / "x", threshold={"kind": "otsu", "bins": 3})
    with pytest.raises(RecipeError, match="self-attention exists only while the images are made"):
        remask(kept, tmp_path / "x", affinity="self-attention")
    with pytest.raises(RecipeError, match="threshold 'affinity' needs affinity="):
        remask(kept, tmp_path / "x", threshold="affinity")
    with pytest.raises(RecipeError, match="affinity_net='FILE' go together"):
        remask(kept, tmp_path / "x", affinity="affinitynet")
    with pytest.raises(ModelError, match="no affinity net"):
        remask(kept, tmp_path / "x", affinity="affinitynet", affinity_net=str(tmp_path / "none"))
    with pytest.raises(ExportError, match="is the dataset itself"):
        remask(kept, kept)
    with pytest.raises(ExportError, match=r"is no dataset folder: expected data"):
        remask(tmp_path / "nowhere", tmp_path / "x")
    generate(tmp_path / "bare", num_samples=1, **planted)
    with pytest.raises(ExportError, match="kept no heat maps: generate with --keep-heat-maps"):
        remask(tmp_path / "bare", tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_a_self_attention_dataset_keeps_its_spread_maps(kept: Path, tmp_path: Path) -> None:
    """Its recipe says so; only the threshold and what comes after can be changed."""
    path = kept / "recipe.yaml"
    path.write_text(path.read_text().replace("affinity: null", "affinity: self-attention"))
    assert read_recipe_file(path)["affinity"] == "self-attention"
    recipe = remask(kept, tmp_path / "again", threshold=0.4)
    assert (recipe.affinity, recipe.threshold) == ("self-attention", 0.4)
    with pytest.raises(RecipeError, match="only the others were kept; generate again"):
        remask(kept, tmp_path / "x", threshold="affinity")
    with pytest.raises(RecipeError, match="those before it were not kept; generate again"):
        remask(kept, tmp_path / "x", affinity=None)


def test_none_is_a_choice_of_its_own() -> None:
    recipe = Recipe.of(classes=["car"], affinity=None, background=None)
    assert (recipe.affinity, recipe.background) == (None, None)


def test_corrections_that_are_lost_are_told(kept: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first, second, *_ = open_dataset(kept).split_of_ids()
    decisions = (Decision(first, "accepted"), Decision(second, "accepted", tags=("corrected",)))
    (kept / "decisions.jsonl").write_text(decisions_text(decisions))
    remask(kept, tmp_path / "again")
    told = [record.getMessage() for record in caplog.records if record.name.endswith("remask")]
    assert told == [f"1 samples were corrected by hand, {second} among them: the new masks do not have the corrections"]
