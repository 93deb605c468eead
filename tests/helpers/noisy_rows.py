"""Images and masks as the rows of a dataset."""

from __future__ import annotations

from collections.abc import Sequence

import datasets
import numpy as np
import numpy.typing as npt

from diffumask_datasets.dataset.schema import png_cell
from diffumask_datasets.sample import BACKGROUND, IGNORE

Pixels = npt.NDArray[np.uint8]


def rows_of(images: Sequence[Pixels], labels: Sequence[Pixels], names: Sequence[str]) -> datasets.Dataset:
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "label": datasets.Image(),
            "classes": [datasets.ClassLabel(names=["background", *names])],
        }
    )
    cells = {
        "image": [png_cell(image) for image in images],
        "label": [png_cell(label) for label in labels],
        "classes": [sorted(set(np.unique(label).tolist()) - {BACKGROUND, IGNORE}) for label in labels],
    }
    return datasets.Dataset.from_dict(cells, features=features)
