"""Evaluating a segmenter on real images: whose classes are whose, the figures, the pictures."""

from __future__ import annotations

import heapq
import itertools
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from tqdm import tqdm

from diffumask_datasets.dataset.atomic import atomic_folder
from diffumask_datasets.dataset.image_listing import told
from diffumask_datasets.errors import DataError, ExportError, UnknownClassError, suggestion
from diffumask_datasets.sample import BACKGROUND, BACKGROUND_NAME, IGNORE
from diffumask_datasets.segmentation.class_check import refuse_empty_masks
from diffumask_datasets.segmentation.labelled import (
    Example,
    LabelledImages,
    Pixels,
    labelled_rows,
    plain_name,
    translated,
    translation,
)
from diffumask_datasets.segmentation.metrics import OpenVocabulary, Scores, Tally, image_iou
from diffumask_datasets.segmentation.segmenter import Segmenter
from diffumask_datasets.segmentation.visualize import Mistake, save_confusion, worst_sheet

__all__ = ["Evaluation", "Matching", "evaluate", "match_classes", "save_evaluation"]

logger = logging.getLogger(__name__)

WORST = 16
SCORES_FILE = "scores.json"


@dataclass(frozen=True)
class Matching:
    """The classes that are judged and the two ways into their ids.

    ``truth`` (256,) holds the id of each mask value of the benchmark, ``predicted`` that of each class id of the model.
    ``values`` (256,) is the way back: the mask value of the benchmark for a judged id, 0 where it has none.
    ``counted`` are the ids whose mean is the benchmark's mIoU. ``as_background`` are the classes of the benchmark that the
    model does not know.
    """

    classes: tuple[str, ...]
    truth: npt.NDArray[np.int16]
    predicted: Pixels
    values: Pixels
    background: int | None
    counted: tuple[int, ...]
    as_background: tuple[str, ...]


@dataclass(frozen=True)
class Evaluation:
    """The figures, and the images with the lowest IoU."""

    scores: Scores
    worst: tuple[Mistake, ...]
    matching: Matching
    open_vocabulary: OpenVocabulary | None = None

    def table(self) -> str:
        """The figures in percent."""
        return "\n".join([self.scores.table(), *([self.open_vocabulary.table()] if self.open_vocabulary else [])])


def match_classes(
    model_classes: Sequence[str], data: LabelledImages, *, rename: Mapping[str, str] | None = None
) -> Matching:
    """Matches classes by name, without regard to case, spaces and hyphens.

    Several classes may be renamed to one (person and rider to human). A class that only the benchmark has is background; one
    that only the model has is an error unless it is renamed to ``background``. Where the model knows no background, the
    benchmark's other classes are ignored.

    Args:
        model_classes: Those of the model.
        data: The benchmark.
        rename: Name → another, on both sides.

    Returns:
        Which classes are compared, and how.

    Raises:
        UnknownClassError: A class of the model that the benchmark does not have.
    """
    renamed = {plain_name(old): new for old, new in (rename or {}).items()}
    offered = {plain_name(renamed.get(plain_name(name), name)) for names in data.names.values() for name in names}
    judged: dict[str, str] = {}
    for name in model_classes:
        wanted = renamed.get(plain_name(name), name)
        if plain_name(wanted) == BACKGROUND_NAME:
            continue
        if plain_name(wanted) not in offered:
            raise UnknownClassError(
                f"the model's class {name!r} is none of the benchmark's{suggestion(wanted, data.classes)}: "
                f"{', '.join(data.classes)}; rename it, or rename it to background"
            )
        judged.setdefault(plain_name(wanted), wanted)
    knows_background = any(plain_name(renamed.get(plain_name(n), n)) == BACKGROUND_NAME for n in model_classes)
    background = BACKGROUND if knows_background else IGNORE
    truth = translation(data, tuple(judged.values()), rename=renamed, others=background, background=background)
    first = 1 if knows_background else 0
    ids = {plain: number for number, plain in enumerate(judged, start=first)} | {BACKGROUND_NAME: BACKGROUND}
    predicted = [ids[plain_name(renamed.get(plain_name(name), name))] for name in model_classes]
    classes = ((BACKGROUND_NAME,) if knows_background else ()) + tuple(judged.values())
    counts_background = knows_background and data.background is not None
    return Matching(
        classes=classes,
        truth=truth,
        predicted=np.array([*predicted, *[0] * (256 - len(predicted))], dtype=np.uint8),
        values=_values(data, truth, knows_background=knows_background),
        background=BACKGROUND if knows_background else None,
        counted=tuple(range(0 if counts_background else first, len(classes))),
        as_background=tuple(
            names[0] for value, names in data.names.items() if knows_background and truth[value] == BACKGROUND
        ),
    )


def evaluate(
    segmenter: Segmenter,
    data: LabelledImages,
    *,
    rename: Mapping[str, str] | None = None,
    unseen: Sequence[str] = (),
    predictions: Path | None = None,
    batch_size: int = 8,
) -> Evaluation:
    """Predicts every image at its own size and scores the predictions.

    Args:
        segmenter: The model.
        data: Images with their true masks.
        rename: Class of the model → class of ``data``, where their names differ.
        unseen: Classes without a real mask in the training, scored apart.
        predictions: A folder for the predicted masks, in the mask values of ``data``.
        batch_size: Images predicted at once.

    Returns:
        Scores, and the images with the worst predictions.

    Raises:
        UnknownClassError: A class of the model that ``data`` does not have.
        DataError: A file that cannot be read, no image at all, or masks without a pixel of any class.
        ShapeError: Image and mask of different sizes, or a mask value that ``data`` does not name.
        ExportError: ``predictions`` cannot be written.
    """
    matching = match_classes(segmenter.classes, data, rename=rename)
    if matching.as_background:
        logger.warning("counted as background, as the model does not know them: %s", ", ".join(matching.as_background))
    tally, worst, values = Tally(len(matching.classes)), _Worst(WORST), set[int]()
    total = None if data.streaming else len(data.rows)
    with tqdm(total=total, unit="image", disable=None) as progress:
        for example, prediction in _predicted(segmenter, data, matching, batch_size):
            label = translated(example, matching.truth)
            confusion = tally.add(label, prediction)
            values |= set(np.flatnonzero(np.bincount(example.label.ravel())).tolist())
            worst.offer(Mistake(example.sample_id, image_iou(confusion), example.image, label, prediction))
            if predictions is not None:
                _save_mask(predictions / f"{example.sample_id}.png", matching.values[prediction])
            progress.update()
    if not tally.images:
        raise DataError("there is no image to evaluate on: check the split")
    if not any(tally.pixels_of(number) for number in _classes_of(matching)):
        refuse_empty_masks(matching.classes, values)
    if data.left_out:
        logger.warning(told(data.left_out))
    scores = tally.scores(matching.classes, background=matching.background, counted=matching.counted)
    split = OpenVocabulary.of(scores, unseen, background=matching.background) if unseen else None
    return Evaluation(scores, worst.found(), matching, split)


def save_evaluation(evaluation: Evaluation, output: Path) -> None:
    """Writes ``scores.json``, ``confusion.png`` and ``worst.png`` into the folder ``output``, in one step.

    Raises:
        ExportError: ``output`` holds something that is not ours, or cannot be written.
    """
    check_evaluation_target(output)
    with atomic_folder(output) as draft:
        figures = {**evaluation.scores.as_dict(), "as_background": list(evaluation.matching.as_background)}
        if evaluation.open_vocabulary:
            figures["open_vocabulary"] = evaluation.open_vocabulary.as_dict()
        save_confusion(evaluation.scores.confusion, evaluation.scores.classes, draft / "confusion.png")
        worst_sheet(evaluation.worst).save(draft / "worst.png")
        (draft / SCORES_FILE).write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def check_evaluation_target(output: Path) -> None:
    """Raises ExportError unless ``output`` is new, empty, or an evaluation that this package wrote."""
    if output.exists() and not (output.is_dir() and (not any(output.iterdir()) or (output / SCORES_FILE).exists())):
        raise ExportError(f"{output} is not empty and not an evaluation of ours: choose another --output or remove it")


def _classes_of(matching: Matching) -> list[int]:
    return [number for number in range(len(matching.classes)) if number != matching.background]


def _predicted(
    segmenter: Segmenter, data: LabelledImages, matching: Matching, batch_size: int
) -> Iterator[tuple[Example, Pixels]]:
    examples = labelled_rows(data)
    while batch := list(itertools.islice(examples, batch_size)):
        masks = segmenter.predict((example.image for example in batch), batch_size=batch_size)
        for example, mask in zip(batch, masks, strict=True):
            yield example, matching.predicted[mask]


def _values(data: LabelledImages, truth: npt.NDArray[np.int16], *, knows_background: bool) -> Pixels:
    values = np.zeros(256, dtype=np.uint8)
    # Backwards, so that of several classes that share an id the first one stands for it.
    for value in sorted(data.names, reverse=True):
        values[truth[value]] = value
    if knows_background:
        values[BACKGROUND] = data.background or 0
    return values


def _save_mask(path: Path, mask: Pixels) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(path)
    except OSError as error:
        raise ExportError(f"cannot write {path}: {error.strerror or error}") from error


class _Worst:
    """The images of lowest IoU, however many are offered."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._heap: list[tuple[float, int, Mistake]] = []
        self._offered = 0

    def offer(self, mistake: Mistake) -> None:
        self._offered += 1
        entry = (-mistake.iou, -self._offered, mistake)
        if len(self._heap) < self._size:
            heapq.heappush(self._heap, entry)
        else:
            heapq.heappushpop(self._heap, entry)

    def found(self) -> tuple[Mistake, ...]:
        return tuple(entry[2] for entry in sorted(self._heap, key=lambda entry: entry[:2], reverse=True))
