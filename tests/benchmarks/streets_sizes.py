"""How much of everything bench_streets does: in full, in some hours of one core, and quickly."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["FULL", "HOURS", "QUICK", "Sizes", "chosen_sizes"]


@dataclass(frozen=True)
class Sizes:
    """The size of each part. Steps are optimizer steps.

    ``crops`` are cut from each photo at random, squares of ``pixels`` a side after resizing; the autoencoder, or with
    ``decoder_only`` its decoder, is fine-tuned for ``autoencoder_steps`` where it reaches under ``least_psnr`` dB on them.
    The ``network`` is trained for ``steps`` of ``batch`` crops, and kept every ``kept_every`` steps for the curve over
    images seen. From ``taught_from`` on, a multiple of these, attention is taught which classes captions name. Every
    ``photo_step``-th test photo is labelled, its shorter side shown at ``shown`` pixels, as high as the ``generated``
    pictures are made, and every segmenter is trained for ``segmenter_steps`` with each of ``seeds``.
    """

    name: str
    pixels: int
    crops: int
    autoencoder_steps: int
    decoder_only: bool
    network: str
    steps: int
    taught_from: int
    batch: int
    rate: float
    kept_every: int
    shown: int
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
    decoder_only=False,
    network="small",
    steps=60_000,
    taught_from=20_000,
    batch=32,
    rate=1e-3,
    kept_every=10_000,
    shown=128,
    photo_step=1,
    generated=2000,
    segmenter_steps=2000,
    seeds=(0, 1, 2),
)
"""About two GPU hours, or some days of two cores."""

HOURS = Sizes(
    name="hours",
    pixels=64,
    crops=24,
    autoencoder_steps=400,
    decoder_only=True,
    network="compact",
    steps=12_800,
    taught_from=6400,
    batch=32,
    rate=2e-3,
    kept_every=3200,
    shown=128,
    photo_step=2,
    generated=300,
    segmenter_steps=600,
    seeds=(0,),
)
"""About two hours of one core: more images seen by a smaller network."""

QUICK = Sizes(
    name="quick",
    pixels=64,
    crops=1,
    autoencoder_steps=2,
    decoder_only=True,
    network="tiny",
    steps=4,
    taught_from=2,
    batch=2,
    rate=1e-3,
    kept_every=2,
    shown=64,
    photo_step=1,
    generated=6,
    segmenter_steps=2,
    seeds=(0,),
    photos=2,
)
"""Two photos of each split: the way from end to end, no figures."""


def chosen_sizes(*, quick: bool, variables: Mapping[str, str] | None = None) -> Sizes:
    """The sizes of a run: ``SIZES=hours`` in place of the full ones.

    Raises:
        SystemExit: ``SIZES`` names no sizes, or others than those of a quick run.
    """
    asked = (os.environ if variables is None else variables).get("SIZES", "")
    known = {sizes.name: sizes for sizes in ((QUICK,) if quick else (FULL, HOURS))}
    if asked and asked not in known:
        raise SystemExit(f"SIZES={asked}: expected {' or '.join(known)}")
    return known[asked or next(iter(known))]
