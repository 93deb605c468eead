"""The benchmark on photographs, by a folder of two drawn ones in the same layout."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diffumask_datasets.recipes.settings import MaskSettings
from tests.benchmarks import photos_data
from tests.benchmarks.photos_damage import KINDS, damaged
from tests.benchmarks.photos_instances import classes_of, instance_figures, kind_of, matched_ious
from tests.benchmarks.photos_noise import Damaged, damaged_photos, figures_of, found_alone
from tests.benchmarks.photos_pictures import save_quality, save_sheets
from tests.benchmarks.photos_refine import judge, means, objects, robustness_figures
from tests.benchmarks.photos_segmenter import torchmetrics_ious
from tests.benchmarks.photos_simulation import Attention, attend, upsampled
from tests.benchmarks.photos_streets import street_figures

SIZE_WH = (96, 64)
LEFT = "0.1 0.2 0.4 0.2 0.4 0.8 0.1 0.8"
RIGHT = "0.6 0.2 0.9 0.2 0.9 0.8 0.6 0.8"


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two photos of a red square on green, outlined; the second one has two; and a street of two classes for each split."""
    for kind in ("images", "labels"):
        (tmp_path / "coco128-seg" / kind / "train2017").mkdir(parents=True)
    for name, outlines in (("000000000001", [LEFT]), ("000000000002", [LEFT, RIGHT])):
        image = np.full((*SIZE_WH[::-1], 3), (0, 160, 0), np.uint8)
        image[13:52, 10:39] = (200, 0, 0)
        Image.fromarray(image).save(tmp_path / "coco128-seg/images/train2017" / f"{name}.jpg", quality=95)
        lines = [f"7 {outline}" for outline in outlines]
        (tmp_path / "coco128-seg/labels/train2017" / f"{name}.txt").write_text("\n".join(lines))
    _write_streets(tmp_path / "camvid")
    monkeypatch.setattr(photos_data, "PHOTOS", tmp_path)
    return tmp_path


def _write_streets(folder: Path) -> None:
    label = np.full(SIZE_WH[::-1], 1, np.uint8)
    label[32:] = 4
    label[:, :2] = 255
    for split in ("train", "test"):
        for kind in ("images", "masks"):
            (folder / kind / split).mkdir(parents=True)
        Image.fromarray(np.uint8([(90, 90, 255)] * 5 + [(120, 120, 120)] * 251)[label]).save(
            folder / "images" / split / "a.jpg"
        )
        Image.fromarray(label).save(folder / "masks" / split / "a.png")
    names = "sky building pole road pavement tree sign fence car pedestrian bicyclist"
    (folder / "classes.txt").write_text("\n".join(names.split()))


def test_photos_are_read_with_their_outlines() -> None:
    (even,), (odd,) = photos_data.outlined_photos(odd=False), photos_data.outlined_photos(odd=True)
    assert (even.name, odd.name) == ("000000000001", "000000000002")
    assert odd.image.shape == (64, 96, 3)
    assert [class_id for class_id, _ in odd.outlines] == [7, 7]
    assert even.class_masks()[7].mean() == pytest.approx(0.3 * 0.6, abs=0.02)
    assert odd.class_masks()[7].mean() == pytest.approx(2 * 0.3 * 0.6, abs=0.04)


def test_missing_photographs_are_told_of_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"put coco128-seg there, images/train2017/\*\.jpg and .*or set PHOTOS"):
        photos_data.outlined_photos(odd=True, root=tmp_path / "nowhere")
    (tmp_path / "empty" / "camvid").mkdir(parents=True)
    with pytest.raises(SystemExit, match=r"put camvid there, images/SPLIT/\*\.jpg"):
        photos_data.street_photos("val", root=tmp_path / "empty")


def test_simulated_attention_is_that_of_the_mask() -> None:
    mask = np.zeros((64, 64), bool)
    mask[16:48, 16:48] = True
    exact = Attention(uneven=0, leak=0, floor=0, noise=0)
    (one, again) = (attend(mask, cells=16, rng=np.random.default_rng(3)) for _ in range(2))
    assert (one == again).all()
    plain = attend(mask, cells=16, rng=np.random.default_rng(3), attention=exact)
    assert (plain == np.kron(np.pad(np.ones((2, 2)), 1), np.ones((4, 4)))).all()
    assert (one.max(), plain.max()) == (1.0, 1.0)
    assert one[4:12, 4:12].min() < 0.9  # uneven inside
    assert one[3, 4:12].min() > 0.1  # leaks around
    heat = upsampled(one, (64, 64))
    assert (heat.shape, heat.dtype, heat.max()) == ((64, 64), np.float32, 1.0)


def test_an_object_is_judged_by_every_variant() -> None:
    judged = [judge(item, search=False) for item in objects(photos_data.outlined_photos(odd=False))]
    figures = means([one.ious for one in judged])
    assert figures["refined_iou"] > 0.9
    assert figures["refinement_gain"] == pytest.approx(figures["refined_iou"] - figures["unrefined_iou"])
    assert figures["refinement_harm_share"] == 0
    assert {"paper_iou", "fixed_03_iou", "fixed_05_iou", "otsu_iou", "plain_iou", "band_missed_iou"} <= set(figures)
    assert 0 < judged[0].quality <= 1


def test_other_attention_is_judged_by_the_defaults() -> None:
    figures = robustness_figures(quick=True)
    assert {name.removeprefix("refined_iou_") for name in figures if name.startswith("refined_iou_")} == {
        "8_cells",
        "16_cells",
        "32_cells",
        "64_cells",
        "noisy",
        "leaking",
    }
    assert figures["refined_iou_64_cells"] > 0.9
    assert {"unrefined_iou_noisy", "plain_iou_noisy", "refinement_gain_noisy"} <= set(figures)


def test_streets_and_pictures(root: Path) -> None:
    figures, streets = street_figures(quick=True)
    assert figures["camvid_photos"] == 1
    assert figures["camvid_refined_miou_7"] > 0.9
    assert figures["camvid_refined_gain"] == pytest.approx(
        figures["camvid_refined_miou_7"] - figures["camvid_plain_miou_7"]
    )
    assert 0 <= figures["camvid_ignored_share"] < 0.2
    judged = [judge(item, search=False) for item in objects(photos_data.outlined_photos(odd=True))]
    save_sheets(judged, root / "docs")
    save_quality({"streets": streets.beliefs}, root / "docs" / "photos_quality.png")
    assert {path.name for path in (root / "docs").iterdir()} == {
        "photos_worst.png",
        "photos_random.png",
        "photos_quality.png",
    }


def test_instances_are_counted_and_matched() -> None:
    figures = instance_figures(quick=True)
    assert (figures["instance_classes_apart"], figures["instance_count_right_apart"]) == (1, 1)
    assert figures["instance_iou_apart"] == pytest.approx(1, abs=0.01)
    assert figures["instance_count_right_alone_choosing_half"] == 1
    ((_, outlines),) = classes_of(photos_data.outlined_photos(odd=True)[0])
    assert kind_of(outlines) == "apart"
    assert kind_of([outlines[0], np.roll(outlines[0], 29, axis=1)]) == "touching"
    assert matched_ious(outlines, [outlines[1]]) == [0.0, 1.0]


@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_large_and_leaves_known_classes(kind: str) -> None:
    label = np.repeat(np.uint8([1, 1, 4, 9]), 16)[:, None].repeat(64, axis=1)
    broken = damaged(label, kind, np.random.default_rng(1), classes=11)
    assert broken.dtype == np.uint8
    assert np.mean(broken != label) > 0.1
    assert set(np.unique(broken)) <= ({255} if kind == "empty" else set(range(1, 12)))
    if kind in ("eroded", "half missing"):
        (loser,) = set(np.unique(label[broken != label]))
        assert np.mean((broken == loser)[label == loser]) == pytest.approx(0.5, abs=0.1)


def test_found_damage_is_counted() -> None:
    (sample,) = damaged_photos(odd=False)
    label = sample.label
    samples = [Damaged(sample.image, label, ""), Damaged(sample.image, label, "shifted")]
    samples.append(Damaged(sample.image, np.full_like(label, 255), "empty"))
    assert found_alone(samples) == {2}
    figures = figures_of(samples, {0, 2})
    assert (figures["noise_recall_camvid"], figures["noise_precision_camvid"]) == (0.5, 0.5)
    assert (figures["noise_recall_camvid_shifted"], figures["noise_recall_camvid_empty"]) == (0, 1)


def test_torchmetrics_reads_the_same_files(tmp_path: Path) -> None:
    for name, rows in (("truth", [[1, 1, 2, 255]]), ("found", [[1, 2, 2, 2]])):
        (tmp_path / name).mkdir()
        Image.fromarray(np.uint8(rows)).save(tmp_path / name / "a.png")
    assert torchmetrics_ious(tmp_path / "truth", tmp_path / "found", classes=2) == [0.5, 0.5]


def test_what_is_measured_is_the_default() -> None:
    from tests.benchmarks.photos_refine import EVERY_PIXEL

    assert EVERY_PIXEL.model_copy(update={"ignore_margin": MaskSettings().ignore_margin}) == MaskSettings()
