import numpy as np
import pytest

from diffumask_datasets.dataset.schema import png_cell
from diffumask_datasets.errors import ModelError
from diffumask_datasets.review.features import embeddings_of, nearest, raw_disagreement


def images(count: int) -> list[np.ndarray]:
    return [np.random.default_rng(seed).integers(0, 256, (128, 128, 3), dtype=np.uint8) for seed in range(count)]


def test_raw_disagreement_is_one_minus_iou() -> None:
    label = np.array([[1, 1, 0, 0]], np.uint8)
    heat = png_cell(np.array([[255, 0, 128, 127]], np.uint8))
    row = {"heat_maps": {"category": [1], "map": [heat]}, "classes": [1], "threshold": [0.5]}
    # raw: columns 0 and 2; refined: columns 0 and 1; one of three in both
    assert raw_disagreement(row, label, normalization=None) == pytest.approx(1 - 1 / 3)
    # heat maps may be kept smaller than the image
    whole = png_cell(np.full((2, 2), 255, np.uint8))
    kept = {"heat_maps": {"category": [1], "map": [whole]}, "classes": [1], "threshold": [0.5]}
    assert raw_disagreement(kept, np.ones((8, 8), np.uint8)) == 0
    assert raw_disagreement({"classes": [1], "threshold": [0.5]}, label) is None


@pytest.mark.parametrize("model", ["planted", "toybox"])
def test_copies_are_neighbours(model: str) -> None:
    pictures = images(5)
    pictures[3] = pictures[1].copy()
    vectors = embeddings_of(pictures, model=model)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    neighbours, distances = nearest(vectors)
    assert (neighbours[1], neighbours[3]) == (3, 1)
    assert distances[1] == pytest.approx(0, abs=1e-5)
    assert distances[0] > 0.05


def test_few_images_have_no_neighbour() -> None:
    neighbours, distances = nearest(np.ones((1, 3), np.float32))
    assert (neighbours.tolist(), distances.tolist()) == ([-1], [2.0])


def test_a_checkpoint_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> None:
    from transformers import ViTConfig, ViTImageProcessor, ViTModel

    folder = tmp_path_factory.mktemp("vit")
    config = ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=32, patch_size=16
    )
    ViTModel(config).save_pretrained(folder)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    assert embeddings_of(images(4), model="toybox", checkpoint=folder).shape == (4, 16)


def test_a_checkpoint_is_never_downloaded(tmp_path: object) -> None:
    with pytest.raises(ModelError, match="is no folder with a transformers model"):
        embeddings_of(images(3), model="toybox", checkpoint="google/vit-base-patch16-224")
