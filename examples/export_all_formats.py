"""One generated dataset in every format, each read back and compared with it."""

import argparse
from pathlib import Path

import diffumask_datasets
from diffumask_datasets.exporters import formats

CLASSES = ["car", "boat", "tree"]
OPTIONS = {
    # Cityscapes has no boats; trees are vegetation there.
    "cityscapes": {"class_map": {"boat": "dynamic", "tree": "vegetation"}},
    # All annotation files of COCO at once; of trees there are regions only.
    "coco": {"parts": ["instances", "panoptic", "stuff", "captions"], "stuff": ["tree"]},
}

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--output", default="out/exports", help="folder of the dataset and of one folder per format")
parser.add_argument("--num-samples", type=int, default=12)
parser.add_argument("--model", default="toybox")
parser.add_argument("--workers", type=int, default=1)
arguments = parser.parse_args()

output = Path(arguments.output)
splits = {"train": arguments.num_samples - arguments.num_samples // 4, "validation": arguments.num_samples // 4}
diffumask_datasets.generate(output / "dataset", classes=CLASSES, splits=splits, model=arguments.model, batch_size=4)

for name in formats():
    diffumask_datasets.export(
        output / "dataset", output / name, format=name, workers=arguments.workers, **OPTIONS.get(name, {})
    )
    failed = [
        check for check in diffumask_datasets.verify(output / name, source=output / "dataset") if not check.passed
    ]
    print(f"{name:14} {failed or 'every check passed'}")
