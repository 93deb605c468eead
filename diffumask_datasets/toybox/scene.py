"""Drawing a scene: image, exact semantic and instance masks, caption. Everything follows from (split, seed)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from diffumask_datasets.toybox.backgrounds import Field, draw_background
from diffumask_datasets.toybox.captions import Mention, write_caption
from diffumask_datasets.toybox.layout import PlacedObject, lay_out
from diffumask_datasets.toybox.shapes import draw_object
from diffumask_datasets.toybox.world import BACKGROUNDS, CLASS_NAMES, COLOURS, MAX_OBJECTS, SPLITS, class_id

Image8 = NDArray[np.uint8]

COUNT_SHARES = (0.60, 0.32, 0.08)
SAME_CLASS_SHARE = 0.15
OUTLINE = 0.009
"""Width of the dark contour as a share of the shorter image side."""

_OVERSAMPLE = 2


@dataclass(frozen=True)
class SceneObject:
    """One visible object; ``instance_id`` is its value in the instance mask."""

    class_name: str
    colour: str
    instance_id: int


@dataclass(frozen=True)
class Scene:
    """A drawn scene with its ground truth.

    ``image`` uint8 (height, width, 3); ``semantic`` uint8 (height, width), 0 background, 1..10 class ids;
    ``instances`` uint8 (height, width), 0 none, then the instance ids of ``objects``, back to front.
    """

    image: Image8
    semantic: Image8
    instances: Image8
    objects: tuple[SceneObject, ...]
    background: str
    caption: str


@dataclass(frozen=True)
class Demand:
    """What a scene must hold; ``None`` leaves it to chance. ``colours`` goes with ``classes``, entry by entry."""

    classes: Sequence[str] | None = None
    colours: Sequence[str | None] | None = None
    background: str | None = None
    count: int | None = None

    def __post_init__(self) -> None:
        if self.count is not None and not 1 <= self.count <= MAX_OBJECTS:
            raise ValueError(f"a scene holds 1 to {MAX_OBJECTS} objects, not {self.count}")
        if self.classes is not None and not 1 <= len(self.classes) <= MAX_OBJECTS:
            raise ValueError(f"a scene holds 1 to {MAX_OBJECTS} objects, not {len(self.classes)}")
        if self.classes is not None and self.count not in (None, len(self.classes)):
            raise ValueError(f"count {self.count} does not match {len(self.classes)} classes")
        if self.colours is not None and len(self.colours) != len(self.classes or ()):
            raise ValueError(f"{len(self.colours)} colours for {len(self.classes or ())} classes")
        _check_known("class", self.classes or (), CLASS_NAMES)
        _check_known("colour", [colour for colour in self.colours or () if colour], tuple(COLOURS))
        _check_known("background", [self.background] if self.background else [], BACKGROUNDS)


def _check_known(what: str, names: Sequence[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise ValueError(f"unknown {what} {name!r}; the drawn world knows {', '.join(known)}")


def scene_generator(seed: int, split: str) -> np.random.Generator:
    """The random stream of scene ``seed`` of ``split``; streams of different splits never meet."""
    _check_known("split", [split], SPLITS)
    if seed < 0:
        raise ValueError(f"seed must be >= 0, not {seed}")
    return np.random.default_rng([SPLITS.index(split) + 1, seed])


def render_scene(
    seed: int, *, size: tuple[int, int] = (128, 128), split: str = "train", demand: Demand | None = None
) -> Scene:
    """Scene ``seed`` of ``split`` at ``size`` (height, width), holding what ``demand`` asks for."""
    scene, _ = render_with_captions(seed, size=size, split=split, demand=demand, phrasings=1)
    return scene


def render_with_captions(
    seed: int,
    *,
    size: tuple[int, int] = (128, 128),
    split: str = "train",
    demand: Demand | None = None,
    phrasings: int = 4,
) -> tuple[Scene, tuple[str, ...]]:
    """The same scene as ``render_scene`` with ``phrasings`` captions, the first of them being the scene's own."""
    if min(size) < 16:
        raise ValueError(f"size (height, width) must be at least 16 each, not {size}")
    rng = scene_generator(seed, split)
    wanted = demand or Demand()
    background = wanted.background or str(rng.choice(BACKGROUNDS))
    extent = (size[0] / min(size), size[1] / min(size))
    placed = lay_out(_draw_objects(wanted, rng), extent, rng)
    image, instances = rasterise(placed, draw_background(background, size, rng), rng)
    objects = tuple(SceneObject(item.class_name, item.colour, index) for index, item in enumerate(placed, start=1))
    table = np.array([0, *(class_id(item.class_name) for item in objects)], dtype=np.uint8)
    mentions = [Mention(item.class_name, item.colour, item.x / extent[1], item.y / extent[0]) for item in placed]
    captions = tuple(write_caption(mentions, background, rng) for _ in range(phrasings))
    return Scene(image, table[instances], instances, objects, background, captions[0]), captions


def _draw_objects(wanted: Demand, rng: np.random.Generator) -> list[PlacedObject]:
    classes = list(wanted.classes or _choose_classes(wanted.count, rng))
    colours = [colour or str(rng.choice(list(COLOURS))) for colour in wanted.colours or [None] * len(classes)]
    items = []
    for name, colour in zip(classes, colours, strict=True):
        parts, tones = draw_object(name, colour, rng)
        items.append(PlacedObject(name, colour, tuple(parts), tones))
    return items


def _choose_classes(count: int | None, rng: np.random.Generator) -> list[str]:
    number = count or int(rng.choice((1, 2, 3), p=COUNT_SHARES))
    names = [str(name) for name in rng.choice(CLASS_NAMES, number, replace=False)]
    if number > 1 and rng.random() < SAME_CLASS_SHARE:
        names[1] = names[0]
    return names


def rasterise(placed: Sequence[PlacedObject], ground: Field, rng: np.random.Generator) -> tuple[Image8, Image8]:
    """Image and instance mask; each object's id rides in the alpha channel, so both come from the same pixels."""
    height, width = ground.shape[:2]
    scale = min(height, width) * _OVERSAMPLE
    canvas = Image.new("RGBA", (width * _OVERSAMPLE, height * _OVERSAMPLE))
    draw = ImageDraw.Draw(canvas)
    for index, item in enumerate(placed, start=1):
        _draw_parts(draw, item, index, scale)
    red, green, blue, owner = canvas.split()
    colour = np.asarray(Image.merge("RGB", (red, green, blue)).reduce(_OVERSAMPLE), dtype=np.float32)
    covered = np.asarray(owner.point([0] + [255] * 255).reduce(_OVERSAMPLE), dtype=np.float32) / 255
    instances = _majority(np.asarray(owner), len(placed))
    image = colour * _shading(placed, instances, rng)[..., None] + ground * (1.0 - covered[..., None])
    return np.clip(image + 0.5, 0.0, 255.0).astype(np.uint8), instances


def _majority(owner: Image8, count: int) -> Image8:
    """Instance id that covers at least half of each pixel, else 0; (2h, 2w) -> (h, w)."""
    blocks = [owner[i::_OVERSAMPLE, j::_OVERSAMPLE] for i in range(_OVERSAMPLE) for j in range(_OVERSAMPLE)]
    instances = np.zeros_like(blocks[0])
    for index in range(1, count + 1):
        share = np.add.reduce([block == index for block in blocks], dtype=np.uint8)
        instances[share * 2 >= len(blocks)] = index
    return instances


def _draw_parts(draw: ImageDraw.ImageDraw, item: PlacedObject, index: int, scale: int) -> None:
    contour = max(2, round(2 * OUTLINE * scale))
    outline = (*(int(tone) for tone in item.tones.outline), index)
    for part, points in zip(item.parts, item.polygons(), strict=True):
        flat = (points * scale).ravel().tolist()
        if part.outlined:
            joint = "curve" if len(part.points) <= 12 else None
            draw.line([*flat, *flat[:4]], fill=outline, width=contour, joint=joint)
        draw.polygon(flat, fill=(*(int(tone) for tone in part.fill), index))


def _shading(placed: Sequence[PlacedObject], instances: Image8, rng: np.random.Generator) -> NDArray[np.float32]:
    """Light from one upper side: a brightness factor (height, width) per pixel, 1 off the objects."""
    height, width = instances.shape
    unit = min(height, width)
    light = rng.uniform(-0.8, 0.8)
    strength = np.array([0.0, *rng.uniform(0.08, 0.18, len(placed))], np.float32)
    x, y, radius = (
        np.array([1.0, *(getattr(item, name) for item in placed)], np.float32) for name in ("x", "y", "radius")
    )
    columns = (np.arange(width, dtype=np.float32) + 0.5)[None, :] / unit
    rows = (np.arange(height, dtype=np.float32) + 0.5)[:, None] / unit
    along = (light * (columns - x[instances]) - (rows - y[instances])) / radius[instances]
    return np.asarray(1.0 + strength[instances] * along, dtype=np.float32)
