"""Model families, and what capture costs at full size against plain painting and against others' ways."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import diffusers
import torch

from diffumask_datasets.attention.layout import Layout, TextTokens, narrow
from diffumask_datasets.attention.recorder import CrossAttentionRecorder
from diffumask_datasets.attention.tap import AttentionCall
from diffumask_datasets.backbones.diffusion import DiffusionBackbone
from diffumask_datasets.backbones.families.flux import FLUX
from diffumask_datasets.backbones.families.stable_diffusion import STABLE_DIFFUSION
from diffumask_datasets.backbones.protocol import PaintRequest
from diffumask_datasets.recipe import Recipe
from tests.backbones.tiny import vocabularies
from tests.backbones.tiny.cases import CAR
from tests.backbones.tiny.parts import SHIFTING, autoencoder, clip_encoder, t5_encoder
from tests.backbones.tiny.table import write_table
from tests.benchmarks.harness import paired_ratio, run
from tests.benchmarks.peers import StoreAll, SumPerHead, processors

REQUESTS = [PaintRequest(CAR, 1)]
CLOCK = time.process_time
"""Painting on the CPU takes one thread of this process: other work on the machine is none of ours."""

SD15_GRIDS = [(64, 5), (32, 5), (16, 5), (8, 1)]
"""Side of the token grid at 512 px, and cross-attention layers on it."""


def measure(quick: bool) -> Mapping[str, float]:
    size, steps, rounds = (256, 1, 2) if quick else (512, 3, 7)
    return {
        **_recorder_alone(),
        **_joint(flux_like(), steps, rounds=rounds),
        **_stable_diffusion(stable_diffusion_15(), size, steps, rounds=rounds),
        **_peer_memory(size),
        "families_green": write_table(),
        **(_on_accelerator() if torch.cuda.is_available() else {}),
    }


def stable_diffusion_15(**unet_options: Any) -> DiffusionBackbone:
    """The published architecture of the UNet with random weights; text encoder and decoder are tiny."""
    config = {"cross_attention_dim": 768, "attention_head_dim": 8, "sample_size": 64, **unet_options}
    tokenizer = vocabularies.clip()
    pipeline = diffusers.StableDiffusionPipeline(
        vae=autoencoder(4),
        text_encoder=clip_encoder(tokenizer, width=config["cross_attention_dim"]),
        tokenizer=tokenizer,
        unet=diffusers.UNet2DConditionModel(**config).eval(),
        scheduler=diffusers.DDIMScheduler(clip_sample=False, steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    return DiffusionBackbone(pipeline, STABLE_DIFFUSION)


def flux_like(**options: Any) -> DiffusionBackbone:
    """FLUX.1's blocks at their published width, one double and two single ones, with random weights."""
    config = {
        "num_layers": 1,
        "num_single_layers": 2,
        "joint_attention_dim": 32,
        "pooled_projection_dim": 32,
        **options,
    }
    clip, t5 = vocabularies.clip(), vocabularies.t5()
    pipeline = diffusers.FluxPipeline(
        scheduler=SHIFTING,
        vae=autoencoder(16, quantised=False, shift_factor=0.1),
        text_encoder=clip_encoder(clip),
        tokenizer=clip,
        text_encoder_2=t5_encoder(t5),
        tokenizer_2=t5,
        transformer=diffusers.FluxTransformer2DModel(**config).eval(),
    )
    return DiffusionBackbone(pipeline, FLUX)


def _recipe(size: int, grids: list[int], steps: int = 3) -> Recipe:
    return Recipe.of(
        classes=["car"], model="random", height=size, width=size, num_inference_steps=steps, attention_grids=grids
    )


def _stable_diffusion(backbone: DiffusionBackbone, size: int, steps: int, *, rounds: int) -> dict[str, float]:
    recipe = _recipe(size, [size // scale for scale in (8, 16, 32)], steps)
    unet = backbone.denoiser

    def peer(make: type, *, self_attention: bool) -> Callable[[], object]:
        def paint() -> object:
            with processors(unet, make, self_attention=self_attention):
                return backbone._run(REQUESTS, recipe)

        return paint

    ways: dict[str, Callable[[], object]] = {
        "sd15": lambda: backbone.paint(REQUESTS, recipe),
        "ptp": peer(StoreAll, self_attention=True),
        "daam": peer(SumPerHead, self_attention=False),
    }
    figures = {}
    for name, way in ways.items():
        way()
        ratio, spread = paired_ratio(way, lambda: backbone._run(REQUESTS, recipe), rounds=rounds, clock=CLOCK)
        figures |= {f"{name}_time_ratio": ratio, f"{name}_time_ratio_spread": spread}
    return figures


def _joint(backbone: DiffusionBackbone, steps: int, *, rounds: int, size: int = 512) -> dict[str, float]:
    recipe = _recipe(size, [size // 16], steps)
    backbone.paint(REQUESTS, recipe)
    ratio, spread = paired_ratio(
        lambda: backbone.paint(REQUESTS, recipe),
        lambda: backbone._run(REQUESTS, recipe),
        rounds=rounds,
        clock=CLOCK,
    )
    return {"joint_time_ratio": ratio, "joint_time_ratio_spread": spread, "joint_image_tokens": (size // 16) ** 2}


def _recorder_alone() -> dict[str, float]:
    """Memory of a fresh process that records calls of full size, beyond what the calls themselves take."""
    return {
        "recorder_held_mb_sd15_512": sum(4 * side * side for side, _ in SD15_GRIDS) / 2**20,
        "recorder_mb_sd15_512": _peak_mb("record_sd15(20)") - _peak_mb("record_sd15(0)"),
        "recorder_mb_sd15_512_80_steps": _peak_mb("record_sd15(80)") - _peak_mb("record_sd15(0)"),
        "recorder_mb_flux_1024": _peak_mb("record_flux(2)") - _peak_mb("record_flux(0)"),
    }


def _peer_memory(size: int) -> dict[str, float]:
    plain = _peak_mb(f"paint_sd15('plain', {size})")
    return {f"{way}_memory_mb": _peak_mb(f"paint_sd15({way!r}, {size})") - plain for way in ("capture", "ptp", "daam")}


def _peak_mb(call: str) -> float:
    code = f"from tests.benchmarks import bench_backbones as b; b.{call}; b.print_peak()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def print_peak() -> None:
    # Not getrusage: its maximum is handed down from the parent process.
    status = Path("/proc/self/status").read_text()
    print(int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024)  # type: ignore[index]


def paint_sd15(way: str, size: int) -> None:
    backbone, recipe = stable_diffusion_15(), _recipe(size, [size // 16])
    if way == "capture":
        backbone.paint(REQUESTS, recipe)
    elif way == "plain":
        backbone._run(REQUESTS, recipe)
    else:
        make = {"ptp": StoreAll, "daam": SumPerHead}[way]
        with processors(backbone.denoiser, make, self_attention=way == "ptp"):
            backbone._run(REQUESTS, recipe)


def record_sd15(steps: int) -> None:
    """The recorder on the cross-attention calls of SD 1.5 at 512 px, guided, one image."""
    calls = [
        AttentionCall(f"{side}-{number}", torch.randn(2, 8, side * side, 40), torch.randn(2, 8, 77, 40), None, 40**-0.5)
        for side, layers in SD15_GRIDS
        for number in range(layers)
    ]
    _load_kernels()
    layers = {call.name: (int(call.name.split("-")[0]),) * 2 for call in calls}
    recorder = CrossAttentionRecorder(layers, [{"car": (6,)}], timesteps=(0, 1000), first_row=1)
    for _ in range(steps):
        recorder.begin_step(1)
        for call in calls:
            recorder.record(call)


def record_flux(calls: int) -> None:
    """The recorder on joint calls of FLUX.1 at 1024 px: 4096 image tokens after 512 text tokens, 24 heads of 128."""
    query, key = torch.randn(1, 24, 4608, 128).bfloat16(), torch.randn(1, 24, 4608, 128).bfloat16()
    _load_kernels()
    call = AttentionCall("joint", query, key, None, 128**-0.5)
    columns = Layout("text first").columns(TextTokens({"car": (5,)}, 7), 4096)
    recorder = CrossAttentionRecorder({"joint": (64, 64)}, [columns], timesteps=(0, 1000))
    for _ in range(calls):
        recorder.begin_step(1)
        recorder.record(narrow(call, slice(0, 1), [512], 4096))


def _load_kernels() -> None:
    """Records a call of one token: what torch loads for the first product is not the recorder's."""
    recorder = CrossAttentionRecorder({"one": (1, 1)}, [{"car": (0,)}], timesteps=(0, 1000))
    recorder.begin_step(1)
    recorder.record(AttentionCall("one", torch.ones(1, 1, 1, 8), torch.ones(1, 1, 2, 8), None, 1.0))


def _on_accelerator() -> dict[str, float]:
    """SD 1.5 in float16 at 512 px and SDXL's UNet in bfloat16 at 1024 px, and labelled images a second."""
    figures = {}
    for name, backbone, size in (("sd15", stable_diffusion_15(), 512), ("flux", flux_like(), 1024)):
        backbone.pipeline.to("cuda", torch.float16 if name == "sd15" else torch.bfloat16)
        grids = [size // 16]
        recipe = _recipe(size, grids)
        backbone.paint(REQUESTS, recipe)
        ratio, _ = paired_ratio(
            lambda backbone=backbone, recipe=recipe: backbone.paint(REQUESTS, recipe),
            lambda backbone=backbone, recipe=recipe: backbone._run(REQUESTS, recipe),
            rounds=11,
        )
        started = time.perf_counter()
        backbone.paint(REQUESTS, recipe)
        figures[f"{name}_gpu_time_ratio"] = ratio
        figures[f"{name}_gpu_images_per_second_3_steps"] = 1 / (time.perf_counter() - started)
    return figures


if __name__ == "__main__":
    run("backbones", measure)
