import json
import shutil
from pathlib import Path

from diffusers import StableDiffusionPipeline

from diffumask_datasets.toybox.export import export_weights
from diffumask_datasets.toybox.training import WEIGHTS, append_log, save_checkpoint
from tests.toybox.test_training import tiny_run


def test_a_checkpoint_becomes_a_pipeline_with_its_history(tmp_path: Path) -> None:
    output, weights = tmp_path / "build", tmp_path / "weights"
    shutil.copytree(WEIGHTS / "vae", weights / "vae")
    run = tiny_run()
    run.train_step(0.0)
    save_checkpoint(output / "denoiser.pt", run.state(90.0))
    for minutes in (10.0, 20.2, 5.0, 15.1):  # two schedules, one after the other
        append_log(output / "denoiser.jsonl", loss=0.25, minutes=minutes)

    export_weights(output, weights, **run.settings.unet)

    facts = json.loads((weights / "training.json").read_text())
    assert (facts["images_seen"], facts["steps"], facts["loss"], facts["minutes"]) == (2, 1, 0.25, 35)
    assert "| minutes | 35 |" in (weights / "README.md").read_text()
    assert StableDiffusionPipeline.from_pretrained(weights).unet.config.block_out_channels == [16, 16, 16]
    assert {file.name for file in tmp_path.iterdir()} == {"build", "weights"}
