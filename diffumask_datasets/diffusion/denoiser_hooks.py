"""Tells, while a pipeline runs, at which timestep it is and which rows of a denoiser call belong to the prompt."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

from diffumask_datasets.errors import CaptureError

__all__ = ["DenoiserState", "after_call", "hook_denoiser"]


class DenoiserState:
    """What is known of the current call of the denoiser.

    ``rows`` are the rows whose text is the prompt's own, None in an unconditional call; ``seen`` counts the calls that
    had such rows.
    """

    def __init__(self) -> None:
        self.rows: slice | None = None
        self.seen = 0
        self._prompt: Sequence[torch.Tensor] | torch.Tensor | None = None
        self._steps = 0
        self._timesteps: Sequence[Any] | torch.Tensor | None = None

    def begins_at(self, timesteps: tuple[Any, ...]) -> None:
        """The pipeline does not start from noise: these alone, the first of what it gives, are its timesteps."""
        self._timesteps = timesteps[0]

    def encoded(self, output: Any) -> None:
        """Takes the first result of ``encode_prompt``, which is the prompt's; later ones are the negative prompt's."""
        if self._prompt is None:
            self._prompt = output[0] if isinstance(output, tuple) else output

    def stepped(self) -> None:
        """One step of the scheduler is done."""
        self._steps += 1

    def timestep(self, scheduler: Any) -> float:
        """The training timestep at which the denoiser is called now."""
        timesteps = scheduler.timesteps if self._timesteps is None else self._timesteps
        return float(timesteps[min(self._steps, len(timesteps) - 1)])

    def called(self, text: Any) -> None:
        """Finds the prompt's rows in what the denoiser is given as text."""
        if self._prompt is None:
            raise CaptureError(
                "the pipeline called its denoiser without encode_prompt; its prompt cannot be recognized"
            )
        images = len(self._prompt)
        starts = range(0, len(text) - images + 1)
        first = next((start for start in starts if _same(text[start : start + images], self._prompt)), None)
        self.rows = None if first is None else slice(first, first + images)
        self.seen += first is not None


@contextmanager
def hook_denoiser(
    pipeline: Any, denoiser: nn.Module, text_argument: str, on_call: Callable[[DenoiserState], None]
) -> Iterator[DenoiserState]:
    """Calls ``on_call`` before each call of ``denoiser`` within the block; afterwards everything is as it was.

    Args:
        pipeline: Its ``encode_prompt`` and its scheduler's ``step`` are listened to.
        denoiser: The network that the pipeline calls.
        text_argument: Name of the denoiser's argument that takes the encoded prompt.
        on_call: Gets the state of the call that is about to start.

    Returns:
        A context, which gives the state.

    Raises:
        CaptureError: the pipeline has no ``encode_prompt``, or does not call it.
    """
    state = DenoiserState()
    signature = inspect.signature(type(denoiser).forward)

    def before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        text = signature.bind_partial(module, *args, **kwargs).arguments.get(text_argument)
        state.called(() if text is None else text)
        on_call(state)

    with ExitStack() as restore:
        after_call(restore, pipeline, "encode_prompt", state.encoded)
        if hasattr(pipeline, "get_timesteps"):  # of image-to-image: the last of all timesteps
            after_call(restore, pipeline, "get_timesteps", state.begins_at)
        after_call(restore, pipeline.scheduler, "step", lambda output: state.stepped())
        restore.callback(denoiser.register_forward_pre_hook(before, with_kwargs=True).remove)
        yield state


def after_call(restore: ExitStack, owner: Any, name: str, then: Callable[[Any], None]) -> None:
    """Listens to what a method gives.

    Args:
        restore: Until it is closed.
        owner: The object.
        name: Its method.
        then: Called with each result.
    """
    own = getattr(owner, name, None)
    if own is None:
        raise CaptureError(f"{type(owner).__name__} has no {name}; register its family with a model class of your own")

    # wraps: pipelines look at the signature of step to know which arguments it takes.
    @functools.wraps(own)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        output = own(*args, **kwargs)
        then(output)
        return output

    setattr(owner, name, wrapper)
    restore.callback(delattr, owner, name)


def _same(text: Any, prompt: Any) -> bool:
    pairs = zip(text, prompt, strict=True)
    return all(one.shape == other.shape and torch.equal(one, other.to(one)) for one, other in pairs)
