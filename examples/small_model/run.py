"""One training of a denoiser: its settings, its state, its steps."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

import torch
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from diffumask_datasets.errors import ModelError
from examples.small_model.denoiser import Denoiser
from examples.small_model.latents import LatentPool
from examples.small_model.mmdit import MMDiTDenoiser
from examples.small_model.optimizers import MatrixDescent
from examples.small_model.text import caption_tokens
from examples.small_model.training import Averaged, learning_rate
from examples.small_model.unet import UNetDenoiser

__all__ = ["KINDS", "Run", "Settings"]

WITHHELD = 0.7
"""Share of captions that attention is taught by, where it is taught."""

KINDS: Final[dict[str, Callable[..., Any]]] = {"unet": UNetDenoiser, "mmdit": MMDiTDenoiser}


@dataclass(frozen=True)
class Settings:
    """What decides a training, apart from its data. ``words_only`` is explained in :class:`Denoiser`.

    Attention is taught to tell ``classes`` apart, each called by its words, from step ``classes_from`` on.
    """

    kind: str
    size: str
    steps: int
    batch: int = 16
    rate: float = 1e-3
    words_only: float = 0.5
    caption_dropout: float = 0.1
    average: float = 0.999
    seed: int = 0
    classes: tuple[tuple[str, ...], ...] = ()
    classes_from: int = 0


class Run:
    """The state of a training; what a step does follows from it and the number of the step alone.

    The text encoder is trained as well, unless its parameters ask for no gradient.
    """

    def __init__(self, settings: Settings, pool: LatentPool, tokenizer: CLIPTokenizer, text: CLIPTextModel) -> None:
        torch.manual_seed(settings.seed)
        self.settings, self.pool, self.step = settings, pool, 0
        self._text = text
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.denoiser = self._built()
        if settings.classes:
            self.denoiser.ground(settings.classes, tokenizer)
        self.denoiser.prepare(self.device)
        self.optimizer = MatrixDescent(self.denoiser)  # type: ignore[arg-type]
        self.average = Averaged(self.denoiser, settings.average)  # type: ignore[arg-type]
        self._no_caption = caption_tokens([""], tokenizer)

    def _built(self) -> Denoiser:
        channels, side = self.pool.latents.shape[1:3]
        built: Denoiser = KINDS[self.settings.kind](
            copy.deepcopy(self._text), size=self.settings.size, channels=channels, side=side
        )
        return built

    def train_step(self) -> Tensor:
        """One step; returns its loss."""
        settings = self.settings
        generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + self.step)
        latents, tokens = self.pool.draw(settings.batch, generator)
        dropped = torch.rand(settings.batch, 1, generator=generator) < settings.caption_dropout
        withheld = torch.zeros(settings.batch, dtype=torch.bool)
        if settings.classes and self.step >= settings.classes_from:
            withheld = torch.rand(settings.batch, generator=generator) < WITHHELD
        tokens = torch.where(dropped, self._no_caption, tokens)
        loss = self.denoiser.loss(
            latents.to(self.device),
            tokens.to(self.device),
            generator,
            words_only=settings.words_only,
            withheld=withheld.to(self.device),
        )
        self.optimizer.descend(loss, learning_rate(settings.rate, step=self.step, steps=settings.steps))
        self.average.update(self.denoiser, self.step)  # type: ignore[arg-type]
        self.step += 1
        return loss.detach()

    def state(self) -> dict[str, Any]:
        """Everything that a later run needs to continue."""
        return {
            "settings": asdict(self.settings),
            "model": self.denoiser.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.values,
            "step": self.step,
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Continues from a ``state``.

        Raises:
            ModelError: it was made with other settings; the number of steps alone may change, and what is yet to be taught.
        """
        asked, made_with = asdict(self.settings), asdict(Settings(**saved["settings"]))
        del asked["steps"]
        if saved["step"] <= self.settings.classes_from:
            del asked["classes"], asked["classes_from"]
        if changed := [name for name in asked if made_with[name] != asked[name]]:
            raise ModelError(
                "the checkpoint was made with other settings: "
                + ", ".join(f"{name} {made_with[name]} (not {asked[name]})" for name in changed)
            )
        self.denoiser.load_state_dict(saved["model"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.average.values = {name: value.to(self.device) for name, value in saved["average"].items()}
        self.step = saved["step"]

    def averaged(self) -> Denoiser:
        """A copy with the averaged weights, to look at and to save."""
        with torch.random.fork_rng():
            averaged = self._built()
        averaged.load_state_dict(self.average.values)
        averaged.eval()
        return averaged
