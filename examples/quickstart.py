"""Twenty labelled images of ten classes: a dataset folder, a contact sheet, COCO and VOC exports, and a stream."""

import argparse
import logging

from datasets import load_dataset

import diffumask_datasets

CLASSES = "toybox"  # a vocabulary: ten classes in eight colours at eight places; names do as well: ["car", "boat"]

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--output", default="out/demo", help="folder of the dataset")
parser.add_argument("--num-samples", type=int, default=20)
arguments = parser.parse_args()
logging.basicConfig(format="%(message)s")
logging.getLogger("diffumask_datasets").setLevel(logging.INFO)

diffumask_datasets.generate(
    arguments.output, classes=CLASSES, num_samples=arguments.num_samples, batch_size=2, preview=True
)
dataset = load_dataset(arguments.output, split="train")
print(f"{dataset.num_rows} samples with the columns {', '.join(dataset.column_names)}")

for name in ("coco", "voc"):
    folder = f"{arguments.output}-{name}"
    diffumask_datasets.export(arguments.output, folder, format=name)
    checks = list(diffumask_datasets.verify(folder, source=arguments.output))
    passed = sum(check.passed for check in checks)
    print(f"{folder}: read back and compared with the dataset, {passed} of {len(checks)} checks passed")
    if passed < len(checks):
        raise SystemExit(1)

stream = load_dataset("diffumask", classes=CLASSES, streaming=True, split="train", batch_size=2)
first = next(iter(stream))
print(
    f"first of the stream: {first['prompt']!r}, {len(first['objects']['id'])} object(s), quality {first['quality']:.2f}"
)
print(f"open {arguments.output}/preview.png")
