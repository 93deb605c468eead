"""Which attention of a model to read, found on a few annotated images: the search, its report and its picture."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from diffumask_datasets.attention.observation import LayerStep
from diffumask_datasets.attention.search import Annotated, AttentionChoice, choice_iou, layer_step_ious, search_choice
from diffumask_datasets.dataset.schema import Row, image_of, label_of
from diffumask_datasets.diffusion.protocol import DiffusionModel, Observer
from diffumask_datasets.errors import ModelError, RecipeError
from diffumask_datasets.generation import tuning_report
from diffumask_datasets.generation.tuning_report import Cell, table_picture
from diffumask_datasets.models.determinism import single_thread
from diffumask_datasets.models.locks import model_lock
from diffumask_datasets.prompts.phrases import attended
from diffumask_datasets.prompts.prompt import Prompt
from diffumask_datasets.prompts.wording import find_terms
from diffumask_datasets.recipes.text import normalise
from diffumask_datasets.sample import BACKGROUND, IGNORE
from diffumask_datasets.toybox import CLASS_NAMES, render_scene

__all__ = [
    "TIMESTEPS",
    "AnnotatedImage",
    "Tuning",
    "annotated_rows",
    "rendered_scenes",
    "tune_attention",
    "write_report",
]

TIMESTEPS = (50, 150, 250, 350, 450, 550, 650, 750, 850)

MAX_TRUTH_SIDE = 64
"""Masks are compared at this longer side at most: attention has no finer detail."""


@dataclass(frozen=True, slots=True, eq=False)
class AnnotatedImage:
    """An image uint8 (height, width, 3), its mask uint8 (height, width) of class ids, and the prompt that describes it.

    ``classes`` are the names of the class ids 1, 2, …; a class that the prompt does not name is not judged.
    """

    image: npt.NDArray[np.uint8]
    label: npt.NDArray[np.uint8]
    prompt: Prompt
    classes: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Tuning:
    """What a search found. IoU is at the best threshold of each (image, class).

    ``places`` is the mean of each (layer, timestep) alone, ``ious`` those of ``choice`` for every (image, class), and
    ``several`` says of each of these whether its image shows several classes. ``steps`` is how far each step came.
    """

    choice: AttentionChoice
    grids: Mapping[str, tuple[int, int]]
    places: Mapping[LayerStep, float]
    steps: tuple[tuple[str, float], ...]
    ious: npt.NDArray[np.float64]
    several: npt.NDArray[np.bool_]

    @property
    def recipe_fields(self) -> dict[str, Any]:
        """The choice as fields of a recipe."""
        spread = self.choice.affinity_power > 0
        fields: dict[str, Any] = {
            "attention": self.choice.attention,
            "attention_grids": sorted({min(self.grids[layer]) for layer in self.choice.layers}),
            "attention_layers": list(self.choice.layers),
            "attention_timesteps": list(self.choice.timesteps),
            "contrast": self.choice.contrast,
            "competition": self.choice.competition,
            "affinity": "self-attention" if spread else None,
        }
        return fields | ({"affinity_power": self.choice.affinity_power} if spread else {})


def tune_attention(
    model: DiffusionModel,
    images: Iterable[AnnotatedImage],
    *,
    timesteps: Sequence[int] = TIMESTEPS,
    progress: Callable[[str], None] = lambda message: None,
) -> Tuning:
    """Searches for the attention of a model that finds the masks of annotated images best.

    Args:
        model: The model; it is shown each image with noise of the seed k for image k.
        images: Annotated images; a few dozen are enough to rank layers.
        timesteps: Training timesteps at which the denoiser runs.
        progress: Called with one line about each step.

    Returns:
        The chosen layers, timesteps and options, and what each step gained.

    Raises:
        ModelError: a model family that cannot be shown images.
        RecipeError: no image.
    """
    if not isinstance(model, Observer):
        raise ModelError(
            f"{type(model).__name__} cannot be shown an image, so its attention cannot be searched; "
            "give its family the method observe of diffumask_datasets.diffusion.protocol.Observer"
        )
    samples = []
    for index, item in enumerate(images):
        with model_lock:
            observation = model.observe(item.image, item.prompt, timesteps=timesteps, seed=index)
        samples.append(Annotated(observation, _truth(item)))
        progress(f"{index + 1} images")
    if not samples:
        raise RecipeError("no annotated image to search with; give at least one, better thirty")
    steps: list[tuple[str, float]] = []

    def heard(step: str, iou: float) -> None:
        steps.append((step, iou))
        progress(f"{step}: {iou:.3f}")

    with single_thread():  # maps are small: a second thread costs more than it brings
        choice = search_choice(samples, progress=heard)
        places, ious = layer_step_ious(samples), choice_iou(samples, choice)
    several = [len(_present(sample)) > 1 for sample in samples for _ in _present(sample)]
    return Tuning(
        choice=choice,
        grids={layer: (m.shape[1], m.shape[2]) for (layer, _), m in samples[0].observation.maps.items()},
        places=places,
        steps=tuple(steps),
        ious=ious,
        several=np.array(several, dtype=bool),
    )


def rendered_scenes(
    count: int, *, split: str = "validation", attention_words: str = "class"
) -> Iterator[AnnotatedImage]:
    """Draws scenes of the toybox's world with exact masks, described by their own captions.

    Args:
        count: The number of scenes.
        split: Their split.
        attention_words: As in a recipe: ``"class"`` or ``"phrase"``.

    Returns:
        The scenes.
    """
    for seed in range(count):
        scene = render_scene(seed, split=split)
        prompt = _prompt(scene.caption, CLASS_NAMES, attention_words)
        yield AnnotatedImage(scene.image, scene.semantic, prompt, CLASS_NAMES)


def annotated_rows(
    rows: Iterable[Row], classes: Sequence[str], *, attention_words: str = "class"
) -> Iterator[AnnotatedImage]:
    """Takes the rows of a ``default`` dataset whose prompts name the classes of their masks.

    Args:
        rows: The rows.
        classes: The names of their class ids.
        attention_words: As in a recipe: ``"class"`` or ``"phrase"``.

    Returns:
        Those rows, as annotated images.
    """
    names = tuple(classes)
    for row in rows:
        prompt = _prompt(row["prompt"], names, attention_words)
        yield AnnotatedImage(image_of(row), label_of(row), prompt, names)


def write_report(tuning: Tuning, folder: Path) -> None:
    """``attention.json`` and ``attention.png`` in ``folder``.

    Raises:
        ExportError: they cannot be written.
    """
    report = {
        "recipe": tuning.recipe_fields,
        "iou": _mean(tuning.ious),
        "iou_one_class": _mean(tuning.ious[~tuning.several]),
        "iou_several_classes": _mean(tuning.ious[tuning.several]),
        "objects": len(tuning.ious),
        "steps": dict(tuning.steps),
        "choice": asdict(tuning.choice),
        "places": [
            {"layer": layer, "grid": list(tuning.grids[layer]), "timestep": timestep, "iou": round(iou, 4)}
            for (layer, timestep), iou in tuning.places.items()
        ],
    }
    tuning_report.write_report(folder, "attention", report=report, picture=_picture(tuning))


def _picture(tuning: Tuning) -> Image.Image:
    """IoU of every layer (rows, with its grid) at every timestep (columns), the chosen ones framed."""
    layers, timesteps = list(tuning.grids), sorted({timestep for _, timestep in tuning.places})
    top, (first, last) = max(tuning.places.values()) or 1.0, tuning.choice.timesteps

    def cell_at(row: int, column: int) -> Cell:
        layer, timestep = layers[row], timesteps[column]
        iou = tuning.places[layer, timestep]
        return Cell(f"{iou:.2f}", iou / top, layer in tuning.choice.layers and first <= timestep <= last)

    caption = f"best-threshold IoU of each layer alone; chosen together: {tuning.ious.mean():.3f}"
    names = [_short(layer, tuning) for layer in layers]
    return table_picture(names, list(map(str, timesteps)), cell_at, caption=caption)


def _prompt(text: str, classes: tuple[str, ...], attention_words: str) -> Prompt:
    text = normalise(text)
    return attended(Prompt(text, find_terms(text, tuple((name, name) for name in classes))), attention_words)


def _truth(item: AnnotatedImage) -> npt.NDArray[np.uint8]:
    """The mask in the numbers of the prompt's classes, 255 where another class stands."""
    table = np.full(256, IGNORE, dtype=np.uint8)
    table[BACKGROUND] = BACKGROUND
    for index, name in enumerate(item.prompt.categories, start=1):
        table[item.classes.index(name) + 1] = index
    height, width = item.label.shape
    scale = min(1.0, MAX_TRUTH_SIDE / max(height, width))
    size_wh = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(Image.fromarray(table[item.label]).resize(size_wh, Image.Resampling.NEAREST))


def _present(sample: Annotated) -> list[int]:
    return [i for i in range(len(sample.observation.categories)) if np.any(sample.truth == i + 1)]


def _mean(values: npt.NDArray[np.float64]) -> float | None:
    return round(float(values.mean()), 4) if len(values) else None


def _short(layer: str, tuning: Tuning) -> str:
    height, width = tuning.grids[layer]
    name = layer.removesuffix(".attn2").replace(".transformer_blocks", "").replace("attentions.", "")
    return f"{name} {height}x{width}"
