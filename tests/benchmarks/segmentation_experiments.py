"""The paper's experiments on the toybox: what each trains on, what judges it, and how one is done."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from diffumask_datasets.segmentation.evaluation import evaluate, save_evaluation
from diffumask_datasets.segmentation.settings import TrainingSettings
from diffumask_datasets.segmentation.sources import labelled_of
from diffumask_datasets.segmentation.training import train
from diffumask_datasets.toybox import BACKGROUNDS, CLASS_NAMES
from tests.benchmarks.segmentation_augmentations import AUGMENTATIONS, COMPOSE, COMPOSITIONS
from tests.benchmarks.segmentation_data import FOLDS, TRAINING, Data, Drawn, Fold, GeneratedImage, Kept, Remasked

PARTS = ("headline", "open", "masks", "noise", "augmentations", "prompts", "domains", "sizes", "steps", "compose")
"""In the order in which they are worth having."""

UNSEEN = ("star", "cup", "flower")
"""Their real masks are withheld in the open-vocabulary experiment."""

NEAR, FAR = BACKGROUNDS[:4], BACKGROUNDS[4:]
"""Domain generalisation trains on scenes before the first and tests on scenes before the others."""


@dataclass(frozen=True)
class Sizes:
    """How much of everything: images, steps of each training, repeats."""

    images: int  # real ones, and as many synthetic ones
    ablated: int  # synthetic ones in every ablation, few enough for what they are to matter
    test: int
    synthetic: tuple[int, ...]
    steps: int
    repeats: int


FULL = Sizes(images=1000, ablated=500, test=500, synthetic=(250, 500, 1000, 2000, 4000), steps=1000, repeats=3)
QUICK = Sizes(images=12, ablated=8, test=20, synthetic=(8, 12, 40), steps=10, repeats=1)
FINE_TUNING, FINE_TUNING_RATE = 0.4, 5e-4
"""Its steps in those of a training, and its learning rate, a quarter of that from scratch."""

DROPPED = (0.3, 0.5, 0.7)
"""The shares of each class that noise learning removes."""

DROPPED_ALONE = (0.0, 0.3, 0.5)
"""The same among images of one class, as the paper's are; too few are generated for a larger share."""


@dataclass(frozen=True)
class Part:
    """All rows of ``data``; ``source`` are fields of their source: weight, rename, others."""

    data: Data
    source: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Experiment:
    """What it trains on, what judges it, and the settings that are its own; ``start`` is what it fine-tunes."""

    name: str
    parts: tuple[Part, ...]
    test: Drawn
    steps: int
    training: Mapping[str, Any] = field(default_factory=dict)
    start: Experiment | None = None

    @property
    def data(self) -> list[Data]:
        """All that must be there before it begins."""
        return [*(self.start.data if self.start else ()), *(part.data for part in self.parts), self.test]

    def settings(self, seed: int) -> TrainingSettings:
        """Those of one repeat."""
        sources = [{"dataset": f"part {number}", **part.source} for number, part in enumerate(self.parts)]
        own = {"sources": sources, "classes": CLASS_NAMES, "seed": seed, "steps": self.steps}
        return TrainingSettings.of(**{**own, **TRAINING, **self.training})


@dataclass(frozen=True)
class Repeat:
    """An experiment with one seed. Its name holds a digest of all that decides its figures."""

    experiment: Experiment
    seed: int

    def figures(self, folder: Path) -> dict[str, Any] | None:
        """What it found; None before it is done."""
        path = folder / "scores" / self._name(folder) / "scores.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    def do(self, folder: Path) -> None:
        """Trains and judges; a training that was interrupted goes on."""
        experiment = self.experiment
        data = [labelled_of(part.data.rows(folder)) for part in experiment.parts]
        model = self.model(folder)
        settings = experiment.settings(self.seed)
        if experiment.start:
            start = Repeat(experiment.start, self.seed)
            if start.figures(folder) is None:
                start.do(folder)
            settings = settings.model_copy(update={"model": str(start.model(folder))})
        segmenter = train(settings, model, data=data)
        result = evaluate(segmenter, labelled_of(experiment.test.rows(folder)))
        save_evaluation(result, folder / "scores" / self._name(folder))

    def model(self, folder: Path) -> Path:
        """The folder of its model."""
        return folder / "models" / self._name(folder)

    def _name(self, folder: Path) -> str:
        experiment = self.experiment
        parts = [part.data.identity(folder) for part in experiment.parts]
        settings = experiment.settings(self.seed).model_dump(mode="json", exclude={"checkpoint_every", "log_every"})
        start = [Repeat(experiment.start, self.seed)._name(folder)] if experiment.start else []
        content = json.dumps([settings, parts, experiment.test.identity(folder), *start], sort_keys=True)
        return f"{plain(experiment.name)}-{self.seed}-{hashlib.sha256(content.encode()).hexdigest()[:12]}"


def experiments(sizes: Sizes) -> dict[str, list[Experiment]]:
    """Those of each of :data:`PARTS`."""
    made = _Maker(sizes)
    return {
        "headline": made.headline(),
        "open": made.open_vocabulary(),
        "masks": made.masks(),
        "noise": made.noise(),
        "augmentations": made.augmentations(),
        "prompts": made.prompts(),
        "domains": made.domains(),
        "sizes": made.sizes(),
        "steps": made.steps(),
        "compose": made.compose(),
    }


def plain(name: str) -> str:
    """The name of an experiment in letters that a file and a figure may have."""
    signs = {"γ": "gamma", "α": "alpha", "→": "to", "+": "plus", "%": "percent", " ": "_", ".": ""}
    return name.lower().translate(str.maketrans(signs))


class _Maker:
    def __init__(self, sizes: Sizes) -> None:
        self._sizes = sizes
        self._real = Drawn("train", sizes.images)
        self._tenth = Drawn("train", max(1, sizes.images // 10))
        self._test = Drawn("test", sizes.test)
        self._synthetic = self._generated(sizes.images)
        self._ablated = self._generated(sizes.ablated)
        self._plain = GeneratedImage(sizes.ablated)
        self._only_real = self._of("real", Part(self._real))
        self._only_synthetic = self._of("synthetic", Part(self._synthetic))
        self._fine_tuning = round(FINE_TUNING * sizes.steps)

    def headline(self) -> list[Experiment]:
        mixed = self._of(
            "synthetic + 10 % real",
            Part(self._synthetic, source={"weight": 0.5}),
            Part(self._tenth, source={"weight": 0.5}),
        )
        return [
            self._only_real,
            self._only_synthetic,
            self._of("real 10 %", Part(self._tenth)),
            mixed,
            self._tuned("synthetic → + 10 % real", mixed),
        ]

    def open_vocabulary(self) -> list[Experiment]:
        """Real masks of all but the unseen classes, with generated images of these alone, and with those of all classes.

        The last is trained on all that is generated before it sees what is real.
        """
        withheld = {"rename": dict.fromkeys(UNSEEN, "withheld"), "others": "ignore"}
        real = Part(self._real, source={**withheld, "weight": 0.5})
        unseen = GeneratedImage(self._sizes.images, fields=(("classes", UNSEEN),))
        every = self._of("open vocabulary all", real, Part(self._synthetic, source={"weight": 0.5}))
        return [
            self._of("open vocabulary", real, Part(unseen, source={"weight": 0.5})),
            every,
            self._tuned("open vocabulary tuned", every),
        ]

    def masks(self) -> list[Experiment]:
        """How they are made. The first experiment is what all ablations are compared with."""
        return [
            self._of(f"synthetic {self._sizes.ablated}", Part(self._ablated)),
            self._of("without CRF", self._remasked(refinement=None)),
            *(self._of(f"γ {gamma}", self._remasked(threshold=gamma)) for gamma in (0.2, 0.3, 0.4, 0.5)),
            self._of("without self-attention", Part(self._generated(self._sizes.ablated, affinity=None))),
        ]

    def noise(self) -> list[Experiment]:
        count = self._sizes.ablated
        most = self._generated(math.ceil(count / (1 - max(DROPPED))))
        folds = tuple(Fold(most, number, self._sizes.steps) for number in range(FOLDS))
        return [
            *(self._of(f"noise α {drop}", Part(Kept(most, folds, drop, count))) for drop in DROPPED),
            self._of("noise doubted", Part(Kept(most, folds, None, count))),
            self._of("noise ignored", Part(Kept(most, folds, None, count, ignore=True))),
            *(
                self._of(f"one class α {drop}", Part(Kept(most, folds, drop, count, alone=True)))
                for drop in DROPPED_ALONE
            ),
        ]

    def augmentations(self) -> list[Experiment]:
        """Of images that show what the test scenes show, and of one object each, as the paper's do.

        The first are compared with the first of ``masks``, the others with ``prompts plain``.
        """
        return [
            self._of(f"{images}with {name}", Part(data), augment=[step])
            for images, data in (("", self._ablated), ("one object ", self._plain))
            for name, step in AUGMENTATIONS.items()
        ]

    def compose(self) -> list[Experiment]:
        """Those of one object are compared with ``prompts plain``, the others with the first of ``masks``."""
        return [
            *(
                self._of(f"one object {name}", Part(self._plain), augment=[{**COMPOSE, **fields}])
                for name, fields in COMPOSITIONS.items()
            ),
            *(
                self._of(name, Part(self._ablated), augment=[{**COMPOSE, **COMPOSITIONS[name]}])
                for name in ("composed", "composed as seen")
            ),
        ]

    def prompts(self) -> list[Experiment]:
        sub_classes = GeneratedImage(self._sizes.ablated, fields=(("classes", "toybox"),))
        return [
            self._of("prompts plain", Part(self._plain)),
            self._of("prompts sub-classes", Part(sub_classes)),
        ]

    def sizes(self) -> list[Experiment]:
        counts = [count for count in self._sizes.synthetic if count not in (self._sizes.images, self._sizes.ablated)]
        return [self._of(f"synthetic {count}", Part(self._generated(count))) for count in counts]

    def steps(self) -> list[Experiment]:
        """What more steps do: four times as many, and on real images as many as fine-tuning has behind it."""
        usual = self._sizes.steps
        lengths = [
            (self._only_real, 4 * usual),
            (self._only_synthetic, 4 * usual),
            (self._only_real, usual + self._fine_tuning),
        ]
        return [replace(member, name=f"{member.name} {steps} steps", steps=steps) for member, steps in lengths]

    def domains(self) -> list[Experiment]:
        far = Drawn("test", self._sizes.test, FAR)
        near = Drawn("train", self._sizes.images, NEAR)
        return [
            self._of("near real → far", Part(near), test=far),
            self._of("synthetic → far", Part(self._synthetic), test=far),
            self._of("all real → far", Part(self._real), test=far),
        ]

    def _generated(self, count: int, **fields: Any) -> GeneratedImage:
        return GeneratedImage(count, fields=tuple(fields.items()), captions=self._sizes.images)

    def _tuned(self, name: str, mixed: Experiment) -> Experiment:
        """Synthetic images first, then the mixture, as in the paper, which fine-tunes on real images."""
        rate = {"learning_rate": FINE_TUNING_RATE}
        return replace(mixed, name=name, start=self._only_synthetic, steps=self._fine_tuning, training=rate)

    def _remasked(self, **settings: Any) -> Part:
        return Part(Remasked(self._ablated, tuple(settings.items())))

    def _of(self, name: str, *parts: Part, test: Drawn | None = None, **training: Any) -> Experiment:
        return Experiment(name, parts, test or self._test, self._sizes.steps, training)
