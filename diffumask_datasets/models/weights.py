"""Loads networks, and refuses weights that do not fit: what a file lacks, transformers and diffusers draw at random."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from safetensors import SafetensorError

from diffumask_datasets.errors import ModelError
from diffumask_datasets.models.locks import model_lock

__all__ = [
    "check_fit",
    "fill",
    "listed",
    "load_reported",
    "load_trunk",
    "load_whole",
    "on_device",
    "quiet_loading",
    "readable_errors",
]

_LISTED = 3
"""Names of weights that a message lists."""

_MISSHAPED = re.compile(r"because (\S+) expected shape")
"""How diffusers refuses a shape."""


@contextmanager
def readable_errors(what: str) -> Iterator[None]:
    """Within the block, what transformers raises where a network cannot be built or read is a ModelError that names it."""
    try:
        yield
    except ModelError:
        raise
    except (OSError, ValueError, ImportError, AttributeError, TypeError, KeyError) as error:
        raise ModelError(f"{what} cannot be loaded: {' '.join(str(error).split())}") from error


def on_device(network: Any, device: str | None) -> Any:
    """A network that is asked and not trained, on torch's device of a name; None for a GPU where there is one."""
    import torch

    return network.eval().to(device or ("cuda" if torch.cuda.is_available() else "cpu"))


def load_whole(kind: Any, place: Any, *, what: str, **how: Any) -> Any:
    """Loads a network by its ``from_pretrained``, with every weight taken from the file.

    A pooler that the file lacks is removed from the network: many checkpoints have none, and whatever reads it then fails
    instead of reading random numbers.

    Args:
        kind: The class of the network.
        place: The folder or Hub id.
        what: The network's name in messages.
        **how: Further arguments of ``from_pretrained``.

    Returns:
        The network.

    Raises:
        ModelError: Weights are missing in the file or have another shape.
    """
    network, missing, misshaped = load_reported(kind, place, what=what, **how)
    if getattr(network, "pooler", None) is not None and any(name.startswith("pooler.") for name in missing):
        network.pooler = None
        missing = [name for name in missing if not name.startswith("pooler.")]
    check_fit(what, missing=missing, misshaped=misshaped)
    return network


@model_lock
def load_trunk(place: Any, config: Any, *, what: str) -> Any:
    """Loads a backbone. Weights that the plain network does not have may be new: no checkpoint holds the norms of a
    backbone's outputs.

    Args:
        place: The folder or Hub id.
        config: Describes the backbone.
        what: The network's name in messages.

    Returns:
        The backbone.

    Raises:
        ModelError: Other weights are missing in the file or have another shape.
    """
    import torch
    from transformers import AutoBackbone, AutoModel

    # AutoBackbone.from_pretrained asks the Hub, and takes no folder.
    with torch.device("meta"):
        kind, plain = type(AutoBackbone.from_config(config)), AutoModel.from_config(config).state_dict()
    trunk, missing, misshaped = load_reported(kind, place, what=what, config=config)
    own = [name for name in missing if name.removeprefix(f"{trunk.base_model_prefix}.") in plain]
    check_fit(what, missing=own, misshaped=misshaped)
    return trunk


@model_lock
def load_reported(kind: Any, place: Any, *, what: str, **how: Any) -> tuple[Any, list[str], list[str]]:
    """Loads a network by its ``from_pretrained``.

    Args:
        kind: The class of the network.
        place: The folder or Hub id.
        what: The network's name in messages.
        **how: Further arguments of ``from_pretrained``.

    Returns:
        The network, and the names of the weights that the file lacks or has in another shape.

    Raises:
        ModelError: The file is damaged, or has weights of another shape for a network of diffusers, which reports none.
    """
    if not any(base.__name__ == "ModelMixin" for base in kind.__mro__):
        how["ignore_mismatched_sizes"] = True  # transformers then reports them
    try:
        with quiet_loading():
            network, report = kind.from_pretrained(place, output_loading_info=True, **how)
    except SafetensorError as error:
        raise ModelError(f"the weights of {what} are damaged, get them anew: {error}") from error
    except ValueError as error:
        if found := _MISSHAPED.search(str(error)):
            check_fit(what, misshaped=[found[1]])
        raise
    return network, sorted(report["missing_keys"]), sorted(entry[0] for entry in report["mismatched_keys"])


def fill(network: Any, weights: Mapping[str, Any], *, what: str) -> None:
    """Gives a network exactly these weights.

    Args:
        network: The network.
        weights: Tensors by the names of its ``state_dict``.
        what: The network's name in messages.

    Raises:
        ModelError: Some are missing, have another shape or belong to nothing.
    """
    own = network.state_dict()
    check_fit(
        what,
        missing=own.keys() - weights.keys(),
        misshaped=[name for name in own.keys() & weights.keys() if own[name].shape != weights[name].shape],
        unknown=weights.keys() - own.keys(),
    )
    network.load_state_dict(weights)


def check_fit(
    what: str, *, missing: Collection[str] = (), misshaped: Collection[str] = (), unknown: Collection[str] = ()
) -> None:
    """Checks that a file has the weights that it must have.

    Args:
        what: The network's name in messages.
        missing: Names of weights that the file lacks.
        misshaped: Names of weights of another shape.
        unknown: Names of weights that belong to nothing.

    Raises:
        ModelError: There are any.
    """
    problems = [
        f"{len(names)} {problem} ({listed(names)})"
        for names, problem in (
            (missing, "missing"),
            (misshaped, "of another shape"),
            (unknown, "that it does not have"),
        )
        if names
    ]
    if problems:
        raise ModelError(
            f"the weights do not fit {what}: {', '.join(problems)}; the file is damaged or of another model, or the "
            f"installed {_versions()} cannot read it: get it anew, or change the version"
        )


def listed(names: Collection[str]) -> str:
    """The first few of the names, and how many more there are."""
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(sorted(names)[:_LISTED]) + more


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Within the block transformers and diffusers draw no progress bars and only report errors; afterwards as before."""
    with ExitStack() as restore:
        for name in _libraries():
            log = importlib.import_module(f"{name}.utils.logging")
            restore.callback(log.set_verbosity, log.get_verbosity())
            log.set_verbosity_error()
            if log.is_progress_bar_enabled():
                restore.callback(log.enable_progress_bar)
                log.disable_progress_bar()
        yield


def _libraries() -> list[str]:
    """Those of the two that are loaded; none is loaded for this."""
    return [name for name in ("transformers", "diffusers") if name in sys.modules]


def _versions() -> str:
    return " and ".join(f"{name} {sys.modules[name].__version__}" for name in _libraries()) or "libraries"
