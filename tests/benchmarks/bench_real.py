"""A model of the user's on a dataset of the user's. Run by ``make bench-real MODEL=… [VOC=… | DATA=…]``.

Part ``shown``: images with human masks are shown to the model as ``diffumask label`` does, their classes given; heat maps
and finished masks of the defaults and of variants are compared with the human masks. Part ``generated``: the model generates
labelled images; their number an hour, memory, estimated quality.

Writes ``real.json`` and ``real.html`` into OUTPUT (build/real/… where none is named). Each image's result is kept there, so
that the same command goes on after it was killed, and after its MINUTES are over.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from diffumask_datasets.dataset.atomic import atomic_file
from diffumask_datasets.dataset.contact_sheet import sheet_of
from diffumask_datasets.errors import DiffuMaskError, RecipeError, TrainingError
from diffumask_datasets.generation.model import load_recipe_model
from diffumask_datasets.generation.prepare import prepare
from diffumask_datasets.models.out_of_memory import names_the_knob
from diffumask_datasets.recipes.recipe import Recipe
from diffumask_datasets.segmentation.sources import open_source
from tests.benchmarks.harness import circumstances
from tests.benchmarks.real_data import RealImages, classes_for
from tests.benchmarks.real_figures import generated_figures, shown_figures
from tests.benchmarks.real_generated import generated
from tests.benchmarks.real_options import USAGE, Options
from tests.benchmarks.real_page import page
from tests.benchmarks.real_records import Record, Records
from tests.benchmarks.real_shown import iou_of, judged, method_recipes

PARTS = ("shown", "generated")

SHOWN_SHARE = 0.7
"""Of the minutes, where both parts are asked for."""

ON_A_SHEET = 24


@dataclass
class Measured:
    """What a run found. ``made`` counts the images that no earlier run had finished, ``missing`` those left for the next."""

    figures: dict[str, float] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    sheets: dict[str, Image.Image] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    made: int = 0
    missing: int = 0


def measure(options: Options, parts: Sequence[str] = PARTS, **fields: Any) -> Measured:
    """Does the parts as far as the minutes go, and writes the figures and the page.

    Args:
        options: What is measured.
        parts: Some of :data:`PARTS`.
        **fields: More fields of the recipe.

    Raises:
        DiffuMaskError: no such model or dataset, or a model that cannot be shown images.
    """
    started = time.monotonic()
    if options.source is None:
        parts = [part for part in parts if part != "shown"]
    if not parts:
        raise RecipeError(f"the part shown needs a dataset: {USAGE}")
    recipe, images = _prepared(options, fields)
    load_recipe_model(recipe, None, None).check(recipe)
    found = Measured(facts={"model": options.model, "dataset": str(options.source or "none")})
    records = Records(options.output / "records")
    end = started + 60 * options.minutes
    if "shown" in parts and images is not None:
        share = SHOWN_SHARE if "generated" in parts else 1.0
        recipes = method_recipes(recipe, options.segmenter)
        _shown(found, recipes, images, records, deadline=started + share * (end - started))
    if "generated" in parts:
        _generated(found, recipe, options, records, deadline=end)
    found.facts |= {"images finished in this run": found.made, "images left for the next run": found.missing}
    found.facts |= {"recipe": recipe.model_dump(mode="json", exclude_defaults=True)}
    _write(found, options, time.monotonic() - started, parts)
    return found


def _prepared(options: Options, fields: dict[str, Any]) -> tuple[Recipe, RealImages | None]:
    size = {"height": options.size, "width": options.size}
    data = None if options.source is None else open_source(options.source, split="test")
    classes: str | Sequence[str] = options.classes or ("toybox" if options.model == "toybox" else "voc")
    if data is not None:
        classes = classes_for(data, options.classes, options.model)
    recipe = prepare(Recipe.of(classes=classes, model=options.model, **{**size, **fields}))
    return recipe, None if data is None else RealImages(data, recipe.classes, options.images)


def _shown(
    found: Measured, recipes: Mapping[str, Recipe], images: RealImages, records: Records, *, deadline: float
) -> None:
    numbers, done = images.chosen(), list[Record]()
    with tqdm(total=len(numbers), unit="image", desc="shown", disable=None) as progress:
        for real in images.read(numbers):
            if time.monotonic() >= deadline:
                break
            record, new = judged(real, recipes, records)
            done.append(record)
            found.made += new
            progress.update()
    found.missing += len(numbers) - len(done)
    found.figures |= shown_figures(done)
    found.facts |= {f"images {why}, passed over": count for why, count in images.left_out.items()}
    found.errors += [f"{method}: {error}" for record in done for method, error in record["errors"].items()]
    if done:
        worst = sorted(done, key=lambda record: float(np.mean(iou_of(record, "auto") or [0.0])))
        titles = "image, human mask, ours, heat"
        found.sheets[f"Shown images: {titles}"] = sheet_of(records.pictures(done[:ON_A_SHEET]), columns=2)
        found.sheets[f"The worst of them: {titles}"] = sheet_of(records.pictures(worst[:ON_A_SHEET]), columns=2)


def _generated(found: Measured, recipe: Recipe, options: Options, records: Records, *, deadline: float) -> None:
    done = []
    batch_size = options.batch_size
    count = -(-options.generated // batch_size) * batch_size
    with tqdm(total=count, unit="image", desc="generated", disable=None) as progress:
        for record, new in generated(recipe, records, count=count, batch_size=batch_size, deadline=deadline):
            done.append(record)
            found.made += new
            progress.update()
    found.missing += count - len(done)
    found.figures |= generated_figures(done)
    found.errors += [f"generated: {record['error']}" for record in done if record["error"]]
    if done:
        found.sheets["Generated images: image, mask, heat"] = sheet_of(records.pictures(done[:ON_A_SHEET]), columns=3)


def _write(found: Measured, options: Options, seconds: float, parts: Sequence[str]) -> None:
    command = f"make bench-real MODEL={options.model} PARTS={','.join(parts)}"
    run_by = circumstances(command, seconds)
    with atomic_file(options.output / "real.json") as draft:
        record = {**found.figures, "_facts": found.facts, "_errors": found.errors, "_run": run_by}
        draft.write_text(json.dumps(record, indent=2, default=str) + "\n", encoding="utf-8")
    title = f"{options.model} on {options.source}" if options.source else options.model
    with atomic_file(options.output / "real.html") as draft:
        facts = {**found.facts, **run_by}
        text = page(title, found.figures, facts=facts, sheets=found.sheets, errors=found.errors)
        draft.write_text(text, encoding="utf-8")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=USAGE)
    parser.add_argument("--quick", action="store_true", help="three images of each kind")
    parser.add_argument("--parts", default=",".join(PARTS), help=f"some of {','.join(PARTS)}")
    given = parser.parse_args()
    parts = [part for part in given.parts.split(",") if part]
    if set(parts) - set(PARTS):
        parser.error(f"no part {', '.join(sorted(set(parts) - set(PARTS)))}; there are: {', '.join(PARTS)}")
    try:
        options = Options.of(os.environ, quick=given.quick)
        with names_the_knob(TrainingError, lambda: f"with {options.model}: give a smaller SIZE or BATCH"):
            found = measure(options, parts)
    except DiffuMaskError as error:
        raise SystemExit(f"error: {error}") from None
    width = max(map(len, found.figures))
    for name, number in found.figures.items():
        print(f"{name:{width}}  {number:.4g}")
    if found.missing:
        print(f"{found.missing} images are left: the same command goes on")
    print(f"wrote {options.output / 'real.json'} and {options.output / 'real.html'}")


if __name__ == "__main__":
    main()
