"""Masks that people corrected in another program, and the way back into the dataset."""

from diffumask_datasets.review.corrections.correcting import Corrected, correct
from diffumask_datasets.review.corrections.fiftyone import corrections_of

__all__ = ["Corrected", "correct", "corrections_of"]
