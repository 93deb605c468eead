import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from cityscapesscripts.helpers import labels as official
from cityscapesscripts.helpers.annotation import Annotation
from cityscapesscripts.preparation.json2instanceImg import createInstanceImage
from cityscapesscripts.preparation.json2labelImg import json2labelImg
from hypothesis import given
from PIL import Image

from diffumask_datasets import export, verify
from diffumask_datasets.errors import ExportError
from diffumask_datasets.exporters.cityscapes.constants import LABELS
from diffumask_datasets.exporters.cityscapes.convert import draw_polygons, layers_of, polygons_of
from diffumask_datasets.exporters.cityscapes.labels import mapped_labels
from tests.helpers.made_datasets import dataset, drawn, extreme_maps, instance_maps, row_of_instances, sample_of

CLASSES = ("car", "vegetation", "truck")
TABLE = mapped_labels(CLASSES, {})
FRAME = "synthetic/synthetic_000000_000001"


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    export(dataset([drawn(number) for number in range(3)], classes=CLASSES), tmp_path / "set", format="cityscapes")
    return tmp_path / "set"


def test_the_label_table_is_the_official_one() -> None:
    assert [tuple(row) for row in LABELS] == [tuple(row) for row in official.labels]


def test_the_official_tools_draw_our_polygons_to_our_pictures(exported: Path, tmp_path: Path) -> None:
    annotations = sorted((exported / "gtFine").rglob("*_polygons.json"))
    assert len(annotations) == 3
    for path in annotations:
        for kind, encoding in (("labelIds", "ids"), ("labelTrainIds", "trainIds"), ("color", "color")):
            json2labelImg(str(path), str(tmp_path / "out.png"), encoding)
            ours, theirs = picture(path, kind), Image.open(tmp_path / "out.png")
            assert ours.mode == theirs.mode
            np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))
        # What json2instanceImg saves; it cannot save it itself under a Pillow that no longer writes mode I as PNG.
        annotation = Annotation()
        annotation.fromJsonFile(str(path))
        theirs = createInstanceImage(annotation, "ids")
        np.testing.assert_array_equal(np.asarray(picture(path, "instanceIds")), np.asarray(theirs))


def picture(polygons: Path, kind: str) -> Image.Image:
    return Image.open(str(polygons).replace("polygons.json", f"{kind}.png"))


def test_what_the_pictures_hold(exported: Path) -> None:
    labels = np.asarray(Image.open(exported / f"gtFine/train/{FRAME}_gtFine_labelIds.png"))
    instances = Image.open(exported / f"gtFine/train/{FRAME}_gtFine_instanceIds.png")
    assert instances.mode == "I;16"
    # Background, unsure (out of roi), vegetation; car and truck have instances.
    assert np.unique(labels).tolist() == [0, 3, 21, 26, 27]
    assert np.unique(np.asarray(instances)).tolist() == [0, 3, 21, 26000, 27000]
    train = np.asarray(Image.open(exported / f"gtFine/train/{FRAME}_gtFine_labelTrainIds.png"))
    assert np.unique(train).tolist() == [8, 13, 14, 255]
    assert (exported / f"leftImg8bit/train/{FRAME}_leftImg8bit.png").read_bytes() == drawn(0)["image"]["bytes"]
    assert (exported / "train_samples.tsv").read_text().splitlines()[0] == "synthetic_000000_000001\tmade-0000"


@pytest.fixture
def in1d() -> Iterator[None]:
    # The evaluation was written for a numpy that still had it.
    added = not hasattr(np, "in1d")
    if added:
        np.in1d = np.isin  # type: ignore[attr-defined]
    yield
    if added:
        del np.in1d  # type: ignore[attr-defined]


def evaluation(name: str) -> ModuleType:
    return importlib.import_module(f"cityscapesscripts.evaluation.{name}")


def test_pixel_evaluation_against_itself(exported: Path, in1d: None) -> None:
    module: Any = evaluation("evalPixelLevelSemanticLabeling")
    module.args.quiet, module.args.JSONOutput, module.args.evalInstLevelScore = True, False, False
    truth = sorted(map(str, (exported / "gtFine").rglob("*_labelIds.png")))
    result = module.evaluateImgLists(truth, truth, module.args)
    assert result["averageScoreClasses"] == pytest.approx(1.0)
    assert {name: score for name, score in result["classScores"].items() if score == score} == {
        "vegetation": 1.0,
        "car": 1.0,
        "truck": 1.0,
    }


def test_instance_evaluation_against_itself(tmp_path: Path, in1d: None) -> None:
    # The evaluation leaves out what is smaller than 100 pixels and marks it nan.
    source = dataset([drawn(number, height=80, width=112) for number in range(2)], classes=["car", "truck", "bus"])
    export(source, tmp_path / "set", format="cityscapes")
    module: Any = evaluation("evalInstanceLevelSemanticLabeling")
    arguments = module.args
    arguments.quiet, arguments.JSONOutput, arguments.distanceAvailable = True, False, False
    arguments.gtInstancesFile = str(tmp_path / "gtInstances.json")
    truth = sorted(map(str, (tmp_path / "set").rglob("*_instanceIds.png")))
    guesses = [str(_prediction(Path(path), tmp_path)) for path in truth]
    # It caches the truth as JSON and cannot write numpy's integers.
    module.writeDict2JSON = lambda *_: None
    arguments.predictionPath = str(tmp_path)
    result = module.evaluateImgLists(guesses, truth, arguments)
    assert result["averages"]["classes"]["truck"]["ap"] == pytest.approx(1.0)
    assert result["averages"]["classes"]["bus"]["ap"] == pytest.approx(1.0)


def _prediction(truth: Path, folder: Path) -> Path:
    instances = np.asarray(Image.open(truth))
    lines = []
    for number in np.unique(instances[instances >= 1000]):
        mask = folder / f"{truth.stem}_{number}.png"
        Image.fromarray(((instances == number) * 255).astype(np.uint8)).save(mask)
        lines.append(f"{mask.name} {number // 1000} 1.0\n")
    listing = folder / f"{truth.stem}.txt"
    listing.write_text("".join(lines))
    return listing


@given(instance_maps())
def test_pictures_decode_to_the_sample(instances: np.ndarray) -> None:
    sample = sample_of(row_of_instances(instances))
    layers = layers_of(sample, TABLE)
    labels = TABLE.numbers("number")[layers.values]
    back = np.full(256, 77)
    back[[0, 26, 21, 27, 3]] = [0, 1, 2, 3, 255]
    np.testing.assert_array_equal(back[labels], sample.label)
    for found, mask in zip(sample.objects, sample.masks, strict=True):
        numbers = np.unique(layers.instances[mask])
        assert len(numbers) == 1
        if found.category != 2:
            np.testing.assert_array_equal(layers.instances == numbers[0], mask)
            assert numbers[0] // 1000 == {1: 26, 3: 27}[found.category]


@given(instance_maps(most=4))
def test_polygons_draw_to_the_pictures(instances: np.ndarray) -> None:
    # One connected part an instance: with several, bridges may have no way (see polygons_of).
    from scipy import ndimage

    whole = np.zeros(instances.shape, np.int64)
    count = 0
    for value in (1, 2, 3, 4):
        parts, found = ndimage.label(instances == value, np.ones((3, 3)))
        for number in range(1, found + 1):
            count += 1 + (count == 254)
            whole[parts == number] = count
    whole[instances == 255] = 255
    layers = layers_of(sample_of(row_of_instances(whole)), TABLE)
    labels, drawn = draw_polygons(polygons_of(layers, TABLE), TABLE)
    np.testing.assert_array_equal(labels, TABLE.numbers("number")[layers.values])
    np.testing.assert_array_equal(drawn, layers.instances)


@pytest.mark.parametrize("name", extreme_maps())
def test_extreme_masks(name: str, tmp_path: Path) -> None:
    source = dataset([row_of_instances(extreme_maps()[name])], classes=CLASSES)
    export(source, tmp_path, format="cityscapes")
    assert all(check.passed for check in verify(tmp_path, source=source))


def test_an_instance_of_two_parts_is_one_polygon_and_the_bridge_is_mended(tmp_path: Path) -> None:
    instances = np.zeros((20, 30), np.int64)
    instances[5:15, 2:8] = instances[5:15, 20:28] = 3
    instances[4:16, 12:16] = 5
    source = dataset([row_of_instances(instances)], classes=CLASSES)
    export(source, tmp_path, format="cityscapes")
    polygons = json.loads((tmp_path / f"gtFine/train/{FRAME}_gtFine_polygons.json").read_text())["objects"]
    assert [found["label"] for found in polygons[:2]] == ["car", "truck"]
    assert {found["label"] for found in polygons[2:]} == {"unlabeled"}
    assert all(check.passed for check in verify(tmp_path, source=source))


def test_interleaved_parts_are_right_in_the_pictures_and_told_of_the_polygons(tmp_path: Path) -> None:
    # Stripes of two instances from border to border: each one's bridges must cross the other.
    instances = np.repeat([[3, 3, 5, 5, 3, 3, 5, 5]], 6, axis=0)
    source = dataset([row_of_instances(instances)], classes=CLASSES)
    export(source, tmp_path, format="cityscapes")
    found = np.asarray(Image.open(tmp_path / f"gtFine/train/{FRAME}_gtFine_instanceIds.png"))
    np.testing.assert_array_equal(found, np.where(instances == 3, 26000, 27000))
    checks = {check.name: check for check in verify(tmp_path, source=source)}
    assert all(check.passed for check in checks.values())
    told = checks["polygons against pictures, instances of several parts"].detail
    assert told == "2 of 48 differ, as the format cannot help"


@given(instance_maps(most=4))
def test_instances_of_several_parts_keep_what_lies_outside_instances(instances: np.ndarray) -> None:
    layers = layers_of(sample_of(row_of_instances(instances)), TABLE)
    _, drawn = draw_polygons(polygons_of(layers, TABLE), TABLE)
    held = np.zeros(instances.shape, bool)
    for _, mask in layers.drawn:
        held |= mask
    np.testing.assert_array_equal(drawn[~held], layers.instances[~held])


def test_a_thing_outside_any_object_is_a_group(tmp_path: Path) -> None:
    row = drawn(0)
    empty = {name: [] for name in row["objects"]}
    source = dataset([{**row, "objects": empty}], classes=CLASSES)
    export(source, tmp_path, format="cityscapes")
    polygons = json.loads((tmp_path / f"gtFine/train/{FRAME}_gtFine_polygons.json").read_text())["objects"]
    assert {"cargroup", "truckgroup"} <= {found["label"] for found in polygons}
    assert all(check.passed for check in verify(tmp_path, source=source))


def test_a_class_without_a_label(tmp_path: Path) -> None:
    source = dataset([drawn(0)], classes=["car", "mushroom", "truck"])
    with pytest.raises(ExportError, match="Cityscapes has no label for the class 'mushroom': give one"):
        export(source, tmp_path / "out", format="cityscapes")
    assert not (tmp_path / "out").exists()
    export(source, tmp_path / "mapped", format="cityscapes", class_map={"mushroom": "vegetation"})
    export(source, tmp_path / "own", format="cityscapes", labels="own")
    rows = json.loads((tmp_path / "own/labels.json").read_text())
    assert [(row["name"], row["number"], row["train_id"]) for row in rows] == [
        ("unlabeled", 0, 255),
        ("car", 34, 0),
        ("mushroom", 35, 1),
        ("truck", 36, 2),
        ("out of roi", 3, 255),
    ]
    for name in ("mapped", "own"):
        assert all(check.passed for check in verify(tmp_path / name, source=source))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"class_map": {"boot": "car"}}, "class_map: 'boot' is no class of the dataset"),
        ({"class_map": {"car": "carr"}}, r"class_map: 'carr' is no label of Cityscapes \(did you mean 'car'\?\)"),
        ({"class_map": {"car": "license plate"}}, "class_map: 'license plate' is no label of Cityscapes"),
        ({"class_map": "car"}, "class_map: expected class: label pairs, got 'car'"),
        ({"labels": "mine"}, "labels: expected one of official, own, got 'mine'"),
        ({"city": "new_york"}, "city: expected letters and digits only, got 'new_york'"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=message):
        export(dataset([drawn(0)], classes=CLASSES), tmp_path / "out", format="cityscapes", **options)
    assert not (tmp_path / "out").exists()


def test_more_than_a_thousand_instances(tmp_path: Path) -> None:
    instances = np.zeros((70, 70), np.int64)
    instances[::2, ::2] = 3 * (1 + np.arange(35 * 35).reshape(35, 35))
    instances[instances == 255] = 9999
    with pytest.raises(ExportError, match="sample made-0: more than 1000 instances of 'car'"):
        export(dataset([row_of_instances(instances)], classes=CLASSES), tmp_path / "out", format="cityscapes")


def test_polygons_that_interleave_are_told_in_the_manifest(tmp_path: Path) -> None:
    instances = np.zeros((9, 40), np.int64)
    instances[:, ::4] = 3
    instances[:, 2::4] = 6
    source = dataset([row_of_instances(instances)], classes=CLASSES)
    manifest = export(source, tmp_path / "out", format="cityscapes")
    path = f"gtFine/train/{FRAME}_gtFine_polygons.json"
    assert list(manifest["losses"]) == [path]
    assert 0 < manifest["losses"][path]["lowest_iou"] < 1
    assert "as the format cannot help" in {check.name: check.detail for check in verify(tmp_path / "out")}[path]
    whole = dataset([drawn(0)], classes=CLASSES)
    assert export(whole, tmp_path / "whole", format="cityscapes")["losses"] == {}


def test_two_classes_that_are_one_label_are_joined_by_a_class_map_alone(tmp_path: Path) -> None:
    source = dataset([drawn(0)], classes=["Car", "car", "truck"])
    with pytest.raises(ExportError, match="'Car' and 'car' are one label of Cityscapes; to join them, name both"):
        export(source, tmp_path / "out", format="cityscapes")
    export(source, tmp_path / "joined", format="cityscapes", class_map={"Car": "car", "car": "car"})
