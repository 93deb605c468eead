"""Every family as the tests know it, apart from what the package declares: where its tokens stand, in plain numbers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from diffumask_datasets.attention.contrast import Contrast
from diffumask_datasets.diffusion.diffusion import DiffusersModel
from diffumask_datasets.diffusion.families import (
    aura_flow,
    chroma,
    cogview4,
    flux,
    flux2,
    hunyuan_dit,
    kolors,
    latent_consistency,
    lumina2,
    pixart,
    qwen_image,
    sana,
    sd3,
    sdxl,
    stable_diffusion,
    z_image,
)
from diffumask_datasets.diffusion.family import Family
from diffumask_datasets.diffusion.protocol import GenerationRequest
from diffumask_datasets.prompts.prompt import Prompt, Term
from diffumask_datasets.recipes.recipe import Recipe
from tests.helpers.tiny_models import models

CAR = Prompt("a photo of a red car", (Term("car", 17, 20),))
PLANT = Prompt("a potted plant", (Term("potted plant", 2, 14),))
REQUESTS = [GenerationRequest(CAR, 1), GenerationRequest(PLANT, 2)]
SPELLINGS = (("▁", ""), ("Ġ", ""), ("", ""), ("", "</w>"))
PIECES = {f"{space}{word}{end}" for word in ("car", "potted", "plant") for space, end in SPELLINGS}
"""The words of the classes in every vocabulary."""


@dataclass(frozen=True)
class Case:
    """One tiny pipeline.

    ``car`` and ``plant`` are the keys that the terms of the two prompts have in an image of 4x8 tokens; ``conditional``
    says what guidance adds: rows before the prompts' ("last") or after them ("first"), or calls of their own, or nothing.
    ``image`` is the first image token among the queries of each prompt, counted from the end where negative.
    ``before`` tokens stand between the start of the text, which is a special token, and the first word; None where the
    denoiser is given no such token. A token has ``token`` pixels a side, sizes are multiples of ``multiple``.
    """

    name: str
    model: str
    family: Family
    car: tuple[int, ...]
    plant: tuple[int, ...]
    conditional: Literal["last", "first", "calls", "alone"] = "last"
    image: tuple[int, int] = (0, 0)
    embedders: tuple[tuple[str, str], ...] = ()
    before: int | None = None
    token: int = 16
    multiple: int = 16

    @property
    def capture(self) -> str:
        return "cross-attention" if self.family.layout.order == "cross" else "joint attention"

    @property
    def is_joint(self) -> bool:
        return self.family.layout.order != "cross"

    @property
    def token_indices(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return self.car, self.plant

    @property
    def other_words(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The keys of "a photo of a red" before each car, and of "a" before each potted plant."""
        cars = tuple(index - back for index in self.car for back in range(5, 0, -1))
        return cars, tuple(index - 1 for index in self.plant[::2])

    @property
    def starts(self) -> tuple[int, int] | None:
        """The key of each prompt's start token."""
        return None if self.before is None else (self.car[0] - 5 - self.before, self.plant[0] - 1 - self.before)

    @property
    def contrasts(self) -> tuple[Contrast, ...]:
        return ("words", "background") if self.before is None else ("words", "background", "start")

    @property
    def affinity(self) -> dict[str, Any]:
        """The recipe fields by which self-attention is read, where it can be."""
        return {} if self.model == "sana" else {"affinity": "self-attention", "affinity_grids": [4]}

    def self_layers(self, denoiser: Any) -> list[str]:
        """Names of the layers, whatever their grid, in which the image attends to itself; none for linear attention."""
        if self.model == "sana":
            return []
        # Not those of some transformers that refine image or text alone before both meet.
        pattern = r"(?!.*refiner).*\.(attn|attention|attn1)" if self.is_joint else r".*\.attn1"
        return [name for name, _ in denoiser.named_modules() if re.fullmatch(pattern, name)]

    def recipe(self, **fields: Any) -> Recipe:
        defaults = {"height": 4 * self.token, "width": 8 * self.token, "num_inference_steps": 2, "attention_grids": [4]}
        given = {**defaults, "guidance_scale": 4.0, **fields}
        return Recipe.of(classes=["car", "potted plant"], model="tiny", **given)

    def diffusion_model(self) -> DiffusersModel:
        """A fresh one."""
        return DiffusersModel(models.built(self.model), self.family)


_SD = (("unet", "yes"),)
_FLUX = (("image", "x_embedder"), ("text", "context_embedder"))
_PIXART = (("image", "pos_embed.proj"), ("text", "caption_projection"))
_SD3 = (("image", "pos_embed.proj"), ("text", "context_embedder"))

CASES = (
    Case("SD 1.5", "sd1", stable_diffusion.STABLE_DIFFUSION, (6,), (2, 3), embedders=_SD, before=1),
    Case("SD 2.1 (v-prediction)", "sd2", stable_diffusion.STABLE_DIFFUSION, (6,), (2, 3), embedders=_SD, before=1),
    Case("SD-Turbo", "sd_turbo", stable_diffusion.STABLE_DIFFUSION, (6,), (2, 3), embedders=_SD, before=1),
    Case("LCM", "lcm", latent_consistency.LATENT_CONSISTENCY, (6,), (2, 3), "alone", embedders=_SD, before=1),
    Case("SDXL", "sdxl", sdxl.STABLE_DIFFUSION_XL, (6,), (2, 3), embedders=_SD, before=1),
    Case("SDXL-Turbo", "sdxl_turbo", sdxl.STABLE_DIFFUSION_XL, (6,), (2, 3), embedders=_SD, before=1),
    Case("Kolors", "kolors", kolors.KOLORS, (255,), (254, 255), embedders=_SD, before=2),
    Case("PixArt-α", "pixart_alpha", pixart.PIXART_ALPHA, (5,), (1, 2), embedders=_PIXART),
    Case("PixArt-Σ", "pixart_sigma", pixart.PIXART_SIGMA, (5,), (1, 2), embedders=_PIXART),
    Case("SD 3", "sd3", sd3.STABLE_DIFFUSION_3, (38, 53), (34, 35, 49, 50), embedders=_SD3, before=1),
    Case("SD 3.5", "sd35", sd3.STABLE_DIFFUSION_3, (38, 53), (34, 35, 49, 50), embedders=_SD3, before=1),
    Case("FLUX.1 dev", "flux", flux.FLUX, (5,), (1, 2), "alone", (-32, -32), _FLUX),
    Case("FLUX.1 schnell", "flux_schnell", flux.FLUX, (5,), (1, 2), "alone", (-32, -32), _FLUX),
    Case("FLUX.2 dev", "flux2", flux2.FLUX2, (510,), (509, 510), "alone", (-32, -32), _FLUX, before=154),
    Case("FLUX.2 klein", "flux2_klein", flux2.FLUX2_KLEIN, (11,), (7, 8), "calls", (-32, -32), _FLUX, before=6),
    Case(
        "Sana",
        "sana",
        sana.SANA,
        (6,),
        (2, 3),
        embedders=(("image", "patch_embed.proj"), ("text", "caption_projection")),
        token=32,
        multiple=32,
    ),
    Case(
        "Qwen-Image",
        "qwen_image",
        qwen_image.QWEN_IMAGE,
        (112,),
        (108, 109),
        "calls",
        (-32, -32),
        (("image", "img_in"), ("text", "txt_in")),
    ),
    Case(
        "Z-Image",
        "z_image",
        z_image.Z_IMAGE,
        (43,),
        (39, 40),
        "first",
        embedders=(("image", "all_x_embedder.2-1"), ("text", "cap_embedder")),
        before=6,
    ),
    Case("Chroma", "chroma", chroma.CHROMA, (5,), (1, 2), "calls", (-32, -32), _FLUX),
    Case(
        "Lumina 2",
        "lumina2",
        lumina2.LUMINA2,
        (156,),
        (152, 153),
        "calls",
        (157, 154),
        (("image", "x_embedder"), ("text", "time_caption_embed.caption_embedder")),
    ),
    Case(
        "CogView4",
        "cogview4",
        cogview4.COGVIEW4,
        (15,),
        (14, 15),
        "calls",
        (-32, -32),
        (("image", "patch_embed.proj"), ("text", "patch_embed.text_proj")),
        before=2,
    ),
    Case("AuraFlow", "aura_flow", aura_flow.AURA_FLOW, (263,), (262, 263), "last", (-32, -32), _SD3),
    Case(
        "HunyuanDiT",
        "hunyuan_dit",
        hunyuan_dit.HUNYUAN_DIT,
        (6, 82),
        (2, 3, 78, 79),
        embedders=(("image", "pos_embed.proj"), ("text", "text_embedder")),
        before=1,
    ),
)
