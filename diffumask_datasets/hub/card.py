"""The dataset card, made with huggingface_hub's classes and merged into a card that is already there."""

from __future__ import annotations

import re
from importlib.resources import as_file, files
from typing import Any

import datasets
from datasets.info import DatasetInfosDict
from huggingface_hub import DatasetCard, DatasetCardData

from diffumask_datasets.dataset.decisions import ACCEPTED
from diffumask_datasets.dataset.opened import OpenDataset
from diffumask_datasets.dataset.views import (
    CONFIG_FOLDERS,
    SEMANTIC,
    card_configs,
    card_metadata,
    config_name,
    view_features,
)
from diffumask_datasets.errors import HubError
from diffumask_datasets.hub.summary import Summary
from diffumask_datasets.recipes.recipe import MAY_BE_NONE

__all__ = ["make_card", "merge_cards"]

BEGIN, END = "<!-- diffumask: begin -->", "<!-- diffumask: end -->"
"""What lies between them is ours and is written anew by each push; the rest is the owner's."""

OURS = ("configs", "dataset_info", "size_categories", "annotations_creators", "task_categories")
"""Metadata that follows from the data; all other keys of an existing card stay as they are."""

SETTINGS = {
    "num_inference_steps": "sampling steps",
    "guidance_scale": "guidance scale",
    "threshold": "threshold asked for",
    "refinement": "refinement",
    "min_area": "smallest component, of the image",
    "ignore_margin": "ignore margin",
    "presence": "accepted by",
    "seed": "seed",
}

READ_BY = {
    "default": ("`image`, `label`, `objects`, `classes`, `prompt`, `quality` …", "semantic segmentation"),
    "instance": ("`image`, `annotation` (red: class, green: instance)", "instance segmentation"),
    "detection": ("`image_id`, `image`, `width`, `height`, `objects`", "object detection"),
}
"""View → its columns, and the example of transformers that reads them."""

EXAMPLES = {
    "default": "run_semantic_segmentation.py",
    "instance": "run_instance_segmentation.py",
    "detection": "run_object_detection.py",
}
"""These take no config name: each reads the default config."""

_SIZE_CATEGORIES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
)


def make_card(
    repo_id: str,
    source: OpenDataset,
    summary: Summary,
    *,
    licence: str | None = None,
    model_licence: str | None = None,
    view: str = "default",
) -> DatasetCard:
    """Writes the card of a dataset.

    Args:
        repo_id: ``owner/name``.
        source: The dataset.
        summary: What was counted of its rows.
        licence: The licence of the dataset.
        model_licence: The licence of its model.
        view: The config that is loaded where none is named.

    Returns:
        The card.
    """
    fields = dict(source.recipe_fields or {})
    first = summary.first_rows[0]
    variables = {
        "begin": BEGIN,
        "end": END,
        "repo_id": repo_id,
        "pretty_name": repo_id.split("/")[-1],
        "classes": [_plain(name) for name in source.classes],
        "heat_maps": source.heat_maps,
        "splits": source.counts,
        "first_split": next(split for split, count in source.counts.items() if count),
        "first_id": first["sample_id"],
        "class_rows": [
            (number, _plain(name), summary.images_of_class[number], summary.objects_of_class[number])
            for number, name in enumerate(source.classes, 1)
        ],
        "density": str(summary.density),
        "models": [_plain(name) for name in sorted(summary.models)],
        "revision": _plain(str(fields["revision"])) if fields.get("revision") else None,
        "model_licence": _plain(model_licence or "not known; look at the model's own card"),
        "image_sizes": [f"{height} × {width} (height × width)" for height, width in sorted(summary.sizes_hw)],
        "thresholds": _three(summary.quantiles(summary.thresholds)),
        "qualities": _three(summary.quantiles(summary.qualities)),
        "settings": {
            title: _plain(str(fields[name]))
            for name, title in SETTINGS.items()
            if name in fields and (fields[name] is not None or name in MAY_BE_NONE)
        },
        "distinct_prompts": len(summary.prompts),
        "prompts": [_plain(prompt) for prompt in summary.example_prompts()],
        "configs": [
            (config_name(shown, shown=view), shown == view, columns, reader)
            for shown, (columns, reader) in READ_BY.items()
        ],
        "example": EXAMPLES[view],
        "recipe": source.recipe_fields is not None,
        "review_sentence": _review_sentence(source),
    }
    with as_file(files("diffumask_datasets.hub") / "card.md") as template:
        card: DatasetCard = DatasetCard.from_template(
            _card_data(source, licence=licence, view=view), template_path=str(template), **variables
        )
    return card


def merge_cards(existing: str | None, ours: DatasetCard) -> DatasetCard:
    """Our card in an existing one: its text and keys stay, our part of both is replaced."""
    if not existing or not existing.strip():
        return ours
    # Before huggingface_hub reads it, which has no bounds.
    card_metadata(existing, where="the metadata of the card that is there, README.md,", error=HubError)
    merged = DatasetCard(existing, ignore_metadata_errors=True)
    own: dict[str, Any] = ours.data.to_dict()  # type: ignore[no-untyped-call]
    kept: dict[str, Any] = merged.data.to_dict()  # type: ignore[no-untyped-call]
    data = {**own, **kept, **{name: own[name] for name in OURS}}
    data["tags"] = list(dict.fromkeys([*(kept.get("tags") or []), *own["tags"]]))
    data["configs"] = _merged_configs(kept.get("configs"), own["configs"])
    merged.data = DatasetCardData(**data)
    merged.text = _merged_text(merged.text, ours.text)
    return merged


def _merged_text(existing: str, ours: str) -> str:
    part = ours[ours.index(BEGIN) : ours.rindex(END) + len(END)]
    if BEGIN in existing and END in existing:
        before, _, rest = existing.partition(BEGIN)
        return before + part + rest.rpartition(END)[2]
    return f"{existing.rstrip()}\n\n{part}\n"


def _merged_configs(kept: Any, own: list[dict[str, Any]]) -> list[dict[str, Any]]:
    names = {*CONFIG_FOLDERS, SEMANTIC}
    foreign = [config for config in kept or [] if isinstance(config, dict) and config.get("config_name") not in names]
    return [*own, *foreign]


def _card_data(source: OpenDataset, *, licence: str | None, view: str) -> DatasetCardData:
    total = source.total
    data = DatasetCardData(
        license=licence,
        annotations_creators=["machine-generated"],
        task_categories=["image-segmentation", "object-detection"],
        task_ids=["semantic-segmentation", "instance-segmentation"],
        size_categories=[next((name for limit, name in _SIZE_CATEGORIES if total < limit), "n>1T")],
        tags=["synthetic", "segmentation", "diffumask"],
        configs=card_configs(
            CONFIG_FOLDERS, shown=view, splits=[split for split, count in source.counts.items() if count]
        ),
    )
    infos = {}
    for shown in CONFIG_FOLDERS:
        name = config_name(shown, shown=view)
        features = source.features if shown == "default" else view_features(shown, classes=source.classes)
        infos[name] = datasets.DatasetInfo(features=features, config_name=name)
    DatasetInfosDict(infos).to_dataset_card_data(data)
    return data


def _review_sentence(source: OpenDataset) -> str:
    if source.decisions is None:
        return "Nobody has reviewed the masks: they are pseudo-labels."
    accepted = sum(decision.verdict == ACCEPTED for decision in source.decisions.values())
    return f"{accepted} of {source.total} samples were accepted in a review by people."


def _three(quantiles: tuple[float, float, float]) -> str:
    return " · ".join(f"{value:.2f}" for value in quantiles)


def _plain(text: str) -> str:
    """Text of others, as it can stand in a line of Markdown."""
    return re.sub(r"([|`<>\[\]*_{}\\])", r"\\\1", " ".join(text.split()))
