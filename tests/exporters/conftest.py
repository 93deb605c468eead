"""A dataset of three samples."""

from typing import Any

import pytest

from tests.helpers.made_datasets import dataset, drawn


@pytest.fixture
def three() -> Any:
    return dataset([drawn(number) for number in range(3)])
