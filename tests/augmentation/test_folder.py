from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from datasets import load_dataset

from diffumask_datasets import generate
from diffumask_datasets.augmentation.folder import augment_folder
from diffumask_datasets.dataset.checked_row import CheckedRow
from diffumask_datasets.dataset.reader import open_dataset
from diffumask_datasets.errors import ExportError, RecipeError
from diffumask_datasets.masks.rle import decode
from tests.helpers.scenes import check_row

COMPOSE = {"kind": "compose", "objects": [5, 5], "scale": [0.4, 0.6], "min_quality": 0.1}


@pytest.fixture
def source(planted: dict[str, Any], tmp_path: Path) -> Path:
    generate(tmp_path / "ds", splits={"train": 19, "validation": 3}, keep_heat_maps=True, **planted)
    return tmp_path / "ds"


def test_plain_datasets_reads_the_augmented_folder(source: Path, tmp_path: Path, cache_dir: str) -> None:
    augment_folder(source, tmp_path / "out", augment=["splice:2x2"], copies=2, originals=True)
    before = load_dataset(str(source), cache_dir=cache_dir)
    after = load_dataset(str(tmp_path / "out"), cache_dir=cache_dir)
    assert {name: split.num_rows for name, split in after.items()} == {"train": 57, "validation": 9}
    assert after["train"].features == before["train"].features
    ids = [*after["train"]["sample_id"], *after["validation"]["sample_id"]]
    assert len(set(ids)) == 66
    assert not set(ids) & set(before["train"]["sample_id"])
    for row in after["validation"]:
        check_row(row)
    assert after["train"][4]["prompt"] == before["train"][4]["prompt"]
    copies = [[row["prompt"] for row in after["train"].select(range(first, first + 19))] for first in (19, 38)]
    assert copies[0] != copies[1]
    own = set(before["validation"]["prompt"])
    assert {prompt for row in after["validation"] for prompt in row["prompt"].split(" | ")} <= own


def test_the_same_call_gives_the_same_bytes(source: Path, tmp_path: Path) -> None:
    def files(name: str, **options: Any) -> dict[str, bytes]:
        augment_folder(source, tmp_path / name, augment=["occlude", COMPOSE, "perspective"], **options)
        return {str(path.relative_to(tmp_path / name)): path.read_bytes() for path in (tmp_path / name).rglob("*.*")}

    assert files("one") == files("two") != files("three", seed=1)


def test_the_recipe_says_what_was_done(source: Path, tmp_path: Path) -> None:
    augment_folder(source, tmp_path / "out", augment="splice:2x2")
    augment_folder(tmp_path / "out", tmp_path / "again", augment="blur", seed=5)
    written = yaml.safe_load((tmp_path / "again" / "recipe.yaml").read_text())
    assert written["augmented"]["augment"][0]["kind"] == "blur"
    assert written["augmented"]["seed"] == 5
    assert written["augmented"]["of"]["augment"][0]["grid"] == "2x2"
    assert written["splits"] == {"train": 19, "validation": 3}


def test_a_dense_dataset(source: Path, tmp_path: Path) -> None:
    density = augment_folder(source, tmp_path / "out", augment=COMPOSE)
    rows = pq.read_table(tmp_path / "out" / "data").to_pylist()
    assert (density.images, density.objects) == (22, sum(len(row["objects"]["id"]) for row in rows))
    assert density.classes == sum(len(row["classes"]) for row in rows)
    for row in rows:
        check_row(row)
        assert 3 <= len(row["objects"]["id"]) <= 5
        assert set(row["classes"]) <= set(row["heat_maps"]["category"])
    sparse = sum(len(row["objects"]["id"]) < 5 for row in rows)
    assert sparse > 0
    assert str(density).endswith(f"; {sparse} of 22 images hold fewer than 5, as no more fit")
    written = yaml.safe_load((tmp_path / "out" / "recipe.yaml").read_text())
    assert written["augmented"]["augment"][0]["objects"] == [5, 5]
    assert open_dataset(tmp_path / "out").fewest_objects == 5
    assert open_dataset(source).fewest_objects == 0


def test_generating_says_once_how_many_images_hold_fewer_objects(
    planted: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    crowd = {**COMPOSE, "objects": [30, 40]}
    generate(tmp_path / "ds", num_samples=4, preview=True, **{**planted, "augment": crowd})
    assert [message for message in caplog.messages if "fewer" in message] == [
        "4 images hold fewer than 30 objects, as no more fit: take fewer or smaller ones"
    ]
    assert open_dataset(tmp_path / "ds").fewest_objects == 30


def test_the_recipe_says_which_classes_occur_together_and_which_are_stuff(
    planted: dict[str, Any], tmp_path: Path
) -> None:
    pairs = [["car", "boat", 0.0], ["boat", "car", 1.0]]
    generate(tmp_path / "ds", num_samples=6, **{**planted, "co_occurrence": pairs, "stuff": ["potted plant"]})
    augment_folder(tmp_path / "ds", tmp_path / "out", augment=COMPOSE)
    written = yaml.safe_load((tmp_path / "out" / "recipe.yaml").read_text())
    assert written["augmented"]["augment"][0]["stuff"] == ["potted plant"]
    assert sorted(written["augmented"]["augment"][0]["co_occurrence"]) == [["boat", "car", 1.0], ["car", "boat", 0.0]]


def test_a_part_of_a_dataset_gives_samples_of_other_ids(source: Path, tmp_path: Path) -> None:
    augment_folder(source, tmp_path / "whole", augment="splice:2x2")
    for path in (source / "data").glob("train-*"):
        table = pq.read_table(path)
        pq.write_table(table.slice(1), path)
    augment_folder(source, tmp_path / "part", augment="splice:2x2")
    whole, part = (set(pq.read_table(tmp_path / name / "data")["sample_id"].to_pylist()) for name in ("whole", "part"))
    assert (len(whole), len(part), whole & part) == (22, 21, set())


def test_what_happened_before_is_not_forgotten(source: Path, tmp_path: Path) -> None:
    file = source / "recipe.yaml"
    labelled = {"images": 19, "timesteps": [1], "digest": "abc"}
    file.write_text(file.read_text() + yaml.safe_dump({"labelled": labelled}))
    augment_folder(source, tmp_path / "out", augment="blur")
    written = yaml.safe_load((tmp_path / "out" / "recipe.yaml").read_text())
    assert (written["labelled"], written["augmented"]["of"]) == (labelled, None)


def test_curves_of_the_thresholds_stay(planted: dict[str, Any], tmp_path: Path) -> None:
    fields = {**planted, "threshold": "adaptive", "num_samples": 3}
    generate(tmp_path / "ds", keep_threshold_curve=True, **fields)
    augment_folder(tmp_path / "ds", tmp_path / "out", augment="splice:1x2")
    for row in pq.read_table(tmp_path / "out" / "data").to_pylist():
        assert len(row["threshold_curve"]["category"]) == len(row["threshold_curve"]["gamma"]) == 2
        assert set(row["classes"]) <= set(row["threshold_curve"]["category"])


def test_an_image_too_small_for_the_grid_leaves_nothing(planted: dict[str, Any], tmp_path: Path) -> None:
    generate(tmp_path / "ds", num_samples=2, **{**planted, "height": 24, "width": 24})
    with pytest.raises(RecipeError, match="the grid 8x8 is too large for an image of 24x24"):
        augment_folder(tmp_path / "ds", tmp_path / "out", augment="splice:8x8")
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "store") == ["ds"]


def test_bad_input(source: Path, planted: dict[str, Any], tmp_path: Path) -> None:
    generate(tmp_path / "single", num_samples=1, **planted)
    (tmp_path / "photos").mkdir()
    out = tmp_path / "out"
    cases: list[tuple[Any, Any, type[Exception], str]] = [
        (
            tmp_path / "single",
            {"augment": "splice:2x2"},
            RecipeError,
            "split 'train' holds 1 sample: .* need at least two",
        ),
        (source, {"augment": "splice:8x8", "copies": 0}, RecipeError, "copies: expected a number from 1 up, got 0"),
        (source, {"augment": "mixup"}, RecipeError, "unknown kind 'mixup'; there are: 'splice', "),
        (
            tmp_path / "photos",
            {"augment": "blur"},
            ExportError,
            r"photos is no dataset folder: expected data",
        ),
    ]
    for folder, options, error, message in cases:
        with pytest.raises(error, match=message):
            augment_folder(folder, out, **options)
        assert not out.exists()
    with pytest.raises(ExportError, match="is the source itself"):
        augment_folder(source, source, augment="blur")
    augment_folder(tmp_path / "single", out, augment="blur")


def test_amodal_masks_of_compositions(source: Path, tmp_path: Path, cache_dir: str) -> None:
    augment_folder(source, tmp_path / "out", augment=[COMPOSE, "blur"], keep_amodal=True, originals=True)
    rows = load_dataset(str(tmp_path / "out"), split="train", cache_dir=cache_dir)
    hidden = 0
    for number, row in enumerate(rows):
        if number < 19:
            assert row["amodal"] is None
            continue
        visible = [decode(dict(rle), tuple(rle["size"])) for rle in row["objects"]["segmentation"]]
        whole = [decode(dict(rle), tuple(rle["size"])) for rle in row["amodal"]]
        assert all((mask <= more).all() for mask, more in zip(visible, whole, strict=True))
        hidden += sum(int((more & ~mask).sum()) for mask, more in zip(visible, whole, strict=True))
    assert hidden > 0
    # Blurred, an object is still known as a whole; under another perspective it is not.
    augment_folder(tmp_path / "out", tmp_path / "again", augment="blur")
    augment_folder(tmp_path / "out", tmp_path / "turned", augment="perspective")
    before, again, turned = (
        [row for _, row in open_dataset(tmp_path / name).rows()] for name in ("out", "again", "turned")
    )
    assert [row["amodal"] for row in again] == [row["amodal"] for row in before]
    assert [row["amodal"] for row in turned] == [None] * len(turned)
    with pytest.raises(RecipeError, match=r"keep_amodal: .* make compose the last step; blur may follow"):
        augment_folder(source, tmp_path / "none", augment=[COMPOSE, "perspective"], keep_amodal=True)
    short = {**again[20], "amodal": again[20]["amodal"][1:]}
    with pytest.raises(ExportError, match=r"amodal: expected \d items, got \d"):
        CheckedRow.of(short, 3)
