import base64
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from diffumask_datasets import generate, to_fiftyone
from diffumask_datasets.dataset.contact_sheet import class_colours
from diffumask_datasets.dataset.reader import open_dataset
from diffumask_datasets.dataset.schema import Row, decode_image, decode_label
from diffumask_datasets.diffusion.fake_model import planted_colour
from diffumask_datasets.errors import ReviewError
from diffumask_datasets.masks.rle import decode
from diffumask_datasets.review import Decision, apply_decisions, decisions_text
from diffumask_datasets.review.app import install_plugin, launch
from diffumask_datasets.review.fiftyone_dataset import decisions_of
from tests.conftest import PLANTED
from tests.helpers.browser import chromium

# FiftyOne's service object, told to connect to a running server, fails in __del__ as it has no child process to stop.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. .function Service.__del__:pytest.PytestUnraisableExceptionWarning"
)

SAMPLES = 200
CLASSES = PLANTED["classes"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("fiftyone")
    fields = {**PLANTED, "classes_per_image": 2}
    generate(root / "ds", num_samples=SAMPLES, keep_heat_maps=True, store=root / "store", **fields)
    return root / "ds"


@pytest.fixture(scope="module")
def rows(folder: Path) -> dict[str, Row]:
    return {row["sample_id"]: row for _, row in open_dataset(folder).rows()}


@pytest.fixture(scope="module")
def dataset(fiftyone_home: Path, folder: Path) -> Iterator[Any]:
    dataset = to_fiftyone(folder, "boats")
    yield dataset
    dataset.delete()


@pytest.fixture
def clean(dataset: Any) -> Any:
    """The dataset without verdicts."""
    dataset.untag_samples(dataset.distinct("tags"))
    dataset.clear_sample_field("reason")
    return dataset


def test_every_sample_is_there_with_its_masks_boxes_and_facts(dataset: Any, rows: dict[str, Row]) -> None:
    assert dataset.persistent
    assert dataset.count() == SAMPLES
    seen = 0
    for sample in dataset.iter_samples():
        row = rows[sample.sample_id]
        label = decode_label(row["label"])
        np.testing.assert_array_equal(sample.semantic.get_mask(), label)
        np.testing.assert_array_equal(np.asarray(Image.open(sample.filepath)), decode_image(row["image"]))
        assert (sample.prompt, sample.seed, sample.model) == (row["prompt"], row["seed"], "planted")
        assert sample.quality == pytest.approx(row["quality"])
        assert sample.classes == [CLASSES[class_id - 1] for class_id in row["classes"]]
        assert sample.threshold == pytest.approx(row["threshold"])
        heat = row["heat_maps"]
        for number, (class_id, cell) in enumerate(zip(heat["category"], heat["map"], strict=True), 1):
            found = sample[f"heat_map_{number}"]
            assert found.label == CLASSES[class_id - 1]
            np.testing.assert_array_equal(found.get_map(), decode_label(cell))
        for detection, category, bbox, rle in zip(
            sample.instances.detections,
            row["objects"]["category"],
            row["objects"]["bbox"],
            row["objects"]["segmentation"],
            strict=True,
        ):
            assert detection.label == CLASSES[category - 1]
            assert detection.bounding_box == pytest.approx(
                [v / s for v, s in zip(bbox, (64, 48) * 2, strict=True)], abs=1e-6
            )
            x, y, width, height = map(int, bbox)
            canvas = np.zeros((48, 64), bool)
            canvas[y : y + height, x : x + width] = detection.mask
            np.testing.assert_array_equal(canvas, decode(rle, canvas.shape))
            # FiftyOne's own conversion puts the mask where we mean it.
            full = detection.to_segmentation(frame_size=(64, 48)).mask
            np.testing.assert_array_equal(full > 0, decode(rle, full.shape))
            seen += 1
    assert seen == sum(len(row["objects"]["id"]) for row in rows.values()) > SAMPLES


def test_targets_colours_and_sidebar(dataset: Any) -> None:
    assert dataset.mask_targets["semantic"] == {0: "background", 1: "car", 2: "potted plant", 3: "boat", 255: "unsure"}
    fields = {field["path"]: field for field in dataset.app_config.color_scheme.fields}
    assert fields["semantic"]["maskTargetsColors"][:2] == [
        {"intTarget": 1, "color": "#800000"},
        {"intTarget": 2, "color": "#008000"},
    ]
    assert fields["instances"]["valueColors"][2] == {"value": "boat", "color": "#808000"}
    groups = {group.name: group.paths for group in dataset.app_config.sidebar_groups}
    assert groups["labels"] == ["semantic", "instances", "heat_map_1", "heat_map_2"]
    assert {"quality", "uniqueness", "raw_disagreement"} <= set(groups["quality"])
    assert {"filepath", "metadata.width", "metadata.height"} <= set(groups["metadata"])
    assert set(dataset.get_field_schema()) - {path for paths in groups.values() for path in paths} == {
        "tags",
        "metadata",
    }


def test_the_saved_views(clean: Any, rows: dict[str, Row]) -> None:
    ids = list(rows)
    clean.match({"sample_id": {"$in": ids[:3]}}).tag_samples("accepted")
    clean.match({"sample_id": ids[5]}).tag_samples("rejected")
    size = {name: len(clean.load_saved_view(name)) for name in clean.list_saved_views()}
    assert (size["accepted"], size["rejected"], size["undecided"]) == (3, 1, SAMPLES - 4)
    qualities = clean.load_saved_view("worst quality").values("quality")
    assert qualities == sorted(qualities)
    for name in CLASSES:
        assert size[f"class {name}"] == sum(CLASSES.index(name) + 1 in row["classes"] for row in rows.values()) > 0
    shares = [np.isin(decode_label(row["label"]), (1, 2, 3)).mean() for row in rows.values()]
    assert size["suspicious area"] == sum(share < 0.01 or share > 0.8 for share in shares)
    assert size["raw and refined disagree"] == 0  # the planted masks are exact
    assert size["near duplicates"] == sum(distance < 0.02 for distance in clean.values("nearest_distance"))


def test_the_brain_knows_neighbours_from_our_embeddings(dataset: Any) -> None:
    assert {"embedding", "similarity"} <= set(dataset.list_brain_runs())
    first = dataset.first()
    order = dataset.sort_by_similarity(first.id, brain_key="similarity", k=2).values("sample_id")
    assert order[0] == first.sample_id
    assert order[1] == first.nearest
    uniqueness = dataset.values("uniqueness")
    assert 0 <= min(uniqueness) < max(uniqueness) <= 1
    points = dataset.load_brain_results("embedding").points
    assert points.shape == (SAMPLES, 2)


def test_tags_become_decisions_and_a_dataset(clean: Any, rows: dict[str, Row], folder: Path, tmp_path: Path) -> None:
    ids = list(rows)
    good = clean.match({"sample_id": {"$in": ids[10:14]}})
    good.tag_samples(["accepted", "sharp"])
    bad = clean.match({"sample_id": ids[20]})
    bad.tag_samples("rejected")
    bad.set_field("reason", "two boats as one").save("reason")
    decisions = decisions_of("boats")
    assert decisions[ids[20]] == Decision(ids[20], "rejected", "two boats as one")
    assert decisions[ids[11]] == Decision(ids[11], "accepted", "", ("sharp",))
    apply_decisions(folder, decisions, tmp_path / "good")
    assert [row["sample_id"] for _, row in open_dataset(tmp_path / "good").rows()] == ids[10:14]


def test_verdicts_survive_a_new_import(clean: Any, rows: dict[str, Row], folder: Path, tmp_path: Path) -> None:
    ids = list(rows)
    small = tmp_path / "small"
    generate(small, num_samples=4, **{**PLANTED, "classes_per_image": 2})
    to_fiftyone(small, "again", embeddings=False).match({"sample_id": ids[1]}).tag_samples(["rejected", "blurred"])
    (small / "decisions.jsonl").write_text(decisions_text([Decision(ids[2], "accepted", "fine")]))
    again = to_fiftyone(small, "again", embeddings=False)
    assert decisions_of("again") == {
        ids[1]: Decision(ids[1], "rejected", "", ("blurred",)),
        ids[2]: Decision(ids[2], "accepted", "fine"),
    }
    assert "heat_map_1" not in again.get_field_schema()
    again.delete()


def test_verdicts_on_another_dataset_of_that_name_are_not_lost(dataset: Any, tmp_path: Path) -> None:
    for folder, seed in (("one/ds", 1), ("two/ds", 2)):
        generate(tmp_path / folder, num_samples=1, **{**PLANTED, "seed": seed})
    first = to_fiftyone(tmp_path / "one/ds", embeddings=False)
    to_fiftyone(tmp_path / "two/ds", embeddings=False)  # nothing was decided yet
    first = to_fiftyone(tmp_path / "one/ds", embeddings=False)
    first.tag_samples("accepted")
    with pytest.raises(ReviewError, match="'diffumask-ds' holds 1 verdicts for samples that are not in this one"):
        to_fiftyone(tmp_path / "two/ds", embeddings=False)
    assert [decision.verdict for decision in decisions_of("diffumask-ds").values()] == ["accepted"]
    # Written down, they may go.
    (tmp_path / "two/ds/decisions.jsonl").write_text(decisions_text(decisions_of("diffumask-ds").values()))
    to_fiftyone(tmp_path / "two/ds", embeddings=False).delete()


def test_both_verdicts_on_one_sample(clean: Any, rows: dict[str, Row]) -> None:
    clean.match({"sample_id": next(iter(rows))}).tag_samples(["accepted", "rejected"])
    with pytest.raises(ReviewError, match="is both accepted and rejected"):
        decisions_of("boats")


def test_no_such_dataset(dataset: Any) -> None:
    with pytest.raises(ReviewError, match="FiftyOne has no dataset 'cars'"):
        decisions_of("cars")


def test_the_operators_decide(clean: Any, fiftyone_home: Path) -> None:
    import fiftyone.operators as foo

    place = install_plugin()
    assert place.parent == fiftyone_home / "plugins"
    assert yaml.safe_load((place / "fiftyone.yml").read_text())["name"] == "@diffumask/review"
    names = [operator.uri for operator in foo.list_operators() if operator.uri.startswith("@diffumask")]
    assert sorted(names) == [
        f"@diffumask/review/{name}"
        for name in (
            *("accept_open_sample", "accept_samples", "clear_open_verdict", "clear_verdicts"),
            *("reject_open_sample", "reject_samples"),
        )
    ]
    ids = clean.values("id")[:2]
    sample_ids = clean.values("sample_id")[:2]

    def execute(name: str, selected: list[str], **params: Any) -> None:
        request = {"dataset": clean, "selected": selected}
        result = foo.execute_operator(f"@diffumask/review/{name}", request, params=params)
        assert result.result == {"count": len(selected)}, result.error
        clean.reload()

    execute("accept_samples", ids)
    execute("reject_samples", ids[:1], reason="no mast")
    assert decisions_of("boats") == {
        sample_ids[0]: Decision(sample_ids[0], "rejected", "no mast"),
        sample_ids[1]: Decision(sample_ids[1], "accepted"),
    }
    execute("clear_verdicts", ids)
    assert decisions_of("boats") == {}
    execute("accept_samples", [])
    execute("accept_open_sample", ids[:1])
    assert decisions_of("boats") == {sample_ids[0]: Decision(sample_ids[0], "accepted")}


def test_the_app_shows_the_grid_with_masks(clean: Any, app_port: int, tmp_path: Path) -> None:
    session = launch(clean, port=app_port, wait=False)
    try:
        with chromium(tmp_path, offline=False) as browser:
            browser.get(f"http://localhost:{app_port}/datasets/{clean.name}")
            WebDriverWait(browser, 240).until(
                lambda page: len(page.find_elements(By.CSS_SELECTOR, "[data-cy='looker'], [data-cy^='looker-']")) >= 10
            )
            WebDriverWait(browser, 120).until(masks_are_drawn)
            target = Path(os.environ.get("DIFFUMASK_SCREENSHOTS", tmp_path)) / "fiftyone.png"
            assert browser.save_screenshot(str(target))
            text = browser.find_element(By.TAG_NAME, "body").text
            assert "semantic" in text
            assert "instances" in text
    finally:
        session.close()


def masks_are_drawn(page: Any) -> bool:
    """Whether each planted colour is seen under half of its class colour, and never bare."""
    shot = Image.open(io.BytesIO(base64.b64decode(page.get_screenshot_as_base64()))).convert("RGB")
    grid = np.asarray(shot).astype(int)[150:, 300:]

    def pixels_of(colour: Any) -> int:
        return int((np.abs(grid - colour).max(axis=-1) < 16).sum())

    planted = [np.array(planted_colour(name)) for name in CLASSES]
    blended = [(bare + class_colours()[number].astype(int)) / 2 for number, bare in enumerate(planted, 1)]
    return min(map(pixels_of, blended)) > 500 and max(map(pixels_of, planted)) < 100


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        (
            {"FIFTYONE_DATABASE_URI": "mongodb://127.0.0.1:9/?serverSelectionTimeoutMS=300"},
            "FiftyOne cannot use its database",
        )
    ],
)
def test_no_database_names_three_mends(folder: Path, tmp_path: Path, environment: dict[str, str], message: str) -> None:
    command = [sys.executable, "-m", "diffumask_datasets", "review", str(folder), "--no-launch"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **environment})
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert message in line
    for mend in ("FIFTYONE_DATABASE_URI", "fiftyone-db", "libssl1.1", "--html"):
        assert mend in line


def test_the_example(fiftyone_home: Path, tmp_path: Path) -> None:
    example = Path(__file__).parent.parent.parent / "examples" / "review_in_fiftyone.py"
    command = [sys.executable, str(example), "--num-samples", "5", "--model", "planted", "--accept-best", "2"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    assert "wrote out/reviewed: 2 accepted, 0 rejected, 3 undecided" in done.stdout
    assert len(list(open_dataset(tmp_path / "out" / "reviewed").rows())) == 2
