"""What an image is, what lies beside it, and that nothing is left out without a word."""

from pathlib import Path

import pytest

from diffumask_datasets.dataset.image_listing import list_images, merged, plain_path, told
from diffumask_datasets.errors import DataError


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def test_hidden_system_and_other_files_are_no_images(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "b.PNG",
        "a.jpg",
        "c.jfif",
        "._a.jpg",
        ".DS_Store",
        "Thumbs.db",
        "a.txt",
        "lost.txt",
        "d.heic",
        "noending",
    )
    touch(tmp_path, "sub/e.tif", "__MACOSX/a.jpg", ".cache/f.png", "@eaDir/a.jpg")
    flat = list_images(tmp_path, sides=(".txt",))
    assert [path.name for path in flat.paths] == ["a.jpg", "b.PNG", "c.jfif"]
    assert flat.left_out == {
        "hidden or system file": (".DS_Store", "._a.jpg", "Thumbs.db"),
        "no image by its ending": ("d.heic", "lost.txt", "noending"),
    }
    nested = list_images(tmp_path, nested=True, sides=(".txt", "lost.txt"))
    assert [path.relative_to(tmp_path).as_posix() for path in nested.paths] == ["a.jpg", "b.PNG", "c.jfif", "sub/e.tif"]
    assert set(nested.left_out["hidden or system file"]) > {"__MACOSX/a.jpg", ".cache/f.png", "@eaDir/a.jpg"}
    assert nested.left_out["no image by its ending"] == ("d.heic", "noending")


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot list .*none: No such file"):
        list_images(tmp_path / "none")


def test_what_is_told() -> None:
    several = merged([{"odd": ("a", "b")}, {"odd": ("c", "d"), "other": ("e",)}])
    assert told(several) == "left out: 4 odd (a, b, c, …), 1 other (e)"
    assert told({}) == ""


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("./a.jpg", "a.jpg"),
        ("b/../a.jpg", "a.jpg"),
        (".\\sub\\a b.jpg", "sub/a b.jpg"),
        ("cafe\u0301.png", "caf\u00e9.png"),
        ("../a.jpg", "../a.jpg"),
        ("sub//a.jpg", "sub/a.jpg"),
    ],
)
def test_one_file_has_one_plain_path(name: str, plain: str) -> None:
    assert plain_path(name) == plain
