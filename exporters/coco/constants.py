"""COCO: its 80 thing categories with their ids, which skip 11 numbers, and its file names."""

from __future__ import annotations

from diffumask_datasets.recipes.vocabulary import load_vocabulary

CATEGORIES = load_vocabulary("coco").ids
"""Official name → category id."""

PARTS = ("instances", "panoptic", "stuff", "captions")
"""The annotation files that COCO knows, each ``annotations/<part>_<split><year>.json``."""

INFO = {"description": "diffumask-datasets", "version": "1.0"}
"""No date and no url: the same dataset gives the same bytes."""

VOID = 0
"""Segment id of panoptic pixels, and value of stuff pixel maps, that belong to nothing."""
