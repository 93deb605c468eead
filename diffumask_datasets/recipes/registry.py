"""What a recipe names by a word: prompt sources, thresholds and refinements, ours and those of installed packages.

A new one is a file of its own and a line here. Another package offers it as an entry point of the group. Names are checked
without importing anything; what they stand for is imported when it is used.
"""

from __future__ import annotations

import functools
import importlib.metadata
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ConfigDict

from diffumask_datasets.errors import RecipeError, suggestion
from diffumask_datasets.recipes.base import Settings

__all__ = ["PROMPT_SOURCES", "REFINEMENTS", "THRESHOLDS", "Choice", "Registry"]


class Choice(Settings):
    """A registered name, and the values of its parameters, in one mapping: ``{kind: NAME, PARAMETER: VALUE}``."""

    model_config = ConfigDict(extra="allow")

    kind: str

    @property
    def parameters(self) -> dict[str, Any]:
        """The values by name."""
        return dict(self.model_extra or {})


class Registry:
    """Callables by name.

    Args:
        noun: what one of them is called in messages.
        group: the group of entry points under which packages offer theirs.
        own: those of this package, each as ``module:attribute``.
    """

    def __init__(self, noun: str, group: str, own: Mapping[str, str]) -> None:
        self.noun, self.group = noun, group
        self.own = {name: f"diffumask_datasets.{place}" for name, place in own.items()}

    def check(self, name: str) -> str:
        """The name, if it is registered.

        Raises:
            ValueError: it is not; says which name is near, and all there are.
        """
        if name not in self.own and name not in (offered := self._offered()):
            names = [*self.own, *sorted(offered)]
            listed = ", ".join(map(repr, names))
            raise ValueError(f"unknown {self.noun} {name!r}{suggestion(name, names)}; there are: {listed}")
        return name

    def is_offered(self, name: str) -> bool:
        """Whether an installed package offers it, and it is none of ours."""
        return name not in self.own and name in self._offered()

    def chosen(self, value: Any) -> Any:
        """A value of a recipe: the name where it is all that is given, else a :class:`Choice`.

        Raises:
            ValueError: the name is not registered.
        """
        if isinstance(value, Mapping):
            if not isinstance(value.get("kind"), str):
                raise ValueError("name its kind")
            value = Choice(**value)
        if isinstance(value, Choice) and not value.parameters:
            value = value.kind
        if not isinstance(value, (str, Choice)):
            raise ValueError("expected a text or a mapping")
        self.check(value if isinstance(value, str) else value.kind)
        return value

    def make(self, chosen: str | Choice, **settings: Any) -> Callable[..., Any]:
        """The callable of a name, given its parameters and ``settings``.

        Raises:
            RecipeError: it cannot be imported, or has no such parameter.
        """
        name, parameters = (chosen, {}) if isinstance(chosen, str) else (chosen.kind, chosen.parameters)
        place = self.own.get(name) or self._offered().get(name, "")
        try:
            found: Callable[..., Any] = pkgutil.resolve_name(place)
        except (ImportError, AttributeError, ValueError) as error:
            raise RecipeError(f"the {self.noun} {name!r} ({place}) cannot be loaded: {error}") from error
        legal = [word.name for word in inspect.signature(found).parameters.values() if word.kind is word.KEYWORD_ONLY]
        for parameter in parameters:
            if parameter not in legal:
                raise RecipeError(
                    f"unknown parameter {parameter!r} of the {self.noun} {name!r}{suggestion(parameter, legal)}; "
                    f"parameters: {', '.join(legal) or 'none'}"
                )
        return functools.partial(found, **settings, **parameters)

    def _offered(self) -> dict[str, str]:
        return {point.name: point.value for point in importlib.metadata.entry_points(group=self.group)}


PROMPT_SOURCES = Registry(
    "prompt source",
    "diffumask_datasets.prompt_sources",
    {
        "templates": "prompts.templates:TemplateSource",
        "sub_classes": "prompts.sub_classes:SubClassSource",
        "captions": "prompts.caption_pool:CaptionSource",
        "retrieval": "prompts.caption_pool:CaptionSource",
        "language_model": "prompts.text_models:LanguageModelSource",
    },
)
"""``(recipe, **parameters)`` gives a :class:`diffumask_datasets.prompts.sources.PromptSource`."""

THRESHOLDS = Registry(
    "threshold",
    "diffumask_datasets.thresholds",
    {
        "otsu": "masks.thresholds:otsu_thresholds",
        "adaptive": "masks.thresholds:adaptive_thresholds",
        "affinity": "masks.thresholds:affinity_thresholds",
    },
)
"""``(image, heat_maps, affinity_maps, **parameters)`` gives (γ, ThresholdCurve) of each heat map."""

REFINEMENTS = Registry(
    "refinement",
    "diffumask_datasets.refinements",
    {
        "densecrf": "masks.densecrf:refine",
        "densecrf-paper": "masks.densecrf:refine_as_in_the_paper",
        "sam": "masks.sam:refine",
    },
)
"""``(image, probabilities, heat_maps, **parameters)`` gives the refined probabilities of the labels, of the same shape,
background first, and the temperature at which they can be believed."""
