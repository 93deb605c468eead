from pathlib import Path

import pytest

from diffumask_datasets.dataset.writer import write_folder
from diffumask_datasets.recipes.recipe import Recipe
from tests.conftest import PLANTED
from tests.helpers.made_datasets import drawn


@pytest.fixture
def ds(tmp_path: Path) -> Path:
    """Four drawn samples of 56x40 (width x height): made-0000 to made-0002 in train, made-0009 in validation."""
    rows = {"train": [drawn(0), drawn(1), drawn(2)], "validation": [drawn(9)]}
    sizes = {split: len(found) for split, found in rows.items()}
    write_folder(tmp_path / "ds", rows, recipe=Recipe.of(**PLANTED), sizes=sizes)
    return tmp_path / "ds"
