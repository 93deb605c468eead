"""Generate a small dataset, put it on the Hub with its card, load it back, and make it again from its recipe.

Needs a write token: hf auth login, or HF_TOKEN.
"""

import argparse

from datasets import load_dataset

import diffumask_datasets

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("repo_id", help="owner/name on the Hub")
parser.add_argument("--folder", default="out/boats", help="folder of the dataset")
parser.add_argument("--num-samples", type=int, default=20)
parser.add_argument("--model", default="toybox")
arguments = parser.parse_args()

diffumask_datasets.generate(
    arguments.folder, classes=["car", "boat", "tree"], num_samples=arguments.num_samples, model=arguments.model
)
print("pushed", diffumask_datasets.push(arguments.folder, arguments.repo_id, licence="cc-by-4.0"))

loaded = load_dataset(arguments.repo_id, split="train")
print(f"loaded {loaded.num_rows} samples with the columns {', '.join(loaded.column_names)}")

again = load_dataset("diffumask", recipe=arguments.repo_id, split="train")
same = [one["label"].tobytes() == other["label"].tobytes() for one, other in zip(loaded, again, strict=True)]
print(f"{sum(same)} of {len(same)} masks are the same when made again from the recipe")
