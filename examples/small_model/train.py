"""Trains a small text-to-image model and saves it as a diffusers pipeline: see ``--help``."""

from __future__ import annotations

import argparse
import copy
import json
import logging
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DiffusionPipeline
from transformers import CLIPTextModel, CLIPTokenizer

from diffumask_datasets.cli.options import class_names
from diffumask_datasets.errors import DiffuMaskError, ModelError
from diffumask_datasets.models.fingerprint import fingerprint
from diffumask_datasets.models.reference import TOYBOX
from diffumask_datasets.recipes.recipe import Recipe
from examples.small_model.autoencoder import load_autoencoder
from examples.small_model.latents import Encoded, LatentPool, encode_pairs
from examples.small_model.pairs import add_data_options, pairs_of
from examples.small_model.run import KINDS, Run, Settings
from examples.small_model.samples import drawn_prompts, write_sample_sheet
from examples.small_model.text import load_text, new_text
from examples.small_model.training import append_log, load_checkpoint, save_checkpoint

__all__ = ["main"]

_SHEET = 40
"""Images on a sample sheet."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m examples.small_model.train", description=__doc__)
    add_data_options(parser)
    parser.add_argument(
        "--kind", choices=sorted(KINDS), required=True, help="UNet (v-prediction), MMDiT (flow matching)"
    )
    parser.add_argument(
        "--size", choices=("tiny", "compact", "small", "medium"), default="small", help="of the network"
    )
    parser.add_argument("--steps", type=int, required=True, help="optimizer steps, over which the learning rate decays")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=1e-3, help="highest learning rate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--vae", type=Path, default=TOYBOX / "vae", help="folder of the autoencoder, which stays as it is"
    )
    parser.add_argument(
        "--text",
        choices=("frozen", "trained", "new"),
        default="frozen",
        help="text encoder: that of --text-from, or new",
    )
    parser.add_argument(
        "--text-layers", type=int, default=2, help="layers of a new text encoder; 0: each word speaks for itself alone"
    )
    parser.add_argument("--text-from", type=Path, default=TOYBOX, help="pipeline that gives tokenizer and text encoder")
    parser.add_argument(
        "--classes",
        help="a vocabulary or names with commas: attention is taught which of them a place may show, by what captions name",
    )
    parser.add_argument("--classes-from", type=int, default=0, help="the step from which on it is taught")
    parser.add_argument(
        "--compile", action="store_true", help="compile the network: a tenth faster on a CPU, after minutes"
    )
    parser.add_argument("--resume", action="store_true", help="continue from the checkpoint in --output")
    parser.add_argument("--save-every", type=int, default=200, help="steps between checkpoints")
    parser.add_argument(
        "--keep-every",
        type=int,
        help="steps after which the model so far is kept, as OUTPUT/model-STEP; default: never",
    )
    parser.add_argument("--sample-every", type=int, default=2000, help="steps between sample sheets")
    return parser


def _encoded(options: argparse.Namespace, vae: AutoencoderKL) -> Encoded:
    pairs = pairs_of(options)
    identity = {
        "data": options.data,
        "count": len(pairs),
        "pixels": options.pixels,
        "single_share": options.single_share,
        "vae": fingerprint(options.vae),
    }
    return encode_pairs(pairs, vae, options.output / "latents.safetensors", identity=identity)


def _text(options: argparse.Namespace, encoded: Encoded) -> tuple[CLIPTokenizer, CLIPTextModel]:
    if options.text == "new":
        torch.manual_seed(options.seed)
        captions = (caption for captions in encoded.captions for caption in captions)
        return new_text(captions, layers=options.text_layers)
    tokenizer, text = load_text(options.text_from)
    return tokenizer, text.requires_grad_(options.text == "trained")


def _classes(asked: str | None) -> tuple[tuple[str, ...], ...]:
    """The words of each class."""
    if not asked:
        return ()
    names = class_names([asked])
    recipe = Recipe.of(classes=names if len(names) > 1 else asked)
    return tuple(recipe.words_of(name).words for name in recipe.classes)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point; ``arguments`` default to the command line."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    parser = _parser()
    try:
        _train(parser.parse_args(arguments))
    except DiffuMaskError as error:
        parser.exit(1, f"{error}\n")


def _train(options: argparse.Namespace) -> None:
    output, checkpoint = options.output, options.output / "checkpoint.pt"
    if checkpoint.exists() and not options.resume:
        raise ModelError(f"{output} holds a checkpoint: add --resume, or take another --output")
    output.mkdir(parents=True, exist_ok=True)
    vae = load_autoencoder(options.vae)
    encoded = _encoded(options, vae)
    tokenizer, text = _text(options, encoded)
    settings = Settings(
        kind=options.kind,
        size=options.size,
        steps=options.steps,
        batch=options.batch,
        rate=options.rate,
        seed=options.seed,
        classes=_classes(options.classes),
        classes_from=options.classes_from,
    )
    run = Run(settings, LatentPool(encoded, tokenizer), tokenizer, text)
    if checkpoint.exists():
        run.restore(load_checkpoint(checkpoint))
    if options.compile:
        run.denoiser.compile()

    captions = [captions[0] for captions in encoded.captions[:_SHEET]]
    prompts = drawn_prompts() if options.data == "toybox" else captions
    losses, started, first = [], time.monotonic(), run.step
    while run.step < settings.steps:
        losses.append(run.train_step())
        last = run.step == settings.steps
        if run.step % 50 == 0 or last:
            rate = (run.step - first) / (time.monotonic() - started)
            append_log(output / "log.jsonl", step=run.step, loss=torch.stack(losses).mean(), steps_per_s=rate)
            losses = []
        if run.step % options.save_every == 0 or last:
            save_checkpoint(checkpoint, run.state())
        if run.step % options.sample_every == 0 or last:
            pipeline = run.averaged().pipeline(vae, tokenizer).to(run.device)
            write_sample_sheet(pipeline, prompts, output / f"samples-{run.step:07d}.png")
        if options.keep_every and run.step % options.keep_every == 0:
            # A copy, because what is exported becomes float16.
            kept = run.averaged().pipeline(copy.deepcopy(vae), tokenizer)
            _export(kept, run, output / f"model-{run.step:07d}")
    _export(run.averaged().pipeline(vae, tokenizer), run, output / "model")


def _export(pipeline: DiffusionPipeline, run: Run, folder: Path) -> None:
    """Writes the averaged model in float16, and the facts of its training."""
    partial = folder.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    pipeline.to(dtype=torch.float16).save_pretrained(partial, safe_serialization=True)
    for config in partial.glob("text_encoder*/config.json"):
        # Without this transformers would compute in float16, which diffusers does with no part.
        content = json.loads(config.read_text(encoding="utf-8"))
        config.write_text(json.dumps(content | {"dtype": "float32"}, indent=2) + "\n", encoding="utf-8")
    facts = vars(run.settings) | {"steps": run.step, "images_seen": run.step * run.settings.batch}
    facts["parameters"] = sum(weight.numel() for weight in run.denoiser.parameters())
    (partial / "training.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


if __name__ == "__main__":
    main()
