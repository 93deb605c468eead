"""Loads the model that a name stands for. Imports no torch until then."""

from __future__ import annotations

import importlib.metadata
import pkgutil
from functools import partial
from typing import TYPE_CHECKING, Protocol

from diffumask_datasets.diffusion.model_index import class_of, read_index
from diffumask_datasets.errors import ModelError
from diffumask_datasets.models.garbage import collection_paused
from diffumask_datasets.models.locks import model_lock
from diffumask_datasets.models.reference import BUILT_IN_MODELS, PIPELINE
from diffumask_datasets.recipes.settings import PLAIN, LoadSettings

if TYPE_CHECKING:
    from diffumask_datasets.diffusion.family import Family
    from diffumask_datasets.diffusion.protocol import DiffusionModel

__all__ = ["FamilyLoader", "find_family", "is_registered_here", "load_model", "register_family"]


class FamilyLoader(Protocol):
    """Loads models of one family."""

    def __call__(
        self, model: str, *, revision: str | None, device: str | None, dtype: str | None, options: LoadSettings
    ) -> DiffusionModel:
        """Loads the pipeline ``model``, a folder or Hub id; None means the family's default."""


ENTRY_POINTS = "diffumask_datasets.families"
"""The group under which an installed package offers families: pipeline class = package.module:attribute."""

_FAMILY_FILES = {
    "aura_flow:AURA_FLOW": ("AuraFlowPipeline",),
    "chroma:CHROMA": ("ChromaPipeline",),
    "cogview4:COGVIEW4": ("CogView4Pipeline",),
    "flux:FLUX": ("FluxPipeline",),
    "flux2:FLUX2": ("Flux2Pipeline",),
    "flux2:FLUX2_KLEIN": ("Flux2KleinPipeline",),
    "hunyuan_dit:HUNYUAN_DIT": ("HunyuanDiTPipeline",),
    "kolors:KOLORS": ("KolorsPipeline",),
    "latent_consistency:LATENT_CONSISTENCY": ("LatentConsistencyModelPipeline",),
    "lumina2:LUMINA2": ("Lumina2Pipeline", "Lumina2Text2ImgPipeline"),
    "pixart:PIXART_ALPHA": ("PixArtAlphaPipeline",),
    "pixart:PIXART_SIGMA": ("PixArtSigmaPipeline",),
    "qwen_image:QWEN_IMAGE": ("QwenImagePipeline",),
    "sana:SANA": ("SanaPipeline",),
    "sd3:STABLE_DIFFUSION_3": ("StableDiffusion3Pipeline",),
    "stable_diffusion:STABLE_DIFFUSION": ("StableDiffusionPipeline",),
    "sdxl:STABLE_DIFFUSION_XL": ("StableDiffusionXLPipeline",),
    "z_image:Z_IMAGE": ("ZImagePipeline",),
}

# As text, so that no family is imported before it is needed.
_FAMILIES: dict[str, FamilyLoader | Family | str] = {
    pipeline: f"diffumask_datasets.diffusion.families.{page}"
    for page, pipelines in _FAMILY_FILES.items()
    for pipeline in pipelines
}

_REGISTERED: set[str] = set()

_NO_PROMPT_TOKENS = {
    "KandinskyV22Pipeline": "its decoder sees an image embedding",
    "KandinskyV22CombinedPipeline": "its decoder sees an image embedding",
    "GlmImagePipeline": "its decoder sees tokens that a language model wrote",
}
"""Pipelines whose image tokens never attend to a token of the prompt."""


def register_family(pipeline: str, loader: FamilyLoader | Family | str) -> None:
    """Makes ``loader`` responsible for models whose ``model_index.json`` names the class ``pipeline``.

    ``loader`` is a :class:`diffumask_datasets.diffusion.family.Family`, or a function that loads a model class of your own.
    It may be text, ``"package.module:attribute"``, and is then imported when first needed. Installed packages can do the
    same without being imported, by an entry point of the group ``diffumask_datasets.families``.
    """
    _FAMILIES[pipeline] = loader
    _REGISTERED.add(pipeline)


def is_registered_here(model: str, revision: str | None = None) -> bool:
    """Whether a pipeline is of a family that :func:`register_family` has made known to this process alone."""
    return bool(_REGISTERED) and model not in BUILT_IN_MODELS and class_of(read_index(model, revision)) in _REGISTERED


@model_lock
def load_model(
    model: str,
    *,
    revision: str | None = None,
    device: str | None = None,
    dtype: str | None = None,
    options: LoadSettings = PLAIN,
) -> DiffusionModel:
    """Loads a model.

    Args:
        model: ``"toybox"``, ``"planted"`` (the fake model of the tests), a local folder or a Hub id ``owner/name``.
        revision: That of a Hub model; a folder has the content that it has.
        device: torch's name of the device; default: the best there is.
        dtype: torch's name of the dtype; default: that of the device.
        options: Checkpoint, LoRA, scheduler and form of the weights.

    Returns:
        The model.

    Raises:
        ModelError: No such model, not a diffusers pipeline, of a family that cannot be read, or not loadable.
    """
    if model == "planted":
        from diffumask_datasets.diffusion.fake_model import FakeModel

        if options != PLAIN:
            raise ModelError(
                "the model 'planted' has no weights: leave out lora, checkpoint, scheduler, variant and pickle_weights"
            )

        return FakeModel.from_environment()
    with collection_paused():
        load = _loader(find_family(model, class_of(read_index(model, revision))))
    folder = PIPELINE.named(model).local
    source, revision = (str(folder), None) if folder else (model, revision)
    return load(source, revision=revision, device=device, dtype=dtype, options=options)


def find_family(model: str, pipeline: str) -> FamilyLoader | Family:
    """What is registered for the class ``pipeline`` of ``model``, else the loader that watches one step.

    Raises:
        ModelError: a pipeline whose image tokens never attend to the prompt.
    """
    if pipeline in _NO_PROMPT_TOKENS:
        raise ModelError(
            f"the model {model!r} is a {pipeline}: no prompt token reaches its image tokens "
            f"({_NO_PROMPT_TOKENS[pipeline]}), so there is no cross-attention to read; take another model"
        )
    found = _FAMILIES.get(pipeline) or _offered(pipeline) or "diffumask_datasets.diffusion.families.unknown:load"
    family: FamilyLoader | Family = pkgutil.resolve_name(found) if isinstance(found, str) else found
    return family


def _loader(family: FamilyLoader | Family) -> FamilyLoader:
    # torch is loaded with a model, not before.
    from diffumask_datasets.diffusion.diffusion import DiffusersModel
    from diffumask_datasets.diffusion.family import Family

    return partial(DiffusersModel.load, family=family) if isinstance(family, Family) else family


def _offered(pipeline: str) -> str | None:
    """What an installed package offers for ``pipeline``."""
    points = importlib.metadata.entry_points(group=ENTRY_POINTS)
    return next((point.value for point in points if point.name == pipeline), None)
