"""What compositions are pasted on: samples with and without their own objects, and photographs."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diffumask_datasets.augmentation.backgrounds import pin_backgrounds
from diffumask_datasets.augmentation.scene import Origin, Scene
from diffumask_datasets.errors import RecipeError
from diffumask_datasets.recipes.augment_settings import Compose
from tests.augmentation.test_composition import compose, empty, square


def test_objects_are_lifted_off_and_what_was_behind_them_is_filled_in() -> None:
    shaded = np.repeat(np.repeat(np.arange(64, dtype=np.uint8)[None, :, None], 64, axis=0), 3, axis=2)
    base = square(16, at=(24, 24), size=(64, 64), category=3)
    base = base.replaced(image=np.where((base.label > 0)[..., None], base.image, shaded))
    found = set()
    for seed in range(8):
        number = 1 + seed % 2
        fields = {"objects": (number, number), "scale": (0.5, 0.5), "blend": "hard", "lift": True}
        made = compose(base, square(16, category=2), seed=seed, **fields)
        bare = made.instances == 0
        assert np.abs(made.image[bare].astype(int) - shaded[bare]).max() <= 4
        assert not made.label[bare].any()
        found.add(tuple(thing.category for thing in made.things))
    assert found == {(3,), (3, 2)}  # its own object comes back first


def test_every_sample_that_lent_an_object_is_an_origin_once() -> None:
    base = square(24, size=(96, 96)).replaced(origins=(Origin("left", {}, 0.9), Origin("right", {}, 0.8)))
    lender = square(8, category=2)
    fields = {"objects": (6, 6), "scale": (0.3, 0.3)}
    assert [origin.prompt for origin in compose(base, lender, **fields).origins] == ["left", "right", "square 2"]
    lifted = compose(base, lender, lift=True, **fields)
    assert sorted(origin.prompt for origin in lifted.origins) == ["left", "right", "square 2"]
    nothing = empty((96, 96)).replaced(origins=())
    assert len(compose(nothing, lender, lift=True, **fields).things) == 6


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "streets"
    folder.mkdir()
    for number, colour in enumerate([(200, 0, 0), (0, 200, 0)]):
        Image.new("RGB", (90, 50), colour).save(folder / f"{number}.png")
    return folder


def test_photographs_as_backgrounds(photos: Path, tmp_path: Path) -> None:
    def scenes(folder: Path) -> list[Scene]:
        fields = {"objects": (2, 2), "scale": (0.4, 0.4), "backgrounds": str(folder), "blend": "hard"}
        return [compose(square(12), square(12, category=2), seed=seed, **fields) for seed in range(8)]

    made = scenes(photos)
    colours = {tuple(scene.image[scene.instances == 0][0].tolist()) for scene in made}
    assert colours == {(200, 0, 0), (0, 200, 0)}
    for scene in made:
        assert not scene.label[scene.instances == 0].any()
        assert len(scene.things) == 2
    photos.rename(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "0.png").rename(tmp_path / "elsewhere" / "9.png")
    again = scenes(tmp_path / "elsewhere")
    assert all((one.image == other.image).all() for one, other in zip(made, again, strict=True))


def test_backgrounds_are_pinned_by_content(photos: Path) -> None:
    (pinned,) = pin_backgrounds([Compose(backgrounds=str(photos))])
    assert isinstance(pinned, Compose)
    assert pinned.identity()["backgrounds"] is None
    assert len(pinned.backgrounds_revision or "") == 16
    Image.new("RGB", (90, 50)).save(photos / "more.png")
    with pytest.raises(RecipeError, match=r"the backgrounds in .*streets have content '\w{16}', not '\w{16}'"):
        pin_backgrounds([pinned])


def test_backgrounds_that_show_the_classes_are_refused_as_far_as_they_say_so(photos: Path) -> None:
    (photos / "0.txt").write_text("Two cars at night", encoding="utf-8")
    with pytest.raises(RecipeError, match=r"0\.png mentions the class 'car'.* \(file names, folders and captions are"):
        pin_backgrounds([Compose(backgrounds=str(photos))], (("car", "car"),))
    pin_backgrounds([Compose(backgrounds=str(photos))], (("boat", "boat"),))


@pytest.mark.parametrize("name", ["nothing", "void"])
def test_backgrounds_that_are_none(tmp_path: Path, name: str) -> None:
    (tmp_path / "void").mkdir()
    with pytest.raises(RecipeError, match=r"augment: backgrounds: (there is no folder|.* holds no images)"):
        pin_backgrounds([Compose(backgrounds=str(tmp_path / name))])
