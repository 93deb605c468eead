"""Masks that people corrected in another program, and the way back into the dataset."""

from diffumask_datasets.review.corrections.correcting import Corrected, correct

__all__ = ["Corrected", "correct"]
