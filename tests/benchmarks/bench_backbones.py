"""Model families, and what capture costs at full size against plain generation and against others' ways."""

from __future__ import annotations

import math
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

import torch

from diffumask_datasets.attention.affinity import SelfAttentionRecorder, select_affinity_layers
from diffumask_datasets.attention.hooks import AttentionCall
from diffumask_datasets.attention.layout import TextTokens, narrow
from diffumask_datasets.attention.recorder import CHUNK_LOGITS, CrossAttentionRecorder
from diffumask_datasets.diffusion.diffusion import DiffusersModel
from diffumask_datasets.diffusion.protocol import GenerationRequest
from diffumask_datasets.recipes.recipe import Recipe
from tests.benchmarks.allocation import allocated_mb
from tests.benchmarks.full_size_models import flux_like, stable_diffusion_15
from tests.benchmarks.harness import paired_ratio, run
from tests.benchmarks.peers import StoreAll, SumPerHead, processors
from tests.helpers.tiny_models.cases import CAR
from tests.helpers.tiny_models.table import write_table

REQUESTS = [GenerationRequest(CAR, 1)]
CLOCK = time.process_time
"""Generating on the CPU takes one thread of this process: other work on the machine is none of ours."""

SD15_LAYERS = [(64, 5, 40), (32, 5, 80), (16, 5, 160), (8, 1, 160)]
"""Side of the token grid at 512 px, cross-attention layers on it (and as many of self-attention), width of a head."""


def measure(quick: bool) -> Mapping[str, float]:
    size, steps, rounds = (256, 1, 2) if quick else (256, 3, 5)
    return {
        **_recorder_alone(),
        **_joint(flux_like(), rounds=rounds),
        **_stable_diffusion(stable_diffusion_15(), size, steps, rounds=rounds),
        **_peer_memory(size),
        "families_green": write_table(),
    }


def _recipe(size: int, grids: list[int], steps: int = 3) -> Recipe:
    return Recipe.of(
        classes=["car"],
        model="random",
        height=size,
        width=size,
        num_inference_steps=steps,
        guidance_scale=7.5,
        attention_grids=grids,
    )


def _stable_diffusion(diffusion_model: DiffusersModel, size: int, steps: int, *, rounds: int) -> dict[str, float]:
    recipe = _recipe(size, [size // scale for scale in (8, 16, 32)], steps)
    unet = diffusion_model.denoiser

    def peer(make: type, *, self_attention: bool) -> Callable[[], object]:
        def generate_by() -> object:
            with processors(unet, make, self_attention=self_attention):
                return diffusion_model._run(REQUESTS, recipe)

        return generate_by

    ways: dict[str, Callable[[], object]] = {
        "sd15": lambda: diffusion_model.generate(REQUESTS, recipe),
        "sd15_with_affinity": lambda: diffusion_model.generate(REQUESTS, _spread(recipe)),
        "ptp": peer(StoreAll, self_attention=True),
        "daam": peer(SumPerHead, self_attention=False),
    }
    return _ratios(ways, lambda: diffusion_model._run(REQUESTS, recipe), rounds=rounds)


def _joint(diffusion_model: DiffusersModel, *, rounds: int, size: int = 512) -> dict[str, float]:
    recipe = _recipe(size, [size // 16], steps=1)  # steps cost the same, with and without capture
    ways: dict[str, Callable[[], object]] = {
        "joint": lambda: diffusion_model.generate(REQUESTS, recipe),
        "joint_with_affinity": lambda: diffusion_model.generate(REQUESTS, _spread(recipe)),
    }
    figures = _ratios(ways, lambda: diffusion_model._run(REQUESTS, recipe), rounds=rounds)
    return {**figures, "joint_image_tokens": (size // 16) ** 2}


def _ratios(ways: Mapping[str, Callable[[], object]], plain: Callable[[], object], *, rounds: int) -> dict[str, float]:
    figures = {}
    for name, way in ways.items():
        way()
        ratio, spread = paired_ratio(way, plain, rounds=rounds, clock=CLOCK)
        figures |= {f"{name}_time_ratio": ratio, f"{name}_time_ratio_spread": spread}
    return figures


def _spread(recipe: Recipe) -> Recipe:
    return recipe.model_copy(update={"affinity": "self-attention"})


def _recorder_alone() -> dict[str, float]:
    """What the recorders themselves allocate at full size: most at once, and what they hold between two calls."""
    record_sd15(1, affinity_grids=(32, 64))  # the calls themselves are made here, and are none of the recorders'
    record_flux(1, affinity=True)
    peak, held = allocated_mb(lambda: record_sd15(3))
    with_affinity, affinity_held = allocated_mb(lambda: record_sd15(3, affinity_grids=(32,)))
    return {
        "recorder_mb_sd15_512": peak,
        "recorder_mb_sd15_512_50_steps": allocated_mb(lambda: record_sd15(50))[0],
        "recorder_held_mb_sd15_512": held,
        "recorder_mb_sd15_512_chunks_of_accelerators": allocated_mb(lambda: record_sd15(3, CHUNK_LOGITS))[0],
        "recorder_mb_sd15_512_with_affinity": with_affinity,
        "recorder_held_mb_sd15_512_with_affinity": affinity_held,
        "recorder_mb_sd15_512_with_affinity_of_64": allocated_mb(lambda: record_sd15(3, affinity_grids=(64,)))[0],
        "recorder_mb_flux_1024": allocated_mb(lambda: record_flux(2))[0],
        "recorder_mb_flux_1024_with_affinity": allocated_mb(lambda: record_flux(2, affinity=True))[0],
    }


def _peer_memory(size: int) -> dict[str, float]:
    plain = _peak_mb(f"generate_sd15('plain', {size})")
    return {
        f"{way}_memory_mb": _peak_mb(f"generate_sd15({way!r}, {size})") - plain for way in ("capture", "ptp", "daam")
    }


def _peak_mb(call: str) -> float:
    code = f"from tests.benchmarks import bench_backbones as b; b.{call}; b.print_peak()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def print_peak() -> None:
    # Not getrusage: its maximum is handed down from the parent process.
    status = Path("/proc/self/status").read_text()
    print(int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024)  # type: ignore[index]


def generate_sd15(way: str, size: int) -> None:
    diffusion_model, recipe = stable_diffusion_15(), _recipe(size, [size // 16])
    if way == "capture":
        diffusion_model.generate(REQUESTS, recipe)
    elif way == "plain":
        diffusion_model._run(REQUESTS, recipe)
    else:
        make = {"ptp": StoreAll, "daam": SumPerHead}[way]
        with processors(diffusion_model.denoiser, make, self_attention=way == "ptp"):
            diffusion_model._run(REQUESTS, recipe)


def record_sd15(steps: int, chunk_logits: int | None = None, *, affinity_grids: Sequence[int] = ()) -> object:
    """The recorders after the attention calls of SD 1.5 at 512 px, one image, on every grid they take."""
    calls = _sd15_calls(keys=77)
    layers = {call.name: _grid(call) for call in calls}
    cross = CrossAttentionRecorder(layers, [TextTokens({"car": (6,)}, 7)], chunk_logits=chunk_logits)
    self_layers = select_affinity_layers(layers, affinity_grids) if affinity_grids else {}
    self_calls = [call for call in _sd15_calls(keys=None) if call.name in self_layers]
    itself = SelfAttentionRecorder(self_layers, 1, chunk_logits=chunk_logits)
    for _ in range(steps):
        cross.begin_step(1)
        for call in calls:
            cross.record(call)
        for call in self_calls:
            itself.record(call, [0])
    return cross, itself


@cache
def _sd15_calls(*, keys: int | None) -> list[AttentionCall]:
    """Calls of every layer with so many keys, None for as many as queries."""
    return [
        AttentionCall(
            f"{side}-{number}",
            torch.randn(1, 8, side**2, dim),
            torch.randn(1, 8, keys or side**2, dim),
            None,
            dim**-0.5,
        )
        for side, layers, dim in SD15_LAYERS
        for number in range(layers)
    ]


def _grid(call: AttentionCall) -> tuple[int, int]:
    side = math.isqrt(call.query.shape[2])
    return side, side


def record_flux(calls: int, *, affinity: bool = False) -> object:
    """The recorders after joint calls of FLUX.1 at 1024 px: 4096 image tokens after 512 text tokens, 24 heads of 128."""
    call = narrow(_flux_call(), slice(0, 1), [512], 4096)
    recorder = CrossAttentionRecorder({"joint": (64, 64)}, [TextTokens({"car": (5,)}, 7)])
    itself = SelfAttentionRecorder({"joint": (64, 64)}, 1)
    for _ in range(calls):
        recorder.begin_step(1)
        recorder.record(call)
        if affinity:
            itself.record(call, [512])
    return recorder, itself


@cache
def _flux_call() -> AttentionCall:
    query, key = torch.randn(1, 24, 4608, 128).bfloat16(), torch.randn(1, 24, 4608, 128).bfloat16()
    return AttentionCall("joint", query, key, None, 128**-0.5)


if __name__ == "__main__":
    run("backbones", measure)
