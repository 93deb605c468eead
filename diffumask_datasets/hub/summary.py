"""What a dataset card says in numbers and pictures, gathered in one pass over the rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageDraw

from diffumask_datasets.dataset.contact_sheet import class_colours
from diffumask_datasets.dataset.density import Density, image_density
from diffumask_datasets.dataset.schema import Row
from diffumask_datasets.sample import id2label

__all__ = ["AREA_EDGES", "Summary", "area_histogram"]

AREA_EDGES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
"""Object areas as fractions of the image, between the bars of the histogram."""

GRID_SAMPLES = 12
PROMPTS_SHOWN = 5

BAR_HEIGHT, BAR_WIDTH, MARGIN, LINE = 140, 18, 40, 16


@dataclass
class Summary:
    """Counts over rows. ``areas`` maps a class id to the number of its objects in each bar; those of ``stuff`` are none."""

    classes: tuple[str, ...]
    images: Counter[str] = field(default_factory=Counter)
    images_of_class: Counter[int] = field(default_factory=Counter)
    objects_of_class: Counter[int] = field(default_factory=Counter)
    areas: dict[int, Counter[int]] = field(default_factory=dict)
    models: Counter[str] = field(default_factory=Counter)
    sizes_hw: Counter[tuple[int, int]] = field(default_factory=Counter)
    prompts: dict[str, None] = field(default_factory=dict)
    qualities: list[float] = field(default_factory=list)
    thresholds: list[float] = field(default_factory=list)
    first_rows: list[Row] = field(default_factory=list)
    density: Density = field(default_factory=Density)
    stuff: frozenset[int] = frozenset()

    def see(self, split: str, row: Row) -> None:
        """Counts one ``default`` row."""
        self.images[split] += 1
        self.images_of_class.update(row["classes"])
        self.models[row["model"]] += 1
        self.prompts.setdefault(row["prompt"])
        self.qualities.append(row["quality"])
        self.thresholds += row["threshold"]
        self.density.add(image_density(row, self.stuff))
        objects = row["objects"]
        for category, area, rle in zip(objects["category"], objects["area"], objects["segmentation"], strict=True):
            height, width = rle["size"]
            self.sizes_hw[height, width] += 1
            self.objects_of_class[category] += 1
            bar = int(np.searchsorted(AREA_EDGES, area / (height * width), side="right"))
            self.areas.setdefault(category, Counter())[bar] += 1
        if len(self.first_rows) < GRID_SAMPLES:
            self.first_rows.append(row)

    def example_prompts(self) -> list[str]:
        """The first few distinct prompts."""
        return list(self.prompts)[:PROMPTS_SHOWN]

    def quantiles(self, values: Sequence[float]) -> tuple[float, float, float]:
        """The 5 %, 50 % and 95 % quantiles; NaN of nothing."""
        if not values:
            return float("nan"), float("nan"), float("nan")
        low, middle, high = np.quantile(values, (0.05, 0.5, 0.95)).tolist()
        return low, middle, high


def area_histogram(summary: Summary) -> Image.Image:
    """Objects by the share of the image they cover, one colour per class, counts from the bottom up."""
    names = id2label(summary.classes)
    shown = sorted(summary.areas)
    bars = len(AREA_EDGES) + 1
    group = max(len(shown), 1) * BAR_WIDTH + BAR_WIDTH
    size_wh = (2 * MARGIN + bars * group, BAR_HEIGHT + 2 * MARGIN + LINE * len(shown))
    sheet = Image.new("RGB", size_wh, "white")
    draw = ImageDraw.Draw(sheet)
    most = max((count for counts in summary.areas.values() for count in counts.values()), default=1)
    floor = MARGIN // 2 + BAR_HEIGHT
    draw.text((4, 2), f"objects (highest bar: {most})", fill="black")
    for bar in range(bars):
        left = MARGIN + bar * group
        for place, category in enumerate(shown):
            height = round(summary.areas[category][bar] / most * (BAR_HEIGHT - LINE))
            corner = left + place * BAR_WIDTH
            if height:
                draw.rectangle((corner, floor - height, corner + BAR_WIDTH - 3, floor), fill=_colour(category))
        draw.text((left, floor + 4), _bar_name(bar), fill="black")
    draw.line((MARGIN, floor + 1, size_wh[0] - MARGIN, floor + 1), fill="black")
    for place, category in enumerate(shown):
        top = floor + MARGIN // 2 + 4 + place * LINE
        draw.rectangle((MARGIN, top + 2, MARGIN + 10, top + 12), fill=_colour(category))
        draw.text((MARGIN + 16, top), f"{names[category]} ({summary.objects_of_class[category]})", fill="black")
    return sheet


def _bar_name(bar: int) -> str:
    if bar == 0:
        return f"< {AREA_EDGES[0]:.0%}"
    return f"≥ {AREA_EDGES[bar - 1]:.0%}" if bar == len(AREA_EDGES) else f"{AREA_EDGES[bar - 1]:.0%}-"


def _colour(category: int) -> tuple[int, int, int]:
    red, green, blue = class_colours()[category].tolist()
    return red, green, blue
