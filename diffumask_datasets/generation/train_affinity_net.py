"""Trains an affinity net on a finished dataset that kept its heat maps."""

from __future__ import annotations

import hashlib
import itertools
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from diffumask_datasets.dataset.atomic import atomic_file
from diffumask_datasets.dataset.reader import open_dataset
from diffumask_datasets.dataset.schema import Row, image_of, soft_maps_of
from diffumask_datasets.masks.quantization import dequantize
from diffumask_datasets.models.locks import model_lock

if TYPE_CHECKING:
    from diffumask_datasets.masks.affinity_net import AffinityNetSettings
    from diffumask_datasets.masks.affinity_training import AffinityTraining

__all__ = ["train_affinity"]


def train_affinity(
    dataset: str | Path,
    output: str | Path,
    *,
    settings: AffinityNetSettings | None = None,
    training: AffinityTraining | None = None,
    images: int = 1000,
) -> bool:
    """Trains one affinity net for all classes on the kept heat maps of a dataset.

    Args:
        dataset: A folder, a URL or a Hub dataset ``owner/name`` with the column ``heat_maps``.
        output: The file of the net.
        settings: The architecture.
        training: How it is trained.
        images: The most images that are learned from.

    Returns:
        False where ``output`` holds the net of the same samples and settings already.

    Raises:
        ExportError: ``dataset`` is no dataset or kept no heat maps.
        RecipeError: Nothing to learn from.
        ModelError: The backbone cannot be loaded, or ``output`` is some other file.
    """
    import torch

    from diffumask_datasets.masks.affinity_net import AffinityNet, AffinityNetSettings, read_facts, save_affinity_net
    from diffumask_datasets.masks.affinity_training import AffinityTraining, make_examples, train_affinity_net
    from diffumask_datasets.models.determinism import single_thread

    output = Path(output)
    settings, training = settings or AffinityNetSettings(), training or AffinityTraining()
    source = open_dataset(dataset)
    source.check_heat_maps()
    recipe = source.recipe
    identity = json.dumps([recipe.digest, images, asdict(settings), asdict(training)], sort_keys=True)
    key = hashlib.sha256(identity.encode()).hexdigest()[:16]
    if output.exists() and read_facts(output).get("key") == key:
        return False
    rows = itertools.islice((row for _, row in source.rows()), images)
    with (
        model_lock,
        single_thread(),
        torch.random.fork_rng(devices=[]),
        tqdm(total=training.epochs, unit="epoch", disable=None) as progress,
    ):
        torch.manual_seed(training.seed)
        examples = list(make_examples(map(_picture, rows), input_side=settings.input_side))
        net = AffinityNet.fresh(settings)

        def heard(epoch: int, loss: float) -> None:
            progress.set_postfix(loss=f"{loss:.3f}")
            progress.update()

        losses = train_affinity_net(net, examples, training, progress=heard)
    facts = {"key": key, "images": str(len(examples)), "loss": f"{losses[-1]:.4f}", "recipe": recipe.digest}
    with atomic_file(output) as draft:
        save_affinity_net(net, draft, facts=facts)
    return True


def _picture(row: Row) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    image = image_of(row)
    return image, dequantize(soft_maps_of(row)[1], height=image.shape[0], width=image.shape[1])
