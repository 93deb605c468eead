"""The trainers of docs/guides/train.md, as written out there, for a few steps on a small dataset."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from datasets import DatasetDict
from pycocotools.coco import COCO

from diffumask_datasets import export
from tests.docs.blocks import running_blocks
from tests.helpers.made_datasets import dataset, row_of_instances
from tests.readers import stubs

stubs.install()

CLASSES = ("car", "boat")
EXPORTS = {
    "out/plain": "imagefolder",
    "out/yolo": "yolo",
    "out/yolo-semantic": "yolo-semantic",
    "out/coco": "coco",
}
FEWER = (
    (r"max_steps=\d+", "max_steps=2"),
    (r"eval_steps=\d+", "eval_steps=2"),
    (r"max_iters=\d+", "max_iters=2"),
    (r"val_interval=\d+", "val_interval=2"),
    (r"num_workers=\d+", "num_workers=0"),
    (r"epochs=\d+", "epochs=1"),
)


def block(start: str) -> str:
    """The block of the page that starts so, with fewer steps."""
    found = [block.code for block in running_blocks("make test-readers") if block.code.startswith(start)]
    (code,) = found
    for pattern, few in FEWER:
        code = re.sub(pattern, few, code)
    return code


def rows(first: int) -> Iterator[dict]:
    for number in range(first, first + 4):
        instances = np.zeros((64, 64), dtype=np.int64)
        instances[8:28, 8 + number : 40] = 1
        instances[36:60, 20:50] = 2
        yield row_of_instances(instances, sample_id=f"made-{number:04d}", classes=2)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a reader of the page stands: out/ds and its exports."""
    place = tmp_path_factory.mktemp("trainers")
    splits = {"train": list(rows(0)), "validation": list(rows(4))}
    source = DatasetDict({split: dataset(some, classes=CLASSES, split=split) for split, some in splits.items()})
    (place / "out/ds/data").mkdir(parents=True)
    for split, data in source.items():
        data.to_parquet(place / f"out/ds/data/{split}-00000-of-00001.parquet")
    for folder, name in EXPORTS.items():
        export(dict(source), place / folder, format=name)
    return place


@pytest.fixture(autouse=True)
def there(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", place / "cache")


def test_transformers(place: Path) -> None:
    exec(block("import numpy"), {"__name__": "__main__"})
    assert (place / "out/transformers/model.safetensors").stat().st_size > 1_000_000


def test_mmsegmentation(place: Path) -> None:
    from mmengine.config import Config
    from mmengine.runner import Runner

    Path("mmseg_config.py").write_text(block("# mmseg_config.py"), encoding="utf-8")
    runner = Runner.from_cfg(Config.fromfile("mmseg_config.py"))
    runner.train()
    assert runner.iter == 2
    assert runner.message_hub.get_scalar("val/mIoU").current() >= 0


def test_ultralytics(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ultralytics.cfg import entrypoint
    from ultralytics.utils.nms import TorchNMS

    # What ultralytics takes where torchvision, whose compiled operators do not load here, is not imported.
    monkeypatch.setattr("torchvision.ops.nms", TorchNMS.nms)
    commands = [line for line in block("diffumask export out/ds --format yolo").splitlines() if line.startswith("yolo")]
    assert [command.split()[1] for command in commands] == ["segment", "semantic"]
    for command in commands:
        folder = place / "out/ultralytics" / command.split()[1]
        entrypoint(f"{command} project={folder.parent} name={folder.name} plots=False workers=0")
        assert (folder / "weights/last.pt").stat().st_size > 1_000_000


def test_what_detectron2_reads() -> None:
    """Its ``load_coco_json``, step by step, with the program that it calls."""
    tree = ast.parse(block("from detectron2"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    (call,) = [node for node in calls if getattr(node.func, "id", "") == "register_coco_instances"]
    _, _, annotations, images = (ast.literal_eval(argument) for argument in call.args)
    assert "cfg.MODEL.ROI_HEADS.NUM_CLASSES = 2" in ast.unparse(tree)
    coco = COCO(annotations)
    assert [found["name"] for found in coco.loadCats(sorted(coco.getCatIds()))] == ["car", "boat"]
    objects = list(coco.anns.values())
    assert len(objects) == len(coco.dataset["annotations"]) == 8
    for found in objects:
        image = coco.imgs[found["image_id"]]
        assert Path(images, image["file_name"]).is_file()
        x, y, width, height = found["bbox"]
        assert (found["iscrowd"], found.get("ignore", 0)) == (0, 0)
        assert 0 <= x < x + width <= image["width"]
        assert 0 <= y < y + height <= image["height"]
        mask = coco.annToMask(found)
        assert mask.shape == (image["height"], image["width"])
        assert mask.sum() == found["area"]
