"""Which prompt sample k gets: drawn from (recipe, k) alone."""

from __future__ import annotations

import random
import re

from diffumask_datasets.errors import TokenAlignmentError
from diffumask_datasets.prompts.prompt import Prompt, Term
from diffumask_datasets.recipe import Recipe

__all__ = ["check_prompts", "find_terms", "prompt_for"]

PLACE = "{classes}"


def prompt_for(recipe: Recipe, index: int) -> Prompt:
    """The prompt of sample ``index``: a template filled with the classes drawn for it, or a caption as it stands.

    Classes are balanced: every run of ``len(classes)`` indices starts with each class once, in a shuffled order.

    Raises:
        TokenAlignmentError: a caption without any of the recipe's classes.
    """
    source = recipe.prompts[index % len(recipe.prompts)] if len(recipe.prompts) > 1 else recipe.prompts[0]
    if PLACE not in source:
        return Prompt(source, find_terms(source, recipe.classes))
    return _fill(source, _draw_classes(recipe, index))


def check_prompts(recipe: Recipe) -> None:
    """Raises TokenAlignmentError for the first caption that names none of the recipe's classes."""
    for source in recipe.prompts:
        if PLACE not in source:
            find_terms(source, recipe.classes)


def find_terms(text: str, classes: tuple[str, ...]) -> tuple[Term, ...]:
    """Every mention of a class in a text, in reading order; plurals in -s count, longer class names win.

    Raises:
        TokenAlignmentError: none of the classes is mentioned.
    """
    names = {name.lower(): name for name in classes}
    alternatives = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    mentions = re.finditer(rf"\b({alternatives})s?\b", text, flags=re.IGNORECASE)
    terms = tuple(Term(names[found[1].lower()], found.start(), found.end()) for found in mentions)
    if not terms:
        raise TokenAlignmentError(
            f"the prompt {text!r} names none of the classes ({', '.join(classes)}): "
            f"write a class name in it, or {PLACE} where the class terms go"
        )
    return terms


def _draw_classes(recipe: Recipe, index: int) -> list[str]:
    count = len(recipe.classes)
    block, place = divmod(index, count)
    # One shuffle a block keeps the classes balanced without knowing how many samples there will be.
    order = random.Random(f"{recipe.seed}/classes/{block}").sample(recipe.classes, count)
    first = order[place]
    others = [name for name in recipe.classes if name != first]
    return [first, *random.Random(f"{recipe.seed}/others/{index}").sample(others, recipe.classes_per_image - 1)]


def _fill(template: str, names: list[str]) -> Prompt:
    before, after = template.split(PLACE, 1)
    text, terms = before, []
    for position, name in enumerate(names):
        joint = "" if position == 0 else " and "
        text += joint + _article(name) + " "
        terms.append(Term(name, len(text), len(text) + len(name)))
        text += name
    return Prompt(text + after, tuple(terms))


def _article(name: str) -> str:
    return "an" if name[0].lower() in "aeiou" else "a"
