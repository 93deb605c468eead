"""Training of the shipped model: ``python -m diffumask_datasets.toybox.train COMMAND``, in the order of the commands."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from diffumask_datasets.toybox.training import WEIGHTS, run_team


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m diffumask_datasets.toybox.train", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    helps = {
        "autoencoder": "train the autoencoder on rendered scenes",
        "decoder": "sharpen the decoder alone, for latents that are already in use",
        "latents": "encode a pool of scenes for the denoiser",
        "denoiser": "train text encoder and UNet on the pool, reporting every ten minutes",
        "export": "write the newest checkpoint as a float16 diffusers folder",
    }
    for name, text in helps.items():
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("--output", type=Path, default=Path("build/toybox"), help="folder of checkpoints and logs")
        command.add_argument("--processes", type=int, default=2, help="single-thread processes when there is no GPU")
        if name in ("autoencoder", "decoder", "denoiser"):
            command.add_argument("--minutes", type=float, required=True, help="wall-clock budget of the schedule")
        if name in ("autoencoder", "denoiser"):
            command.add_argument("--resume", action="store_true", help="go on from the newest checkpoint in --output")
        if name == "latents":
            command.add_argument("--scenes", type=int, default=40_000, help="scenes in the pool")
            command.add_argument("--first-seed", type=int, default=0, help="seed of the first scene")
        if name in ("autoencoder", "denoiser"):
            command.add_argument(
                "--from-weights", type=Path, help="start from a diffusers folder (the shipped one, say)"
            )
        if name == "denoiser":
            command.add_argument(
                "--single-share", type=float, help="part of a batch with one object only (default: as drawn)"
            )
        if name == "export":
            command.add_argument("--weights", type=Path, default=WEIGHTS, help="folder to write")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point; ``arguments`` default to the command line."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    options = _parser().parse_args(arguments)
    output: Path = options.output
    output.mkdir(parents=True, exist_ok=True)
    if options.command == "autoencoder":
        from diffumask_datasets.toybox.autoencoder import train_autoencoder

        run_team(
            train_autoencoder, options.processes, output, options.minutes, output, options.resume, options.from_weights
        )
    elif options.command == "decoder":
        from diffumask_datasets.toybox.autoencoder import train_decoder

        run_team(train_decoder, options.processes, output, options.minutes, output, WEIGHTS)
    elif options.command == "latents":
        from diffumask_datasets.toybox.latents import encode_pool

        run_team(encode_pool, options.processes, output, output, options.first_seed, options.scenes)
    elif options.command == "denoiser":
        from diffumask_datasets.toybox.denoiser import Settings, train_denoiser

        run_team(
            train_denoiser,
            options.processes,
            output,
            options.minutes,
            output,
            options.resume,
            options.from_weights,
            Settings(single_share=options.single_share),
        )
    else:
        from diffumask_datasets.toybox.export import export_weights

        export_weights(output, options.weights)


if __name__ == "__main__":
    main()
