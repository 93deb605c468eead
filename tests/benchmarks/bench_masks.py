"""Masks against exact truth and against other methods. Run by ``make bench-masks``.

Held-out rendered scenes are pushed through the shipped model; every method reads the same attention. Also writes the sheet
of the twenty worst, ``docs/masks_worst.png`` (``build/benchmarks/masks_worst.png`` when quick).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from scipy import ndimage

from diffumask_datasets.curation.noise import EPOCHS
from diffumask_datasets.dataset.contact_sheet import overlay
from diffumask_datasets.dataset.schema import HEAT_MAPS, decode_image, decode_label
from diffumask_datasets.diffusion.protocol import Observer
from diffumask_datasets.diffusion.registry import load_model
from diffumask_datasets.generation.prepare import prepare
from diffumask_datasets.generation.samples import GeneratedSamples, Runtime
from diffumask_datasets.masks.affinity_net import AffinityNet, AffinityNetSettings, spread_heat
from diffumask_datasets.masks.affinity_training import AffinityTraining, make_examples, train_affinity_net
from diffumask_datasets.masks.components import separate_instances
from diffumask_datasets.masks.unary import affinity_labels
from diffumask_datasets.masks.watershed import part_touching
from diffumask_datasets.models.determinism import single_thread
from diffumask_datasets.recipes.recipe import Recipe
from diffumask_datasets.recipes.settings import MaskSettings
from diffumask_datasets.toybox import CLASS_NAMES, Demand
from diffumask_datasets.toybox.judge import JUDGE_FILE, load_judge
from tests.benchmarks import mask_methods as methods
from tests.benchmarks.harness import ROOT, run
from tests.benchmarks.mask_cost import cost_figures
from tests.benchmarks.mask_methods import Heat, Shown
from tests.benchmarks.mask_noise import noise_figures

GAMMAS = tuple(round(0.15 + 0.05 * step, 2) for step in range(14))
CEILING_GAMMAS = tuple(round(0.2 + 0.04 * step, 2) for step in range(16))
WORST = 20


PARTS = ("methods", "instances", "generated", "cost", "noise")


def measure(quick: bool, chosen: Sequence[str]) -> Mapping[str, float]:
    count = 12 if quick else 300
    recipe = prepare(Recipe.of(classes=CLASS_NAMES))
    model = load_model("toybox", device="cpu")
    assert isinstance(model, Observer)
    parts: dict[str, Callable[[], dict[str, float]]] = {
        "methods": lambda: _methods(model, recipe, count=count, quick=quick),
        "instances": lambda: _instances(model, recipe, count=count // 2),
        "generated": lambda: _generated(count=count // 2),
        "cost": lambda: cost_figures(repeats=1 if quick else 5),
        "noise": lambda: noise_figures(scenes=30 if quick else 500, epochs=2 if quick else EPOCHS),
    }
    figures: dict[str, float] = {}
    with single_thread():
        for part in chosen:
            figures |= parts[part]()
    return {figure: value for figure, value in figures.items() if np.isfinite(value)}


def _methods(model: Observer, recipe: Recipe, *, count: int, quick: bool) -> dict[str, float]:
    net = _affinity_net(model, recipe, images=12 if quick else 200, epochs=2 if quick else 8)
    single = [methods.show(model, k, demand=Demand(count=1), recipe=recipe) for k in range(count)]
    several = [methods.show(model, k, demand=methods.different_classes(k), recipe=recipe) for k in range(count)]
    figures: dict[str, float] = {"scenes_single": len(single), "scenes_multi": len(several)}
    for name, shown in (("single", single), ("multi", several)):
        figures |= {f"{figure}_{name}": value for figure, value in _table(shown, recipe, net).items()}
    _write_worst([*single, *several], recipe, ROOT / ("build/benchmarks" if quick else "docs"))
    return figures | _near_ceiling([*single, *several], recipe)


def _table(shown: Sequence[Shown], recipe: Recipe, net: AffinityNet) -> dict[str, float]:
    """Mean IoU of each method."""
    ours = [methods.our_heat(item, recipe) for item in shown]
    everything = [methods.all_layers_heat(item) for item in shown]
    daam = [methods.daam_heat(item) for item in shown]
    spread = [methods.dataset_diffusion_heat(item) for item in shown]
    gamma, raw = methods.best_fixed(everything, shown, GAMMAS)
    ours_gamma, ours_raw = methods.best_fixed(ours, shown, GAMMAS)
    settings = MaskSettings.subset_of(recipe)
    return {
        "iou": methods.mean_iou(shown, lambda k, s: methods.through_pipeline(s, ours[k], settings).semantic),
        "iou_otsu": _refined_iou(shown, ours, settings.model_copy(update={"threshold": "otsu"})),
        "iou_fixed_035": _crf_iou(shown, everything, 0.35),
        "iou_fixed_050": _crf_iou(shown, everything, 0.5),
        "iou_best_fixed": _crf_iou(shown, everything, gamma),
        "iou_best_fixed_raw": raw,
        "best_fixed_gamma": gamma,
        "iou_ours_best_fixed_raw": ours_raw,
        "iou_ours_best_fixed": _crf_iou(shown, ours, ours_gamma),
        "iou_daam": methods.best_fixed(daam, shown, GAMMAS)[1],
        "iou_dataset_diffusion": methods.best_fixed(spread, shown, GAMMAS)[1],
        "iou_paper": methods.mean_iou(shown, lambda k, s: methods.paper(s, net).semantic),
        "iou_affinitynet": methods.mean_iou(
            shown, lambda k, s: affinity_labels(spread_heat(net, s.image, everything[k]))
        ),
        "iou_best_threshold_raw": float(
            np.mean([i for k, s in enumerate(shown) for i in methods.best_raw(s, ours[k])])
        ),
        "iou_ceiling": float(np.mean([np.mean(_ceiling(s, ours[k])) for k, s in enumerate(shown)])),
    }


def _crf_iou(shown: Sequence[Shown], heats: Sequence[Heat], gamma: float) -> float:
    return methods.mean_iou(shown, lambda k, s: methods.refined(s.image, heats[k], [gamma] * len(heats[k])))


def _refined_iou(shown: Sequence[Shown], heats: Sequence[Heat], settings: MaskSettings) -> float:
    return methods.mean_iou(shown, lambda k, s: methods.through_pipeline(s, heats[k], settings).semantic)


def _ceiling(item: Shown, heat: Heat) -> list[float]:
    """IoU of each class after refinement at the best of a grid of γ common to its classes."""
    tried = [methods.class_ious(methods.refined(item.image, heat, [g] * len(heat)), item.truth) for g in CEILING_GAMMAS]
    return max(tried, key=lambda ious: float(np.mean(ious)))


def _near_ceiling(shown: Sequence[Shown], recipe: Recipe) -> dict[str, float]:
    """Share of images whose adaptive γ comes within two IoU points of the best γ of the image, both refined alike."""
    close = []
    for item in shown:
        heat = methods.our_heat(item, recipe)
        settings = MaskSettings(threshold="adaptive", min_area=0.0, ignore_margin=0.0, split_touching=False)
        found = np.mean(methods.class_ious(methods.through_pipeline(item, heat, settings).semantic, item.truth))
        close.append(found >= np.mean(_ceiling(item, heat)) - 0.02)
    return {"adaptive_within_2_points": float(np.mean(close))}


def _affinity_net(model: Observer, recipe: Recipe, *, images: int, epochs: int) -> AffinityNet:
    """Trained on heat maps of other scenes; no truth is seen."""
    shown = (methods.show(model, k, demand=Demand(), recipe=recipe, split="train") for k in range(images))
    settings = AffinityNetSettings()
    torch.manual_seed(0)
    examples = list(
        make_examples(((s.image, methods.all_layers_heat(s)) for s in shown), input_side=settings.input_side)
    )
    net = AffinityNet.fresh(settings)
    train_affinity_net(net, examples, AffinityTraining(epochs=epochs))
    return net


def _instances(model: Observer, recipe: Recipe, *, count: int) -> dict[str, float]:
    """Scenes of two or three objects of one class: is their number right, from attention and from exact masks?"""
    right: dict[str, list[bool]] = {"apart": [], "touching": []}
    exact: dict[str, list[bool]] = {"apart": [], "touching": []}
    for seed in range(count):
        rng = np.random.default_rng([9, seed])
        demand = Demand(classes=[str(rng.choice(CLASS_NAMES))] * int(rng.integers(2, 4)))
        shown = methods.show(model, seed, demand=demand, recipe=recipe)
        visible = np.unique(shown.scene.instances[shown.scene.instances > 0])
        kind = "touching" if touch(shown.scene.instances) else "apart"
        settings = MaskSettings.subset_of(recipe)
        masks = methods.through_pipeline(shown, methods.our_heat(shown, recipe), settings)
        right[kind].append(len(masks.objects) == len(visible))
        labels = shown.truth.astype(np.intp)
        found = separate_instances(
            labels,
            np.zeros(labels.shape, bool),
            class_ids=[1],
            min_area=recipe.min_area,
            part=lambda mask, box: part_touching(mask),
        )[1]
        exact[kind].append(int(found.max()) == len(visible))
    return {
        "instance_count_right": _share(right["apart"]),
        "instance_count_right_touching": _share(right["touching"]),
        "instance_count_right_exact_masks": _share(exact["apart"]),
        "instance_count_right_exact_masks_touching": _share(exact["touching"]),
    }


def touch(instances: npt.NDArray[np.uint8]) -> bool:
    return any(
        np.any(ndimage.binary_dilation(instances == one, np.ones((3, 3))) & (instances != one) & (instances > 0))
        for one in np.unique(instances[instances > 0])
    )


def _share(hits: Sequence[bool]) -> float:
    return float(np.mean(hits)) if hits else float("nan")


def _generated(*, count: int) -> dict[str, float]:
    """Masks of generated images against a segmenter trained on rendered scenes, for one and for two classes."""
    if not JUDGE_FILE.exists():
        print(f"no judge at {JUDGE_FILE}: generated images are not judged")
        return {}
    judge, figures = load_judge(), {}
    for name, classes_per_image in (("single", 1), ("multi", 2)):
        recipe = prepare(Recipe.of(classes=CLASS_NAMES, classes_per_image=classes_per_image))
        with tempfile.TemporaryDirectory() as store:
            rows = [row for _, row in GeneratedSamples(recipe, Runtime(store=Path(store))).rows(0, count)]
        verdicts = judge.look([decode_image(row["image"]) for row in rows])
        ious = []
        for row, verdict in zip(rows, verdicts, strict=True):
            label = decode_label(row["label"])
            for class_id in row[HEAT_MAPS]["category"]:
                seen = verdict.label == class_id
                if seen.mean() > recipe.min_area:
                    ious.append(
                        np.count_nonzero(seen & (label == class_id)) / np.count_nonzero(seen | (label == class_id))
                    )
        figures |= {f"iou_generated_{name}": float(np.mean(ious)), f"judged_objects_{name}": len(ious)}
    return figures


def _write_worst(shown: Sequence[Shown], recipe: Recipe, folder: Path) -> None:
    """The images with the lowest IoU: image | truth | ours, side by side."""
    settings = MaskSettings.subset_of(recipe)
    found = [methods.through_pipeline(item, methods.our_heat(item, recipe), settings).semantic for item in shown]
    scores = [float(np.mean(methods.class_ious(mask, item.truth))) for mask, item in zip(found, shown, strict=True)]
    tiles = []
    for place in np.argsort(scores)[:WORST]:
        item = shown[int(place)]
        parts = [item.image, overlay(item.image, item.truth), overlay(item.image, found[int(place)])]
        tiles.append(np.concatenate(parts, axis=1))
    while len(tiles) % 4:
        tiles.append(np.full_like(tiles[0], 255))
    rows = [np.concatenate(tiles[start : start + 4], axis=1) for start in range(0, len(tiles), 4)]
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(rows)).save(folder / "masks_worst.png")


if __name__ == "__main__":
    run("masks", measure, parts=PARTS, keeps=True)
