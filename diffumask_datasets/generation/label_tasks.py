"""The images that are labelled, and what each is asked for: its caption, its folder or every class."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from diffumask_datasets.dataset.image_folder import FoundImage
from diffumask_datasets.dataset.image_listing import LeftOut
from diffumask_datasets.generation.observing import prompt_naming
from diffumask_datasets.prompts.phrases import attended
from diffumask_datasets.prompts.prompt import Prompt
from diffumask_datasets.prompts.wording import find_terms
from diffumask_datasets.recipes.recipe import Recipe
from diffumask_datasets.recipes.text import word_key

__all__ = ["LabelTask", "hashed", "label_tasks", "store_index", "task_key"]


@dataclass(frozen=True, slots=True)
class LabelTask:
    """One image and what it is asked for."""

    found: FoundImage
    prompt: Prompt


def label_tasks(images: Sequence[FoundImage], recipe: Recipe) -> tuple[list[LabelTask], LeftOut]:
    """What is to be labelled, and the images whose caption names no class."""
    prompts = [(found, _prompt(found, recipe)) for found in images]
    others = tuple(found.path.name for found, prompt in prompts if prompt is None)
    tasks = [LabelTask(found, prompt) for found, prompt in prompts if prompt]
    return tasks, {"without a class": others} if others else {}


def store_index(task: LabelTask) -> int:
    """The store knows an image by its content and prompt, so that it may move or get neighbours."""
    return int(task_key(task)[:14], 16)


def task_key(task: LabelTask) -> str:
    """What the content of the image and its prompt are known by."""
    return hashed([task.found.content, task.prompt.text])


def hashed(parts: list[Any]) -> str:
    """64 hex digits that identify the parts."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _prompt(found: FoundImage, recipe: Recipe) -> Prompt | None:
    """What the image is asked for; None where its caption names no class."""
    if found.caption is not None:
        terms = find_terms(found.caption, recipe.words)
        return attended(Prompt(found.caption, terms), recipe.attention_words) if terms else None
    of_folder = [name for word, name in recipe.words if word_key(word) == word_key(found.folder)]
    return prompt_naming(of_folder[:1] or recipe.classes, recipe)
