"""Training sees image-caption pairs alone; both kinds learn, resume, and are saved as pipelines that the product reads."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

import examples.small_model
from diffumask_datasets import generate
from diffumask_datasets.errors import DataError
from diffumask_datasets.models.fingerprint import fingerprint
from diffumask_datasets.models.reference import TOYBOX
from examples.small_model import train
from examples.small_model.autoencoder import load_autoencoder, train_autoencoder
from examples.small_model.denoiser import draw_times
from examples.small_model.latents import Encoded, LatentPool
from examples.small_model.mmdit import EMPTY_TOKENS, MMDiTDenoiser
from examples.small_model.pairs import DrawnPairs, open_pairs
from examples.small_model.run import Run, Settings
from examples.small_model.text import caption_tokens, load_text, new_text, with_projection
from examples.small_model.training import Averaged, learning_rate, load_checkpoint, save_checkpoint

FOLDER = Path(examples.small_model.__file__).parent
WITH_MASKS = {"judging", "progress", "drawn_shapes", "shape_prompts", "promptable"}
"""These measure, or train the promptable segmenter; no module of a denoiser's training may import them."""

TRAINING = sorted(path for path in FOLDER.glob("*.py") if path.stem not in WITH_MASKS)
FORBIDDEN = {"semantic", "instances", "objects", "instance_id", "render_scene", "Scene", "masks"} | WITH_MASKS
TINY = ("--size", "tiny", "--batch", "2", "--sample-every", "1000")


def names_in(source: str) -> set[str]:
    """Every name, attribute and imported name of a module."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.ImportFrom):
            found |= {alias.name for alias in node.names} | set((node.module or "").split("."))
    return found


@pytest.mark.parametrize("path", TRAINING, ids=lambda path: path.stem)
def test_training_never_names_a_mask(path: Path) -> None:
    assert not names_in(path.read_text(encoding="utf-8")) & FORBIDDEN


def test_the_mask_check_can_fail() -> None:
    assert names_in("from diffumask_datasets.toybox.scene import render_scene") & FORBIDDEN
    assert names_in("x = scene.semantic") & FORBIDDEN
    assert {"autoencoder", "latents", "mmdit", "pairs", "run", "unet"} <= {path.stem for path in TRAINING}


def test_learning_rate_warms_up_and_decays() -> None:
    assert learning_rate(1.0, step=0, steps=100, warm_up=10) == pytest.approx(0.1)
    assert learning_rate(1.0, step=50, steps=100, warm_up=10) == pytest.approx(0.505)
    assert learning_rate(1.0, step=100, steps=100, warm_up=10) == pytest.approx(0.01)


def test_noise_levels_cover_the_schedule() -> None:
    times = draw_times(4000, torch.Generator().manual_seed(0))
    assert times.min() >= 0
    assert times.max() <= 1
    assert times.mean().item() == pytest.approx(0.56, abs=0.02)
    assert (times < 0.05).float().mean() < 0.05


def test_average_follows_the_weights() -> None:
    module = torch.nn.Linear(2, 2)
    average = Averaged(module, 0.5)
    with torch.no_grad():
        module.weight.add_(1.0)
    before = average.values["weight"].clone()
    average.update(module, 1000)
    assert torch.allclose(average.values["weight"], before + 0.5)


def test_a_share_of_the_drawn_scenes_holds_one_object() -> None:
    image, captions = DrawnPairs(pixels=32).pair(4)
    assert image.shape == (32, 32, 3)
    assert len(captions) == 6
    half = DrawnPairs(pixels=16, single_share=0.5)
    for index in range(1, 40, 2):
        assert not any(" and " in caption for caption in half.pair(index)[1])
    assert any(" and " in caption for index in range(0, 40, 2) for caption in half.pair(index)[1])


def write_images(folder: Path, *, count: int = 3) -> None:
    folder.mkdir()
    for index in range(count):
        Image.fromarray(np.full((40, 60, 3), index, np.uint8)).save(folder / f"{index}.png")


def test_folders_and_datasets_are_read(tmp_path: Path) -> None:
    write_images(tmp_path / "texts")
    write_images(tmp_path / "images")
    for index in range(3):
        (tmp_path / "texts" / f"{index}.txt").write_text(f"image {index}\nnumber {index}\n", encoding="utf-8")
    lines = [json.dumps({"file_name": f"{index}.png", "text": f"image {index}"}) for index in range(3)]
    (tmp_path / "images" / "metadata.jsonl").write_text("\n".join(lines), encoding="utf-8")
    datasets.load_dataset(str(tmp_path / "images"), cache_dir=str(tmp_path / "cache")).save_to_disk(
        str(tmp_path / "saved")
    )
    expected = {"texts": ("image 2", "number 2"), "images": ("image 2",), "saved": ("image 2",)}
    for name, captions in expected.items():
        pairs = open_pairs(str(tmp_path / name), pixels=16)
        image, found = pairs.pair(2)
        assert (len(pairs), image.shape, found) == (3, (16, 16, 3), captions)
        assert (image == 2).all()
    assert len(open_pairs(str(tmp_path / "texts"), pixels=16, count=2)) == 2
    with pytest.raises(
        DataError, match=r"no images with captions: 3 rows with the columns image, captions; .* in label"
    ):
        open_pairs(str(tmp_path / "texts"), caption_column="label")
    with pytest.raises(DataError, match="neither 'toybox' nor a dataset that can be read"):
        open_pairs(str(tmp_path / "nothing"))


def tiny_run(kind: str, *, frozen: bool = True) -> Run:
    tokenizer, text = load_text(TOYBOX)
    latents = torch.randn(2, 8, 8, 8, generator=torch.Generator().manual_seed(0)).half()
    pool = LatentPool(Encoded(latents, [["a red car", "a car"], ["two cups"]]), tokenizer)
    settings = Settings(kind=kind, size="tiny", steps=4, batch=2)
    return Run(settings, pool, tokenizer, text.requires_grad_(not frozen))


def flat_state(run: Run) -> torch.Tensor:
    values = [*run.denoiser.state_dict().values(), *run.average.values.values()]
    return torch.cat([value.float().reshape(-1) for value in values])


@pytest.mark.parametrize(("kind", "frozen"), [("unet", False), ("mmdit", True)])
def test_a_resumed_run_ends_as_an_uninterrupted_one(kind: str, frozen: bool, tmp_path: Path) -> None:
    whole, first, second = (tiny_run(kind, frozen=frozen) for _ in range(3))
    for _ in range(4):
        whole.train_step()
    for _ in range(2):
        first.train_step()
    save_checkpoint(tmp_path / "checkpoint.pt", first.state())
    second.restore(load_checkpoint(tmp_path / "checkpoint.pt"))
    for _ in range(2):
        second.train_step()
    assert second.step == 4
    assert torch.equal(flat_state(whole), flat_state(second))
    assert not torch.equal(flat_state(whole), flat_state(first))


def test_one_token_stands_for_all_empty_ones() -> None:
    """What is trained is what diffusers computes with as many zeros as its pipeline has."""
    torch.manual_seed(0)
    tokenizer, text = load_text(TOYBOX)
    denoiser = MMDiTDenoiser(text, size="tiny", channels=8, side=4)
    for weight in denoiser.transformer.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    noisy, times, tokens = (
        torch.randn(2, 8, 4, 4),
        torch.tensor([0.2, 0.8]),
        tokenizer(["a car", "a"], padding="max_length", return_tensors="pt").input_ids,
    )
    denoiser.prepare(torch.device("cpu"))
    with torch.no_grad():
        trained = denoiser(noisy, times, tokens, torch.zeros(2, 1, dtype=torch.bool))
        hidden = denoiser(noisy, times, tokens, torch.ones(2, 1, dtype=torch.bool))
        pipeline = denoiser.pipeline(load_autoencoder(TOYBOX / "vae"), tokenizer)
        words, _, pooled, _ = pipeline.encode_prompt(["a car", "a"], None, None, do_classifier_free_guidance=False)
        used = pipeline.transformer(
            noisy, encoder_hidden_states=words, pooled_projections=pooled, timestep=times * 1000
        )
    assert words.shape == (2, 32 + EMPTY_TOKENS, 256)
    assert trained.std() > 0.1
    torch.testing.assert_close(trained, used.sample, atol=1e-4, rtol=1e-4)
    assert (hidden - trained).abs().max() > 1e-3


def test_the_layer_put_on_the_text_encoder_adds_nothing() -> None:
    tokenizer, text = load_text(TOYBOX)
    ids = caption_tokens(["a red car"], tokenizer)
    with torch.no_grad():
        plain = text(ids)
        deeper = with_projection(text)(ids, output_hidden_states=True)
    torch.testing.assert_close(text.final_layer_norm(deeper.hidden_states[-2]), plain.last_hidden_state)
    torch.testing.assert_close(deeper.text_embeds, plain.pooler_output)


@pytest.mark.parametrize(("kind", "text"), [("unet", "new"), ("mmdit", "frozen")])
def test_one_command_trains_a_pipeline_that_the_product_reads(
    kind: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "drawn_prompts", lambda: ["a photo of a car"])
    output = tmp_path / "out"
    command = ["--data", "toybox", "--count", "20", "--pixels", "64", "--kind", kind, "--text", text, *TINY]
    train.main([*command, "--steps", "2", "--output", str(output)])
    train.main([*command, "--steps", "3", "--output", str(output), "--resume", "--keep-every", "3"])
    log = [json.loads(line) for line in (output / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [entry["step"] for entry in log] == [2, 3]
    assert {path.name for path in output.glob("*.png")} == {"samples-0000002.png", "samples-0000003.png"}
    facts = json.loads((output / "model" / "training.json").read_text(encoding="utf-8"))
    assert (facts["steps"], facts["images_seen"], facts["kind"]) == (3, 6, kind)
    assert fingerprint(output / "model-0000003") == fingerprint(output / "model")
    kinds = {"unet": "StableDiffusionPipeline", "mmdit": "StableDiffusion3Pipeline"}
    assert json.loads((output / "model" / "model_index.json").read_text(encoding="utf-8"))["_class_name"] == kinds[kind]
    fields = {"height": 64, "width": 64, "num_inference_steps": 2, "attention_grids": [8]}
    generate(tmp_path / "made", classes=["car"], model=str(output / "model"), num_samples=1, **fields)
    (row,) = datasets.load_dataset(str(tmp_path / "made"), split="train")
    assert (row["image"].size, row["label"].size) == ((64, 64), (64, 64))


def test_a_checkpoint_is_not_overwritten_nor_mixed_with_other_settings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tiny_run("mmdit")
    save_checkpoint(tmp_path / "checkpoint.pt", run.state())
    command = [
        "--data",
        "toybox",
        "--count",
        "2",
        "--pixels",
        "64",
        "--kind",
        "mmdit",
        *TINY,
        "--steps",
        "4",
        "--output",
        str(tmp_path),
    ]
    for added, message in (([], "holds a checkpoint: add --resume"), (["--resume", "--seed", "1"], "seed 0 (not 1)")):
        with pytest.raises(SystemExit):
            train.main([*command, *added])
        assert message in capsys.readouterr().err


def test_a_new_text_encoder_knows_the_words_of_its_captions() -> None:
    tokenizer, text = new_text(["a zebra, standing", "Zebra"])
    assert tokenizer.tokenize("zebra standing") == ["zebra</w>", "standing</w>"]
    assert text.config.vocab_size == len(tokenizer)


def test_without_layers_a_word_means_the_same_after_any_other() -> None:
    tokenizer, text = new_text(["sky road", "car road"], layers=0)
    sky, car = (text(caption_tokens([f"{first} road"], tokenizer)).last_hidden_state[0] for first in ("sky", "car"))
    assert torch.equal(sky[2], car[2])
    assert not torch.allclose(sky[1], car[1])


def test_an_autoencoder_resumes_normalises_its_latents_and_can_sharpen_its_decoder(tmp_path: Path) -> None:
    pairs = DrawnPairs(8, pixels=32)
    train_autoencoder(pairs, tmp_path / "whole", steps=3)
    train_autoencoder(pairs, tmp_path / "halves", steps=3, save_every=2)
    (tmp_path / "again").mkdir()
    (tmp_path / "halves" / "vae.pt").rename(tmp_path / "again" / "vae.pt")
    train_autoencoder(pairs, tmp_path / "again", steps=3)
    whole, again = (load_autoencoder(tmp_path / name / "vae") for name in ("whole", "again"))
    for name, weight in whole.state_dict().items():
        assert torch.equal(weight, again.state_dict()[name]), name
    images = torch.stack([torch.from_numpy(pairs.pair(k)[0]).permute(2, 0, 1) for k in range(8)]) / 127.5 - 1
    latents = whole.encode(images).latent_dist.mean
    assert latents.mean(dim=(0, 2, 3)).abs().max() < 1e-3
    assert latents.std(dim=(0, 2, 3)).sub(1).abs().max() < 1e-3
    train_autoencoder(pairs, tmp_path / "sharp", steps=1, start=tmp_path / "whole" / "vae", decoder_only=True)
    sharp = load_autoencoder(tmp_path / "sharp" / "vae")
    assert torch.equal(sharp.encode(images).latent_dist.mean, latents)
    assert not torch.equal(sharp.decoder.conv_out.weight, whole.decoder.conv_out.weight)
