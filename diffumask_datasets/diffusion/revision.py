"""What a model *is*: the identity of its content, which goes into the digest of a recipe. Imports no torch."""

from __future__ import annotations

from pathlib import Path

from diffumask_datasets.errors import ModelError
from diffumask_datasets.models.fingerprint import fingerprint
from diffumask_datasets.recipes.json_reader import read_json

__all__ = ["INDEX", "fingerprint", "hub_commit", "hub_index", "local_folder", "pipeline_class"]

INDEX = "model_index.json"
"""The file that makes a folder a diffusers pipeline."""


def local_folder(model: str) -> Path | None:
    """The folder that ``model`` names, or None where it can only be a Hub id.

    Raises:
        ModelError: it is a file, a folder without a diffusers pipeline, or a path that does not exist.
    """
    path = Path(model).expanduser()
    if path.is_dir():
        if not (path / INDEX).is_file():
            raise ModelError(f"the folder {model!r} is not a diffusers pipeline: it has no {INDEX}")
        return path
    if path.exists():
        raise ModelError(
            f"{model!r} is a file; give it as checkpoint=…, and as model=… the folder of a diffusers pipeline "
            f"(with {INDEX}) or the Hub id of the model that it was made from, which says how it is built"
        )
    if model.startswith((".", "/", "~")) or model.count("/") != 1 or "\\" in model:
        raise ModelError(f"no model {model!r}: give 'toybox', an existing folder or a Hub id owner/name")
    return None


def pipeline_class(index: Path) -> str:
    """The pipeline class that a ``model_index.json`` names.

    Raises:
        ModelError: the file is not such an index.
    """
    content = read_json(index, what="the index", error=ModelError)
    if not isinstance(content, dict) or "_class_name" not in content:
        raise ModelError(f"{str(index)!r} is not the index of a diffusers pipeline: it has no _class_name")
    name = content["_class_name"]
    # Pipelines with own code name [module, class]; the code itself is never run.
    name = name[-1] if isinstance(name, list) and len(name) == 2 else name
    if not isinstance(name, str):
        raise ModelError(
            f"{str(index)!r} is not the index of a diffusers pipeline: its _class_name is no name of a class"
        )
    return name


def hub_index(model: str, revision: str | None) -> Path:
    """``model_index.json`` of a Hub model in the local cache; its parent folder is named after the commit.

    Asks the Hub, and where that cannot be reached the cache alone.

    Raises:
        ModelError: gated, missing, not a diffusers pipeline, or neither reachable nor in the cache.
    """
    from huggingface_hub import errors as hub
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(model, INDEX, revision=revision))
    except hub.GatedRepoError as error:
        mend = f"accept its terms at https://huggingface.co/{model}, then run: hf auth login"
        raise ModelError(f"the model {model!r} is gated: {mend}") from error
    except hub.RepositoryNotFoundError as error:
        raise ModelError(f"no model {model!r} on the Hub: check the name; if private, run: hf auth login") from error
    except hub.RevisionNotFoundError as error:
        raise ModelError(f"the model {model!r} has no revision {revision!r}") from error
    except hub.LocalEntryNotFoundError as error:
        raise ModelError(
            f"the model {model!r} is neither a folder here nor in the Hub cache, and the Hub cannot be reached: "
            "go online once, give a local folder, or take model='toybox'"
        ) from error
    except hub.EntryNotFoundError as error:
        raise ModelError(f"the model {model!r} is not a diffusers pipeline: it has no {INDEX}") from error
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot reach the model {model!r}: {str(error).strip().splitlines()[0]}") from error


def hub_commit(repository: str, revision: str | None) -> str:
    """The commit that ``revision`` of a Hub repository is now; asks the Hub, and where it cannot be reached the cache.

    Raises:
        ModelError: there is no such repository, or neither the Hub nor a cached copy can be reached.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return Path(snapshot_download(repository, revision=revision, allow_patterns=["*.safetensors"])).name
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise ModelError(f"cannot reach {repository!r}: {str(error).strip().splitlines()[0]}") from error
