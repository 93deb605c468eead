"""Which samplers a loaded model can use, and how many steps are worth trying."""

from __future__ import annotations

from typing import Any

from diffumask_datasets.diffusion.diffusion import DiffusersModel
from diffumask_datasets.diffusion.protocol import DiffusionModel
from diffumask_datasets.errors import ModelError

__all__ = ["sampler_of", "samplers_beside", "steps_below"]

COMMON = (
    "DPMSolverMultistepScheduler",
    "UniPCMultistepScheduler",
    "DDIMScheduler",
    "EulerDiscreteScheduler",
)
"""Deterministic solvers, the ones of higher order first; which of them a model can use, its own scheduler says."""

STEP_SHARES = (0.3, 0.4, 0.5, 0.7, 1.0)
"""Of the steps that suit the model's own sampler: 6 to 20 of 20, 15 to 50 of 50, 2 to 4 of a distilled model's 4."""


def sampler_of(model: DiffusionModel) -> str:
    """The class of the model's scheduler.

    Raises:
        ModelError: it has none.
    """
    return type(_scheduler(model)).__name__


def samplers_beside(model: DiffusionModel) -> tuple[str, ...]:
    """Other classes of schedulers that can take the place of the model's own; none for flow matching.

    Raises:
        ModelError: it has no scheduler.
    """
    own = _scheduler(model)
    known = {kind.__name__ for kind in own.compatibles}
    return tuple(name for name in COMMON if name in known and name != type(own).__name__)


def steps_below(steps: int) -> tuple[int, ...]:
    """The numbers of steps that are tried where ``steps`` suit the model, in order."""
    return tuple(sorted({max(1, round(share * steps)) for share in STEP_SHARES}))


def _scheduler(model: DiffusionModel) -> Any:
    if not isinstance(model, DiffusersModel):
        raise ModelError(f"{type(model).__name__} has no scheduler of diffusers, so there is no sampler to choose")
    return model.pipeline.scheduler
