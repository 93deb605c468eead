"""References to models and files of weights: a name, and the revision that pins the content. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from diffumask_datasets.errors import ModelError
from diffumask_datasets.models.fingerprint import file_fingerprint, fingerprint

__all__ = [
    "AFFINITY_NET",
    "BUILT_IN_MODELS",
    "CHECKPOINT",
    "IMAGE_TEXT_MODEL",
    "LORA",
    "MODEL_INDEX",
    "PIPELINE",
    "SEGMENTER",
    "TEXT_MODEL",
    "TOYBOX",
    "VISION_LANGUAGE_MODEL",
    "ModelKind",
    "ModelReference",
]

MODEL_INDEX = "model_index.json"
"""The file that makes a folder a diffusers pipeline."""

BUILT_IN_MODELS = ("toybox", "planted")

TOYBOX = Path(__file__).parents[1] / "toybox" / "weights"
"""The shipped model."""

_FAKE_REVISION = "planted-1"
"""Raised whenever the fake model generates other bytes than before."""


@dataclass(frozen=True, slots=True)
class ModelKind:
    """What a kind of reference may name.

    Attributes:
        noun: What messages call it.
        remedy: What to give instead of a wrong name.
        index: The file, or pattern of files, that a folder or Hub repository of this kind has; "" allows neither.
        form: What such a folder is, in words.
        suffix: Ending of a file of this kind; "" allows any, None allows no file.
        offline: What to do without the Hub.
    """

    noun: str
    remedy: str
    index: str = ""
    form: str = ""
    suffix: str | None = None
    offline: str = "go online once, or give a local folder"

    def named(self, name: str, revision: str | None = None) -> ModelReference:
        """The reference of this kind to ``name``."""
        return ModelReference(self, name, revision)


PIPELINE = ModelKind(
    "model",
    "give 'toybox', an existing folder or a Hub id owner/name",
    index=MODEL_INDEX,
    form="a diffusers pipeline",
    offline="go online once, give a local folder, or take model='toybox'",
)
CHECKPOINT = ModelKind("checkpoint", "give a .safetensors file on this machine", suffix=".safetensors")
LORA = ModelKind(
    "LoRA",
    "give a safetensors file, a folder or a Hub id owner/name",
    index="*.safetensors",
    form="a LoRA",
    suffix=".safetensors",
)
AFFINITY_NET = ModelKind("affinity net", "make one with diffumask train-affinity", suffix="")
TEXT_MODEL = ModelKind(
    "text model",
    "give an existing folder or a Hub id owner/name",
    index="config.json",
    form="a model of transformers",
)
IMAGE_TEXT_MODEL = ModelKind(
    "image-text model",
    "give an existing folder or a Hub id owner/name, e.g. 'openai/clip-vit-base-patch32'",
    index="config.json",
    form="a model of transformers",
)
VISION_LANGUAGE_MODEL = ModelKind(
    "vision-language model",
    "give an existing folder or a Hub id owner/name, e.g. 'HuggingFaceTB/SmolVLM-Instruct'",
    index="config.json",
    form="a model of transformers",
)
SEGMENTER = ModelKind(
    "promptable segmenter",
    "give an existing folder or a Hub id owner/name, e.g. 'facebook/sam2.1-hiera-tiny'",
    index="config.json",
    form="a model of transformers",
)


@dataclass(frozen=True, slots=True)
class ModelReference:
    """A model or file of weights: a folder, a file or a Hub id, and the revision that it must have (None: any)."""

    kind: ModelKind
    name: str
    revision: str | None = None

    @property
    def local(self) -> Path | None:
        """The folder or file, or None where the name can only be a Hub id.

        Raises:
            ModelError: the name is neither, or what lies there is not of this kind.
        """
        if self.is_built_in:
            return TOYBOX if self.name == "toybox" else None
        path = Path(self.name).expanduser()
        if path.is_dir() and self.kind.index:
            if not any(path.glob(self.kind.index)):
                raise ModelError(f"the folder {self.name!r} is not {self.kind.form}: it has no {self.kind.index}")
            return path
        if path.exists():
            self._check_file(path)
            return path
        if (
            not self.kind.index
            or self.name.startswith((".", "/", "~"))
            or self.name.count("/") != 1
            or "\\" in self.name
        ):
            raise ModelError(f"no {self.kind.noun} {self.name!r}: {self.kind.remedy}")
        return None

    def resolve(self) -> str:
        """Identifies the content: the fingerprint of a folder or file, the commit of a Hub repository.

        Raises:
            ModelError: it cannot be found, is not of this kind, or does not have the content that ``revision`` names.
        """
        path = self.local
        if path is None and not self.is_built_in:
            return self._commit()
        present = _FAKE_REVISION if path is None else _fingerprint(path)
        if self.revision not in (None, present):
            raise ModelError(
                f"the {self.kind.noun} {self.name!r} has content {present!r}, not the revision {self.revision!r}; "
                "use the same version of the package, folder or file, or leave the revision out"
            )
        return present

    def file(self, name: str) -> Path:
        """The path of one of the reference's own files, downloaded from the Hub where it is not local.

        Asks the Hub, and where that cannot be reached the cache alone.

        Raises:
            ModelError: the repository is gated, missing or without this file, or neither reachable nor in the cache.
        """
        from huggingface_hub import hf_hub_download

        local = self.local
        if local:
            return local / name
        with self._readable_errors(name):
            return Path(hf_hub_download(self.name, name, revision=self.revision))

    @property
    def is_built_in(self) -> bool:
        """Whether the package itself brings it."""
        return self.kind is PIPELINE and self.name in BUILT_IN_MODELS

    def _check_file(self, path: Path) -> None:
        suffix = self.kind.suffix
        if self.kind is PIPELINE:
            raise ModelError(
                f"{self.name!r} is a file; give it as checkpoint=…, and as model=… the folder of a diffusers pipeline "
                f"(with {MODEL_INDEX}) or the Hub id of the model that it was made from, which says how it is built"
            )
        if suffix is None or path.is_dir():
            raise ModelError(f"{self.name!r} is no {self.kind.noun}: {self.kind.remedy}")
        if suffix and path.suffix != suffix:
            raise ModelError(f"the {self.kind.noun} {self.name!r} is no {suffix} file; pickled ones can run any code")

    def _commit(self) -> str:
        from huggingface_hub import snapshot_download

        if "*" not in self.kind.index:
            return self.file(self.kind.index).parent.name
        with self._readable_errors(self.kind.index):
            return Path(snapshot_download(self.name, revision=self.revision, allow_patterns=[self.kind.index])).name

    @contextmanager
    def _readable_errors(self, file: str) -> Iterator[None]:
        from huggingface_hub import errors as hub

        what = f"{self.kind.noun} {self.name!r}"
        try:
            yield
        except hub.GatedRepoError as error:
            accept = f"accept its terms at https://huggingface.co/{self.name}, then run: hf auth login"
            raise ModelError(f"the {what} is gated: {accept}") from error
        except hub.RepositoryNotFoundError as error:
            raise ModelError(f"no {what} on the Hub: check the name; if private, run: hf auth login") from error
        except hub.RevisionNotFoundError as error:
            raise ModelError(f"the {what} has no revision {self.revision!r}") from error
        except hub.LocalEntryNotFoundError as error:
            raise ModelError(
                f"the {what} is neither a folder here nor in the Hub cache, and the Hub cannot be reached: "
                f"{self.kind.offline}"
            ) from error
        except hub.EntryNotFoundError as error:
            raise ModelError(f"the {what} is not {self.kind.form}: it has no {file}") from error
        except (OSError, ValueError) as error:  # HfHubHTTPError is an OSError
            raise ModelError(f"cannot reach the {what}: {str(error).strip().splitlines()[0]}") from error


def _fingerprint(path: Path) -> str:
    return fingerprint(path) if path.is_dir() else file_fingerprint(path)
