"""How much of everything bench_streets does: in full, quickly, and as the pilot that a shared machine carries."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["FULL", "PILOT", "QUICK", "Sizes", "chosen_sizes"]


@dataclass(frozen=True)
class Sizes:
    """The size of each part. Steps are optimizer steps.

    ``crops`` are cut from each photo at random, squares of ``pixels`` a side after resizing; the autoencoder is fine-tuned
    for ``autoencoder_steps`` where it reaches under ``least_psnr`` dB on them. The ``network`` is trained for ``steps`` of
    ``batch`` crops, and kept every ``kept_every`` steps for the curve over images seen. Every ``photo_step``-th
    test photo is labelled, ``generated`` pictures are made, and every segmenter is trained for ``segmenter_steps`` with each
    of ``seeds``.
    """

    name: str
    pixels: int
    crops: int
    autoencoder_steps: int
    network: str
    steps: int
    batch: int
    kept_every: int
    photo_step: int
    generated: int
    segmenter_steps: int
    seeds: tuple[int, ...]
    photos: int | None = None
    least_psnr: float = 22.0


FULL = Sizes(
    name="full",
    pixels=128,
    crops=24,
    autoencoder_steps=8000,
    network="small",
    steps=60_000,
    batch=32,
    kept_every=10_000,
    photo_step=1,
    generated=2000,
    segmenter_steps=2000,
    seeds=(0, 1, 2),
)
"""About two GPU hours, or some days of two cores."""

PILOT = Sizes(
    name="pilot",
    pixels=96,
    crops=2,
    autoencoder_steps=60,
    network="tiny",
    steps=1500,
    batch=16,
    kept_every=500,
    photo_step=5,
    generated=60,
    segmenter_steps=300,
    seeds=(0,),
)
"""An hour of one core: what the curve looks like at its beginning."""

QUICK = Sizes(
    name="quick",
    pixels=64,
    crops=1,
    autoencoder_steps=2,
    network="tiny",
    steps=4,
    batch=2,
    kept_every=2,
    photo_step=1,
    generated=6,
    segmenter_steps=2,
    seeds=(0,),
    photos=2,
)
"""Two photos of each split: the way from end to end, no figures."""


def chosen_sizes(*, quick: bool, variables: Mapping[str, str] | None = None) -> Sizes:
    """The sizes of a run; ``SIZES=pilot`` makes the quick run the pilot.

    Raises:
        SystemExit: ``SIZES`` names no sizes of a quick run.
    """
    asked = (os.environ if variables is None else variables).get("SIZES", "")
    if not quick:
        return FULL
    known = {sizes.name: sizes for sizes in (QUICK, PILOT)}
    if asked and asked not in known:
        raise SystemExit(f"SIZES={asked}: expected {' or '.join(known)}, with QUICK=1")
    return known[asked or QUICK.name]
