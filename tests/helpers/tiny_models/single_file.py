"""A Stable Diffusion pipeline as one file in the layout of its first authors, the reverse of what diffusers reads."""

from __future__ import annotations

import re
from typing import Any

import torch

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def single_file(pipeline: Any) -> dict[str, torch.Tensor]:
    """All weights, for blocks that all attend and an autoencoder as deep as its decoder."""
    layers = pipeline.unet.config.layers_per_block + 1
    levels = len(pipeline.vae.config.block_out_channels)
    weights = {
        f"model.diffusion_model.{_unet_name(name, layers)}": weight
        for name, weight in pipeline.unet.state_dict().items()
    }
    for name, weight in pipeline.vae.state_dict().items():
        is_projection = re.search(r"\.attentions\.0\.to_\w+(\.0)?\.weight", name)  # a 1x1 convolution there
        weights[f"first_stage_model.{_vae_name(name, levels)}"] = weight[:, :, None, None] if is_projection else weight
    for name, weight in pipeline.text_encoder.state_dict().items():
        weights[f"cond_stage_model.transformer.text_model.{name.removeprefix('text_model.')}"] = weight
    return {name: weight.clone() for name, weight in weights.items()}


def _unet_name(name: str, layers: int) -> str:
    def place(match: re.Match[str]) -> str:
        block, part = int(match["block"]) * layers, int(match["part"])
        if match["kind"] in ("downsamplers", "upsamplers"):
            return (
                f"input_blocks.{block + layers}.0.op"
                if match["way"] == "down"
                else f"output_blocks.{block + layers - 1}.2.conv"
            )
        first = block + part + (1 if match["way"] == "down" else 0)
        stem = "input_blocks" if match["way"] == "down" else "output_blocks"
        return f"{stem}.{first}.{int(match['kind'] == 'attentions')}"

    name = re.sub(
        r"(?P<way>down|up)_blocks\.(?P<block>\d)\.(?P<kind>\w+)\.(?P<part>\d)(?:(?<=samplers\.0)\.conv)?", place, name
    )
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda match: f"middle_block.{2 * int(match[1])}", name)
    name = name.replace("mid_block.attentions.0", "middle_block.1")
    for ours, theirs in {"conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2"}.items():
        name = re.sub(rf"^{ours}\.", f"{theirs}.", name)
    name = re.sub(r"^time_embedding\.linear_(\d)", lambda match: f"time_embed.{2 * int(match[1]) - 2}", name)
    if re.match(r"((input|output)_blocks\.\d+\.0|middle_block\.[02])\.", name):
        for ours, theirs in RESNET.items():
            name = name.replace(f".{ours}.", f".{theirs}.")
    return name


def _vae_name(name: str, levels: int) -> str:
    def place(match: re.Match[str]) -> str:
        level = int(match["block"]) if match["way"] == "down" else levels - 1 - int(match["block"])
        if match["kind"] == "resnets":
            return f"{match['way']}.{level}.block.{match['part']}"
        return f"{match['way']}.{level}.{match['way']}sample"

    name = re.sub(r"(?P<way>down|up)_blocks\.(?P<block>\d)\.(?P<kind>\w+)\.(?P<part>\d)", place, name)
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda match: f"mid.block_{int(match[1]) + 1}", name)
    if "mid_block.attentions.0" in name:
        name = name.replace("mid_block.attentions.0", "mid.attn_1")
        for ours, theirs in ATTENTION.items():
            name = name.replace(f".{ours}.", f".{theirs}.")
    return name.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
