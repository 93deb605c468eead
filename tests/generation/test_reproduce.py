import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from diffumask_datasets import generate, push, reproduce
from diffumask_datasets.dataset.reader import open_dataset
from diffumask_datasets.dataset.writer import write_folder
from diffumask_datasets.errors import RecipeError
from diffumask_datasets.generation.prepare import prepare
from diffumask_datasets.recipes.recipe import Recipe
from tests.helpers.command import diffumask_here
from tests.helpers.hub_server import GOOD_TOKEN, LocalHub


@pytest.fixture
def folder(planted: dict[str, Any], tmp_path: Path) -> Path:
    generate(tmp_path / "ds", splits={"train": 3, "validation": 2}, **planted)
    return tmp_path / "ds"


def ids(folder: Path) -> list[str]:
    return [row["sample_id"] for _, row in open_dataset(folder).rows()]


@pytest.mark.parametrize("number", [1, 4])
def test_a_sample_is_made_again_and_not_read_from_the_store(
    folder: Path, generated: Any, tmp_path: Path, number: int
) -> None:
    sample_id = ids(folder)[number]
    before = generated()
    done = reproduce(sample_id, recipe=folder, output=tmp_path / "again")
    assert done.identical
    assert generated() == before + 1
    label = np.asarray(Image.open(tmp_path / "again" / f"{sample_id}-label.png"))
    original = next(row for _, row in open_dataset(folder).rows() if row["sample_id"] == sample_id)
    np.testing.assert_array_equal(label, np.asarray(Image.open(io.BytesIO(original["label"]["bytes"]))))


def test_a_difference_is_measured(folder: Path, planted: dict[str, Any], tmp_path: Path) -> None:
    rows = [row for _, row in open_dataset(folder).rows()][:1]
    label = np.array(Image.open(io.BytesIO(rows[0]["label"]["bytes"])))
    label[:12] = (label[:12] + 1) % 4  # a quarter of 48 lines, another class each
    buffer = io.BytesIO()
    Image.fromarray(label).save(buffer, "PNG")
    rows[0]["label"]["bytes"] = buffer.getvalue()
    write_folder(tmp_path / "touched", {"train": rows}, recipe=prepare(Recipe.of(**planted)), sizes={"train": 1})
    done = reproduce(rows[0]["sample_id"], recipe=tmp_path / "touched")
    assert (done.identical, done.mask_agreement, done.image_difference) == (False, 0.75, 0)


def test_from_the_hub(local_hub: LocalHub, folder: Path) -> None:
    push(folder, "me/boats", token=GOOD_TOKEN)
    before = len(local_hub.state.requests)
    assert reproduce(ids(folder)[4], recipe="me/boats").identical
    asked = local_hub.state.requests[before:]
    assert any("recipe.yaml" in request for request in asked)
    assert not any("instance/" in request for request in asked if "/resolve/" in request)


def test_a_recipe_without_data(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone" / "recipe.yaml").write_bytes((folder / "recipe.yaml").read_bytes())
    assert not reproduce(ids(folder)[0], recipe=tmp_path / "alone").compared


@pytest.mark.parametrize(
    ("sample_id", "message"),
    [
        ("../../etc/passwd", "is no sample id"),
        ("0123456789ab-00000000", "is not of the recipe"),
        ("{digest}-00000077", "holds no sample"),
    ],
)
def test_ids_that_are_not_there(folder: Path, sample_id: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        reproduce(sample_id.format(digest=ids(folder)[0][:12]), recipe=folder)


def test_the_command(folder: Path) -> None:
    done = diffumask_here("reproduce", ids(folder)[0], "--recipe", str(folder), cwd=folder)
    assert (done.returncode, done.stdout) == (0, f"{ids(folder)[0]}: identical, image and mask\n"), done.stderr
