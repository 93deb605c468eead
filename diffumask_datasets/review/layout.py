"""How the dataset looks in the App: colours of the vocabulary, sidebar groups, saved views."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from diffumask_datasets.dataset.contact_sheet import class_colours
from diffumask_datasets.dataset.decisions import ACCEPTED, REJECTED

__all__ = ["VIEW_NAMES", "arrange", "class_view_name"]

VIEW_NAMES = (
    "undecided",
    "accepted",
    "rejected",
    "worst quality",
    "suspicious area",
    "near duplicates",
    "raw and refined disagree",
)

SMALL, LARGE = 0.01, 0.8
"""Shares of the image: less is rarely an object, more rarely leaves a background."""

NEAR = 0.02
"""Cosine distance under which two images pass for one."""

DISAGREE = 0.5
"""1 − IoU of raw and refined mask from which refinement has changed what is labelled."""

GROUPS = {
    "labels": ("semantic", "instances"),
    "quality": ("quality", "mask_share", "raw_disagreement", "uniqueness", "nearest_distance", "nearest"),
    "made by": ("prompt", "seed", "model", "threshold", "split", "classes"),
    "review": ("reason", "sample_id"),
}


def class_view_name(name: str) -> str:
    """The saved view of one class."""
    return f"class {name}"


def arrange(fo: Any, dataset: Any, classes: Sequence[str]) -> None:
    """Sets colours, sidebar and views of a dataset that is filled.

    Args:
        fo: The module ``fiftyone``.
        dataset: The FiftyOne dataset.
        classes: The class names.
    """
    dataset.app_config.color_scheme = _colours(fo, dataset, classes)
    dataset.app_config.sidebar_groups = _sidebar(fo, dataset)
    # One kind of mask at first: two over each other hide the image.
    dataset.app_config.active_fields = fo.ActiveFields(paths=["instances"])
    dataset.save()
    _save_views(fo, dataset, classes)


def _colours(fo: Any, dataset: Any, classes: Sequence[str]) -> Any:
    colour = {number: "#" + bytes(class_colours()[number]).hex() for number in [*range(1, len(classes) + 1), 255]}
    names = [{"value": name, "color": colour[number]} for number, name in enumerate(classes, 1)]
    fields = [
        {
            "path": "semantic",
            "maskTargetsColors": [{"intTarget": number, "color": value} for number, value in colour.items()],
        },
        {"path": "instances", "colorByAttribute": "label", "valueColors": names},
    ]
    return fo.ColorScheme(
        color_by="value", fields=fields, opacity=0.5, default_colorscale={"name": "inferno", "list": None}
    )


def _sidebar(fo: Any, dataset: Any) -> list[Any]:
    present = set(dataset.get_field_schema())
    heat_maps = sorted(name for name in present if name.startswith("heat_map_"))
    groups = [fo.SidebarGroupDocument(name="tags")]
    for name, paths in GROUPS.items():
        listed = [*paths, *heat_maps] if name == "labels" else list(paths)
        groups.append(fo.SidebarGroupDocument(name=name, paths=[path for path in listed if path in present]))
    rest = present - {path for group in groups for path in group.paths} - {"tags", "metadata"}
    sizes = {path for path in dataset.get_field_schema(flat=True) if path.startswith("metadata.")}
    # Every field needs a place, or the App adds groups of its own; a group of this name it adds in any case, open and empty.
    groups.append(fo.SidebarGroupDocument(name="metadata", paths=sorted(rest | sizes), expanded=False))
    return groups


def _save_views(fo: Any, dataset: Any, classes: Sequence[str]) -> None:
    field = fo.ViewField
    share = field("mask_share")
    views = {
        "undecided": dataset.match_tags([ACCEPTED, REJECTED], bool=False),
        "accepted": dataset.match_tags(ACCEPTED),
        "rejected": dataset.match_tags(REJECTED),
        "worst quality": dataset.sort_by("quality"),
        "suspicious area": dataset.match((share < SMALL) | (share > LARGE)),
        "near duplicates": dataset.match(field("nearest_distance") < NEAR).sort_by("nearest_distance"),
        "raw and refined disagree": dataset.match(field("raw_disagreement") > DISAGREE),
    }
    views |= {class_view_name(name): dataset.match(field("classes").contains(name)) for name in classes}
    for name, view in views.items():
        dataset.save_view(name, view)
