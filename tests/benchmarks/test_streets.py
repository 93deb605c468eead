"""bench_streets by a drawn street of two classes: what is taught, what is counted, and which ways a segmenter is trained."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diffumask_datasets.recipes.captions import mentions
from diffumask_datasets.recipes.recipe import Recipe
from diffumask_datasets.sample import IGNORE
from tests.benchmarks import photos_data, streets_pairs
from tests.benchmarks.photos_data import StreetPhoto, street_classes
from tests.benchmarks.streets_label import COVERED, counted, mious_of, position_prior
from tests.benchmarks.streets_pairs import (
    TERMS,
    captions_of,
    classes_in,
    plain_caption,
    street_vocabulary,
    write_pairs,
)
from tests.benchmarks.streets_sizes import FULL, HOURS, QUICK, chosen_sizes
from tests.benchmarks.streets_train import WAYS, _figures_of, real_folder

HEIGHT, WIDTH = 60, 80


@pytest.fixture(autouse=True)
def camvid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sky over a road in every split, 60 x 80 pixels, with a ring of void."""
    label = np.full((HEIGHT, WIDTH), 1, np.uint8)
    label[30:] = 4
    label[:, :2] = IGNORE
    image = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    for split in ("train", "val", "test"):
        for kind, pixels in (("images", image), ("masks", label)):
            folder = tmp_path / "camvid" / kind / split
            folder.mkdir(parents=True)
            Image.fromarray(pixels).save(folder / f"a.{'jpg' if kind == 'images' else 'png'}")
    (tmp_path / "camvid" / "classes.txt").write_text("\n".join(TERMS))
    monkeypatch.setattr(photos_data, "PHOTOS", tmp_path)
    return tmp_path / "camvid"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_pairs_are_crops_and_captions_and_nothing_else(tmp_path: Path) -> None:
    pairs = contents(write_pairs(tmp_path / "pairs", QUICK))
    assert list(pairs) == ["00000.png", "00000.txt", "00001.png", "00001.txt"]
    assert Image.open(tmp_path / "pairs" / "00000.png").size == (64, 64)
    assert set(pairs["00000.txt"].decode().splitlines()[0].split()) == {"a", "photo", "of", "sky", "and", "road"}


def test_of_a_mask_only_the_names_of_its_classes_enter_a_pair(
    tmp_path: Path, camvid: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streets_pairs, "LEAST_SIDE", 1.0)
    one = contents(write_pairs(tmp_path / "one", QUICK))
    for path in (camvid / "masks").rglob("*.png"):
        label = np.array(Image.open(path))
        mixed = np.random.default_rng(1).permutation(label.ravel()).reshape(label.shape)
        Image.fromarray(mixed).save(path)
    assert contents(write_pairs(tmp_path / "other", QUICK)) == one


def test_captions_are_read_back_as_the_classes_that_they_were_made_of() -> None:
    names = list(TERMS)
    words = Recipe.of(classes=street_vocabulary(names)).words
    rng = np.random.default_rng(0)
    for shown in (names, ["sky"], ["car", "road"]):
        captions = [*captions_of(shown, rng), plain_caption(shown)]
        assert len(set(captions[:-1])) == 6
        for caption in captions:
            assert sorted(found for found, _, _ in mentions(caption, words)) == sorted(shown)
            # Start and end; each word and each comma is a token.
            assert 2 + len(caption.replace(",", " ,").split()) <= 32
    assert plain_caption(["sky", "car", "tree"]) == "a photo of sky, car and tree"


def test_a_class_is_named_from_a_five_hundredth_of_the_picture_on() -> None:
    label = np.full((100, 100), 1, np.uint8)
    label[0, :19] = 4
    assert classes_in(label, street_classes()) == ("sky",)
    label[0, :20] = 4
    assert classes_in(label, street_classes()) == ("sky", "road")
    assert classes_in(label, street_classes(), share=0.01) == ("sky",)


def test_crops_are_of_every_size_so_that_their_words_differ(tmp_path: Path) -> None:
    pairs = contents(write_pairs(tmp_path / "pairs", dataclasses.replace(QUICK, crops=30)))
    shown = {frozenset({"sky", "road"} & set(text.decode().split())) for name, text in pairs.items() if name[-1] == "t"}
    assert shown == {frozenset({"sky"}), frozenset({"road"}), frozenset({"sky", "road"})}


def test_labels_are_counted_against_the_masks() -> None:
    truth = np.array([[1, 1, 4, IGNORE]], np.uint8)
    photo = StreetPhoto("a", np.zeros((1, 4, 3), np.uint8), truth)
    counts = counted(photo, np.array([[1, IGNORE, 4, 9]], np.uint8))
    assert (counts[1, 1], counts[1, 0], counts[4, 4], counts.sum()) == (1, 1, 1, 3)
    assert mious_of(counts, street_classes()) == (0.75, 0.75)


def test_the_position_prior_knows_where_things_are_but_not_the_photo() -> None:
    label = np.full((HEIGHT, WIDTH), 4, np.uint8)
    label[-1] = 1
    (found,) = position_prior([StreetPhoto("b", np.zeros((HEIGHT, WIDTH, 3), np.uint8), label)], FULL)
    assert (found[:30, 2:] == 1).all()
    assert (found[30:, 2:] == 4).all()


def test_a_scene_that_its_classes_cover_is_asked_for() -> None:
    recipe = Recipe.of(classes=street_vocabulary(street_classes()), **COVERED)
    assert (recipe.background, recipe.min_area) == (None, 0.0005)
    assert recipe.words_of("pedestrian").terms == ("pedestrian", "person")


def test_real_photos_are_read_in_the_plain_layout(tmp_path: Path) -> None:
    tenth = real_folder(tmp_path / "work", FULL, "tenth")
    assert [path.name for path in (tenth / "masks").iterdir()] == ["a.png"]
    assert [way.name for way in WAYS if way.after] == ["synthetic_then_tenth"]


def test_figures_of_a_segmenter() -> None:
    names = ["background", *TERMS]
    counts = np.zeros((12, 12), np.int64)
    counts[10, 11], counts[11, 11], counts[9, 9], counts[9, 4] = 1, 1, 2, 2
    scores = {"classes": {name: {"iou": 0.5} for name in names}, "confusion": counts.tolist()}
    assert _figures_of(scores) == {"miou_11": 0.5, "miou_7": 0.5, "human": 1.0, "vehicle": 0.5}


def test_sizes_are_chosen_by_name() -> None:
    assert chosen_sizes(quick=False, variables={}) == FULL
    assert chosen_sizes(quick=False, variables={"SIZES": "hours"}) == HOURS
    assert chosen_sizes(quick=True, variables={}) == QUICK
    with pytest.raises(SystemExit, match="SIZES=huge: expected full or hours"):
        chosen_sizes(quick=False, variables={"SIZES": "huge"})
    with pytest.raises(SystemExit, match="SIZES=hours: expected quick"):
        chosen_sizes(quick=True, variables={"SIZES": "hours"})
