"""Generate, look, keep what is good: a draft in the FiftyOne App, and the accepted samples as a dataset of their own.

Needs pip install 'diffumask-datasets[fiftyone]'. In the App select samples and press Accept or Reject above the grid, or
tag them "accepted" and "rejected"; labels that you edit come back too. The saved view "worst quality" is where to begin.
Close the window to go on.
"""

import argparse

import diffumask_datasets
from diffumask_datasets.review import apply_decisions
from diffumask_datasets.review.app import install_plugin, launch
from diffumask_datasets.review.corrections import corrections_of
from diffumask_datasets.review.fiftyone_dataset import decisions_of

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--output", default="out/reviewed", help="folder of the accepted samples")
parser.add_argument("--draft", default="out/draft", help="folder of the draft")
parser.add_argument("--num-samples", type=int, default=20)
parser.add_argument("--model", default="toybox")
parser.add_argument(
    "--accept-best", type=int, metavar="N", help="accept the N of best quality instead of opening the App"
)
arguments = parser.parse_args()

diffumask_datasets.generate(
    arguments.draft,
    classes=["car", "boat", "tree"],
    num_samples=arguments.num_samples,
    model=arguments.model,
    keep_heat_maps=True,
)
dataset = diffumask_datasets.to_fiftyone(arguments.draft)
print(f"{dataset.name}: {len(dataset)} samples; views: {', '.join(dataset.list_saved_views())}")

if arguments.accept_best:
    dataset.sort_by("quality", reverse=True).limit(arguments.accept_best).tag_samples("accepted")
else:
    install_plugin()
    launch(dataset)

decisions, corrected = decisions_of(dataset.name), corrections_of(dataset.name, arguments.draft)
done = apply_decisions(arguments.draft, decisions, arguments.output, corrected=corrected)
print(f"wrote {arguments.output}: {done.accepted} accepted, {done.rejected} rejected, {done.undecided} undecided")
