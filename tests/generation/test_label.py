"""Images that exist already are labelled by the attention of a model that is shown them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from datasets import load_dataset
from PIL import Image

from diffumask_datasets.cli import main
from diffumask_datasets.dataset.image_folder import find_images
from diffumask_datasets.dataset.image_io import read_image
from diffumask_datasets.dataset.schema import decode_image, decode_label
from diffumask_datasets.diffusion.diffusion import DiffusersModel
from diffumask_datasets.errors import DataError, ModelError, RecipeError, ReviewError, TokenAlignmentError
from diffumask_datasets.exporters import export
from diffumask_datasets.generation.label import Labelled, label_folder
from diffumask_datasets.generation.observing import fitting_size
from diffumask_datasets.generation.remask import remask
from diffumask_datasets.recipes.file import read_recipe_file
from diffumask_datasets.recipes.recipe import Recipe
from diffumask_datasets.review.applying import apply_decisions
from tests.diffusion.conftest import pipeline_folder  # noqa: F401
from tests.diffusion.test_observation import FINEST, looking_at

SMALL = {"height": 64, "width": 64, "attention_grids": [8], "attention_layers": [FINEST], "refinement": None}
SMALL |= {
    "threshold": 0.5,
    "ignore_margin": 0.0,
    "min_area": 0.0,
    "attention": "equal",
    "competition": 0,
    "affinity": None,
}
"""Of the tiny pipeline: its finest layer, and masks that are nothing but its heat over a half."""


def save(path: Path, height: int = 64, width: int = 64, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)).save(path)


def table(folder: Path) -> list[dict[str, Any]]:
    return [row for path in sorted((folder / "data").glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


@pytest.fixture
def fields(pipeline_folder: Path) -> dict[str, Any]:  # noqa: F811
    return {**SMALL, "classes": ["car", "boat"], "model": str(pipeline_folder), "device": "cpu"}


@contextlib.contextmanager
def planted(
    monkeypatch: pytest.MonkeyPatch, token: int, region: torch.Tensor, method: str = "observe"
) -> Iterator[None]:
    """Within the block every tiny pipeline's finest layer looks at ``token`` inside ``region`` (8, 8) alone."""
    own = getattr(DiffusersModel, method)

    def look(self: DiffusersModel, *args: Any, **options: Any) -> Any:
        with looking_at(self.pipeline.unet.get_submodule(FINEST), token, region):
            return own(self, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(DiffusersModel, method, look)
        yield


def test_the_place_that_attends_to_the_word_is_labelled(tmp_path, fields, monkeypatch, cache_dir):
    """In an image of another size than the model's, which stays as it is; read by plain datasets."""
    save(tmp_path / "photos" / "one.png", 96, 96)
    (tmp_path / "photos" / "one.txt").write_text("a photo of a red car\n")
    region = torch.zeros(8, 8, dtype=torch.bool)
    region[1:4, 2:7] = True
    with planted(monkeypatch, 6, region):  # <start> a photo of a red car
        labelled = label_folder(tmp_path / "photos", tmp_path / "ds", timesteps=[100, 300], **fields)
    assert labelled == Labelled(1, {})
    (row,) = load_dataset(str(tmp_path / "ds"), split="train", cache_dir=cache_dir)
    assert np.array_equal(row["image"], read_image(tmp_path / "photos" / "one.png"))
    label = decode_label(table(tmp_path / "ds")[0]["label"])
    truth = np.kron(region.numpy(), np.ones((12, 12), bool))
    assert ((label == 1) & truth).sum() / ((label == 1) | truth).sum() > 0.85
    assert (row["prompt"], row["classes"]) == ("a photo of a red car", [1])
    assert read_recipe_file(tmp_path / "ds" / "recipe.yaml")["labelled"]["timesteps"] == [100, 300]


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"attention": "auto"}, r"attention 'auto' cannot be read from '.*': .*; take attention='equal'"),
        ({"affinity": "self-attention"}, r"affinity 'self-attention' cannot be read from '.*': .*; leave affinity out"),
    ],
)
def test_self_attention_that_a_model_does_not_show_is_refused(
    tmp_path: Path, fields: dict[str, Any], monkeypatch: pytest.MonkeyPatch, own: dict[str, Any], message: str
) -> None:
    observe = DiffusersModel.observe

    def without(*given: Any, **options: Any) -> Any:
        return replace(observe(*given, **options), affinities={})

    monkeypatch.setattr(DiffusersModel, "observe", without)
    save(tmp_path / "photos" / "car" / "one.png")
    with pytest.raises(RecipeError, match=message):
        label_folder(tmp_path / "photos", tmp_path / "ds", timesteps=[500], **{**fields, **own})
    assert not (tmp_path / "ds").exists()


def test_a_label_depends_on_image_prompt_and_recipe_alone(tmp_path, fields):
    """Not on the neighbours nor on the store; another image has other ids."""
    save(tmp_path / "a" / "car" / "one.png", seed=1)
    save(tmp_path / "b" / "aaa" / "zero.png", seed=2)
    save(tmp_path / "b" / "car" / "other.png", seed=1)
    for name in "ab":
        label_folder(tmp_path / name, tmp_path / f"ds-{name}", store=tmp_path / f"store-{name}", **fields)
    (alone,), (beside,) = table(tmp_path / "ds-a"), table(tmp_path / "ds-b")[1:]
    assert alone.pop("sample_id")[:12] != beside.pop("sample_id")[:12]
    assert alone == beside
    entries = [
        {path.name: path.read_bytes() for path in (tmp_path / f"store-{name}").rglob("*.sample")} for name in "ab"
    ]
    assert entries[0].items() < entries[1].items()  # nor on the folder
    label_folder(tmp_path / "b", tmp_path / "again", store=tmp_path / "store-a", **fields)
    assert table(tmp_path / "again") == table(tmp_path / "ds-b")


def test_two_processes_label_what_is_missing(tmp_path, fields):
    for number in range(3):
        save(tmp_path / "photos" / f"{number}.png", seed=number)
    label_folder(tmp_path / "photos", tmp_path / "one", store=tmp_path / "store", timesteps=[500], **fields)
    left = sorted((tmp_path / "store").rglob("*.sample"))[1:]
    before = [entry.read_bytes() for entry in left]
    for entry in left:
        entry.unlink()
    how = {"store": tmp_path / "store", "timesteps": [500], "workers": 2}
    (tmp_path / "photos").rename(tmp_path / "moved")
    with forbidden_here():
        label_folder(tmp_path / "moved", tmp_path / "two", **how, **fields)
    assert [entry.read_bytes() for entry in left] == before
    assert table(tmp_path / "two") == table(tmp_path / "one")


@contextlib.contextmanager
def forbidden_here() -> Iterator[None]:
    """No image is shown to a model of this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DiffusersModel, "observe", None)
        yield


def test_what_an_image_is_asked_for(tmp_path, fields):
    """Its caption, else the class of its sub-folder, else every class; a caption without a class leaves it out."""
    for name in ("captioned.png", "Boat/x.png", "plain.png", "bare.png"):
        save(tmp_path / "photos" / name)
    lines = [
        {"file_name": "captioned.png", "text": "a red car and a boat"},
        {"file_name": "bare.png", "text": "a photo"},
    ]
    (tmp_path / "photos" / "metadata.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    labelled = label_folder(tmp_path / "photos", tmp_path / "ds", timesteps=[500], split="validation", **fields)
    assert labelled == Labelled(3, {"without a class": ("bare.png",)})
    assert [row["prompt"] for row in table(tmp_path / "ds")] == [
        "a photo of a boat",
        "a red car and a boat",
        "a photo of a car and a boat",
    ]
    assert [path.name for path in (tmp_path / "ds" / "data").iterdir()] == ["validation-00000-of-00001.parquet"]


def test_captions_and_folders_in_another_spelling(tmp_path, fields):
    for name in ("Cafe\u0301/x.png", "tv_set/y.png", "z.png"):
        save(tmp_path / "photos" / name)
    (tmp_path / "photos" / "z.txt").write_text("a  child\u2019s cafe\u0301\n")
    label_folder(tmp_path / "photos", tmp_path / "ds", timesteps=[500], **{**fields, "classes": ["café", "tv set"]})
    prompts = [row["prompt"] for row in table(tmp_path / "ds")]
    assert prompts == ["a photo of a café", "a photo of a tv set", "a child's café"]


def test_images_of_every_kind_are_labelled_as_they_are_seen(tmp_path, fields, monkeypatch, capsys):
    """Turned by a camera, of 16 bits; what is no image, or too small, does not end the run, and is told."""
    photos = tmp_path / "photos"
    save(photos / "plain.png", 48, 64)
    upright = read_image(photos / "plain.png")
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(upright[::-1, ::-1]).save(photos / "turned.png", exif=exif)
    Image.fromarray(upright[..., 0].astype(np.uint16) * 257).save(photos / "wide.png")
    Image.new("RGB", (1, 9)).save(photos / "pixel.png")
    for name in ("._plain.png", "Thumbs.db", "film.mov"):
        (photos / name).write_bytes(b"no image")
    (tmp_path / "recipe.yaml").write_text(json.dumps(fields))
    command = ["diffumask", "label", str(photos), "--config", str(tmp_path / "recipe.yaml"), "--timestep", "500"]
    monkeypatch.setattr("sys.argv", [*command, "--output", str(tmp_path / "ds")])
    with pytest.raises(SystemExit) as end:
        main()
    printed, told = capsys.readouterr()
    assert (end.value.code, printed) == (0, f"wrote {tmp_path / 'ds'}: 3 labelled\n"), told
    assert told.splitlines()[-1].startswith(
        "left out: 1 smaller than 8 pixels (pixel.png), 2 hidden or system file (._"
    )
    assert told.endswith("Thumbs.db), 1 no image by its ending (film.mov)\n")
    plain, turned, wide = table(tmp_path / "ds")
    assert np.array_equal(decode_image(turned["image"]), upright)
    assert np.array_equal(decode_image(plain["image"]), upright)
    assert np.array_equal(decode_image(wide["image"]), np.repeat(upright[..., :1], 3, axis=-1))


def test_the_folder_goes_where_generated_ones_go(tmp_path, fields):
    for seed in (1, 2):
        save(tmp_path / "photos" / f"{seed}.png", 64, 96, seed)
    label_folder(tmp_path / "photos", tmp_path / "ds", keep_heat_maps=True, timesteps=[500], **fields)
    remask(tmp_path / "ds", tmp_path / "again", threshold=0.3)
    assert table(tmp_path / "again")[0]["threshold"] == pytest.approx([0.3, 0.3])
    assert "labelled" in read_recipe_file(tmp_path / "again" / "recipe.yaml")
    export(tmp_path / "ds", tmp_path / "voc", format="voc")
    assert len(list((tmp_path / "voc").rglob("SegmentationClass/*.png"))) == 2
    with pytest.raises(ReviewError, match="is labelled, not generated: it cannot be refilled"):
        apply_decisions(tmp_path / "ds", {}, tmp_path / "reviewed", refill=True)


def test_shown_sizes():
    recipe = Recipe.of(classes=["car"], model="m", height=512, width=768)
    assert fitting_size(300, 400, recipe, 64) == (512, 704)
    assert fitting_size(400, 300, recipe, 8) == (680, 512)
    assert fitting_size(10, 1000, recipe, 8) == (512, 1024)
    assert fitting_size(7, 7, recipe, 8) == (512, 512)


def test_bad_input(tmp_path, fields):
    ds = tmp_path / "ds"
    with pytest.raises(DataError, match=r"there is no folder .*nowhere; give a folder of images"):
        label_folder(tmp_path / "nowhere", ds, **fields)
    (tmp_path / "photos").mkdir()
    with pytest.raises(DataError, match=r"holds no images; expected files that end in \.jpg"):
        label_folder(tmp_path / "photos", ds, **fields)
    (tmp_path / "photos" / "broken.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"cannot read .*broken.png"):
        label_folder(tmp_path / "photos", ds, **fields)
    assert not ds.exists()
    save(tmp_path / "photos" / "broken.png")
    with pytest.raises(ModelError, match="the model 'planted' cannot be shown an image"):
        label_folder(tmp_path / "photos", ds, **{**fields, "model": "planted"})
    with pytest.raises(RecipeError, match="timesteps: expected numbers from 0"):
        label_folder(tmp_path / "photos", ds, timesteps=[1000], **fields)
    many = [f"car {number}" for number in range(9)]
    with pytest.raises(TokenAlignmentError, match="is truncated away"):
        label_folder(tmp_path / "photos", ds, **{**fields, "classes": many})
    (tmp_path / "photos" / "metadata.csv").write_text("file_name,text\ngone.png,a car\n")
    with pytest.raises(DataError, match=r"names 'gone\.png', which is not there"):
        find_images(tmp_path / "photos")
    (tmp_path / "photos" / "metadata.csv").write_text("file,text\nbroken.png,a car\n")
    with pytest.raises(DataError, match="expected file_name and one of text, caption, prompt"):
        find_images(tmp_path / "photos")
    (tmp_path / "photos" / "metadata.csv").write_text("file_name,text\nbroken.png,a photo\n")
    with pytest.raises(DataError, match="shows one of the classes car, boat, as captions have it"):
        label_folder(tmp_path / "photos", ds, **fields)
