"""Datasets on the Hugging Face Hub: what is pushed, its card, and the upload itself."""

from diffumask_datasets.hub.publishing import push

__all__ = ["push"]
