"""What bench_real is asked for: the variables of ``make bench-real``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from diffumask_datasets.errors import RecipeError
from diffumask_datasets.segmentation.settings import Source, source_of_text
from tests.benchmarks.harness import ROOT

_FOLDER = ROOT / "build" / "real"

USAGE = "make bench-real MODEL=OWNER/NAME VOC=VOCdevkit/VOC2012 (or DATA=…; docs/benchmarks.md, 'real')"


@dataclass(frozen=True)
class Options:
    """One measurement.

    ``images`` is the most images that are shown, of each kind (one class, several classes); ``generated`` how many are
    generated, ``batch_size`` at once. ``size`` is the side that images are generated at and shown at, None for the model's.
    ``minutes`` bounds one run; the next goes on. ``segmenter`` is a promptable one, whose masks are compared too.
    """

    model: str
    source: Source | None
    output: Path
    classes: tuple[str, ...] = ()
    size: int | None = None
    images: int = 150
    generated: int = 100
    batch_size: int = 1
    minutes: float = 50.0
    segmenter: str | None = None

    @classmethod
    def of(cls, variables: Mapping[str, str], *, quick: bool = False) -> Options:
        """The options that the variables of ``make`` name.

        Raises:
            RecipeError: no model, two datasets, or a number that is none.
        """
        model, voc, data = (variables.get(name, "").strip() for name in ("MODEL", "VOC", "DATA"))
        if not model:
            raise RecipeError(f"MODEL names no model: {USAGE}")
        if voc and data:
            raise RecipeError(f"VOC and DATA both name a dataset: give one of them; {USAGE}")
        text = f"voc={voc}" if voc else data
        images = _number(variables, "IMAGES") or (3 if quick else cls.images)
        return cls(
            model=model,
            source=_source(text, variables.get("SPLIT", "").strip() or None) if text else None,
            output=Path(variables.get("OUTPUT", "").strip() or _FOLDER / _slug(f"{model} {voc or data}")),
            classes=tuple(name.strip() for name in variables.get("CLASSES", "").split(",") if name.strip()),
            size=_number(variables, "SIZE"),
            images=images,
            generated=_number(variables, "GENERATED") or (3 if quick else cls.generated),
            batch_size=_number(variables, "BATCH") or cls.batch_size,
            minutes=_number(variables, "MINUTES") or cls.minutes,
            segmenter=variables.get("SEGMENTER", "").strip() or None,
        )


def _source(text: str, split: str | None) -> Source:
    fields = source_of_text(text)
    if "generate" in fields:
        raise RecipeError(f"DATA={text}: expected real images with masks, not a recipe; {USAGE}")
    return Source.of(**fields, split=split)


def _number(variables: Mapping[str, str], name: str) -> int | None:
    text = variables.get(name, "").strip()
    if not text:
        return None
    if not text.isdecimal() or int(text) == 0:
        raise RecipeError(f"{name}={text}: expected a whole number from 1 on")
    return int(text)


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-.")
