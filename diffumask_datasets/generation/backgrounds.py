"""``diffumask backgrounds``: pictures that show none of the classes, for compositions to be pasted on."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from tqdm import tqdm

from diffumask_datasets.dataset.atomic import atomic_folder
from diffumask_datasets.diffusion.protocol import GenerationRequest
from diffumask_datasets.errors import ExportError, RecipeError
from diffumask_datasets.generation.model import load_checked_model
from diffumask_datasets.generation.prepare import prepare
from diffumask_datasets.models.locks import model_lock
from diffumask_datasets.prompts.prompt import Prompt, Term
from diffumask_datasets.prompts.wording import find_terms, noun
from diffumask_datasets.recipes.recipe import Recipe
from diffumask_datasets.recipes.text import normalise

__all__ = ["Choose", "paint_backgrounds"]

Pixels = npt.NDArray[np.uint8]

Choose = Callable[[Pixels, Sequence[str]], int]
"""Which of some texts fits an image best."""


def paint_backgrounds(
    prompts: Sequence[str],
    output: Path,
    *,
    count: int,
    choose: Choose | None = None,
    device: str | None = None,
    **fields: Any,
) -> Counter[str]:
    """Generates pictures from prompts that name none of the classes, into a folder with a caption beside each.

    A model paints what it was not asked for, too, and its heat maps do not tell: asked for a class that is not there, it
    attends to what is. Only ``choose`` looks at the pictures.

    Args:
        prompts: Texts such as ``"a street at night"``, taken in turn.
        output: The folder. It must not be there.
        count: How many pictures are painted; those that are refused are left out.
        choose: An image-text model; a picture that fits a class better than its prompt is refused. None refuses none.
        device: torch's name of the device, None for the best there is.
        **fields: Those of a :class:`~diffumask_datasets.Recipe`; the classes are those that compositions will have.

    Returns:
        How many pictures were refused, by the class that they show.

    Raises:
        RecipeError: no prompt, one that names a class, or illegal fields.
        ExportError: ``output`` is there, or cannot be written, or every picture was refused.
        ModelError: the model cannot be loaded.
    """
    recipe = prepare(Recipe.of(**fields), splits=())
    texts = [_checked(text, recipe) for text in prompts]
    if not texts or count < 1:
        raise RecipeError("backgrounds: name at least one prompt, such as 'a street at night', and one picture")
    if output.exists():
        raise ExportError(f"{output} is there already: choose another --output, so that no picture is lost")
    refused = Counter[str]()
    with atomic_folder(output) as draft:
        for index in tqdm(range(count), unit="image", disable=None):
            text = texts[index % len(texts)]
            image = _painted(text, index, recipe, device)
            shown = _shown(image, text, recipe, choose)
            if shown is not None:
                refused[shown] += 1
                continue
            Image.fromarray(image).save(draft / f"{index:08d}.png")
            (draft / f"{index:08d}.txt").write_text(text + "\n", encoding="utf-8")
        if refused.total() == count:
            raise ExportError(f"each of the {count} pictures shows a class: {dict(refused)}; take other prompts")
    return refused


def _checked(text: str, recipe: Recipe) -> str:
    text = normalise(text)
    if not text:
        raise RecipeError("backgrounds: a prompt is empty")
    for term in find_terms(text, recipe.words):
        raise RecipeError(f"backgrounds: the prompt {text!r} names the class {term.category!r}; take it out")
    return text


def _painted(text: str, index: int, recipe: Recipe, device: str | None) -> Pixels:
    from diffumask_datasets.models.determinism import single_thread

    noise = hashlib.sha256(f"{recipe.seed}/background/{index}".encode()).digest()
    # A model reads the attention of some word; nobody looks at it here.
    prompt = Prompt(text, (Term("background", 0, len(text.split()[0])),))
    request = GenerationRequest(prompt, seed=int.from_bytes(noise[:8], "big") >> 1)
    with model_lock, single_thread():
        return load_checked_model(recipe, device, None).generate([request], recipe)[0].image


def _shown(image: Pixels, text: str, recipe: Recipe, choose: Choose | None) -> str | None:
    """The class that a picture shows rather than what it was asked for."""
    if choose is None:
        return None
    named = [f"a photo of {noun(recipe.words_of(name))[0]}" for name in recipe.classes]
    best = choose(image, [text, *named])
    return recipe.classes[best - 1] if best else None
