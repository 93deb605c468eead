"""Looking at a dataset before it is used: FiftyOne or a static page, and the way back from verdicts to a dataset."""

from diffumask_datasets.dataset.decisions import Decision, decisions_text, merge_decisions, read_decisions
from diffumask_datasets.review.applying import apply_decisions
from diffumask_datasets.review.fiftyone_dataset import to_fiftyone
from diffumask_datasets.review.page import write_page

__all__ = [
    "Decision",
    "apply_decisions",
    "decisions_text",
    "merge_decisions",
    "read_decisions",
    "to_fiftyone",
    "write_page",
]
