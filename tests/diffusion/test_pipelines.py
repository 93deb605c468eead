"""Loading: variants, schedulers, LoRA, pickles only when asked for."""

from __future__ import annotations

import shutil

import pytest
import torch
from diffusers import StableDiffusionPipeline, UniPCMultistepScheduler
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file

from diffumask_datasets.diffusion.diffusion import DiffusersModel
from diffumask_datasets.diffusion.pipelines import load_pipeline
from diffumask_datasets.diffusion.registry import load_model
from diffumask_datasets.errors import MissingDependencyError, ModelError
from diffumask_datasets.generation.prepare import prepare
from diffumask_datasets.recipes.recipe import Recipe
from diffumask_datasets.recipes.settings import LoadSettings
from tests.helpers.tiny_models import models
from tests.helpers.tiny_models.cases import CASES, REQUESTS
from tests.helpers.tiny_models.single_file import single_file

SD = CASES[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("sd")
    models.built("sd1").save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def lora(tmp_path_factory):
    pipeline = models.built("sd1")
    torch.manual_seed(0)
    pipeline.unet.add_adapter(LoraConfig(r=2, target_modules=["to_q", "to_k", "to_v"], init_lora_weights=False))
    path = tmp_path_factory.mktemp("lora")
    StableDiffusionPipeline.save_lora_weights(path, unet_lora_layers=get_peft_model_state_dict(pipeline.unet))
    return path


def test_a_lora_is_merged_into_the_weights(folder, lora):
    plain = load_pipeline(str(folder), device="cpu")
    merged = load_pipeline(str(folder), device="cpu", options=LoadSettings(lora=str(lora)))
    beside = load_pipeline(str(folder), device="cpu")
    beside.load_lora_weights(lora)
    names = [name for name, _ in merged.unet.named_modules()]
    assert names == [name for name, _ in plain.unet.named_modules()]
    heats = [
        DiffusersModel(pipeline, SD.family).generate(REQUESTS[:1], SD.recipe())[0].attention.grids[4, 8]
        for pipeline in (merged, beside, plain)
    ]
    torch.testing.assert_close(heats[0], heats[1], atol=1e-3, rtol=0)
    assert (heats[0] - heats[2]).abs().max() > 0.01


def test_a_lora_is_known_by_its_content(folder, lora, tmp_path):
    file = lora / "pytorch_lora_weights.safetensors"
    fields = {"classes": ["car"], "model": str(folder)}
    one, other = (prepare(Recipe.of(**fields, lora=str(place))) for place in (lora, file))
    assert len(one.lora_revision) == len(other.lora_revision) == 16
    copy = tmp_path / "elsewhere.safetensors"
    copy.write_bytes(file.read_bytes())
    assert prepare(Recipe.of(**fields, lora=str(copy))).digest == other.digest
    copy.write_bytes(b"other")
    assert prepare(Recipe.of(**fields, lora=str(copy))).digest != other.digest != prepare(Recipe.of(**fields)).digest


def test_lora_without_peft(folder, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        MissingDependencyError, match=r"peft is not installed: pip install 'diffumask-datasets\[lora\]'"
    ):
        load_pipeline(str(folder), device="cpu", options=LoadSettings(lora="x"))


def test_another_scheduler(folder):
    options = LoadSettings(scheduler="DPMSolverMultistepScheduler")
    pipeline = load_model(str(folder), device="cpu", options=options).pipeline
    assert type(pipeline.scheduler).__name__ == "DPMSolverMultistepScheduler"
    assert pipeline.scheduler.config.clip_sample is False
    with pytest.raises(
        ModelError, match=r"the scheduler 'Nothing' does not fit a DDIMScheduler; one of .*DDIMScheduler"
    ):
        load_pipeline(str(folder), device="cpu", options=LoadSettings(scheduler="Nothing"))


def test_latents_are_never_clipped_by_a_scheduler_of_another_kind(tmp_path):
    pipeline = models.built("sd1")
    pipeline.scheduler = UniPCMultistepScheduler()  # says nothing of clipping
    pipeline.save_pretrained(tmp_path)
    options = LoadSettings(scheduler="DDIMScheduler")
    assert load_pipeline(str(tmp_path), device="cpu", options=options).scheduler.config.clip_sample is False


def test_a_variant(tmp_path):
    models.built("sd1").save_pretrained(tmp_path, variant="fp16")
    assert load_pipeline(str(tmp_path), device="cpu", options=LoadSettings(variant="fp16")).unet
    with pytest.raises(ModelError, match="cannot load the model"):
        load_pipeline(str(tmp_path), device="cpu")


def test_pickles_only_when_asked_for(tmp_path):
    models.built("sd1").save_pretrained(tmp_path, safe_serialization=False)
    with pytest.raises(ModelError, match="you trust its author, set pickle_weights=True"):
        load_pipeline(str(tmp_path), device="cpu")
    assert load_pipeline(str(tmp_path), device="cpu", options=LoadSettings(pickle_weights=True)).unet


def test_a_single_file_has_the_weights_of_the_model_beside_it(folder, tmp_path):
    pipeline = load_pipeline(str(folder), device="cpu")
    architecture = tmp_path / "architecture"
    shutil.copytree(folder, architecture, ignore=shutil.ignore_patterns("*.safetensors"))
    file = tmp_path / "tuned.safetensors"
    save_file(single_file(pipeline), file)
    loaded = load_pipeline(str(architecture), device="cpu", options=LoadSettings(checkpoint=str(file)))
    for part in ("unet", "vae", "text_encoder"):
        expected, found = (getattr(one, part).state_dict() for one in (pipeline, loaded))
        assert expected.keys() == found.keys()
        assert all(torch.equal(weight, found[name]) for name, weight in expected.items())
    one, other = (DiffusersModel(each, SD.family).generate(REQUESTS[:1], SD.recipe())[0] for each in (pipeline, loaded))
    assert (one.image == other.image).all()
    torch.testing.assert_close(one.attention.grids[4, 8], other.attention.grids[4, 8], atol=0, rtol=0)


def test_a_single_file_is_known_by_its_content(folder, tmp_path):
    fields = {"classes": ["car"], "model": str(folder)}
    one, copy = tmp_path / "one.safetensors", tmp_path / "copy.safetensors"
    one.write_bytes(b"1")
    copy.write_bytes(b"1")
    digests = [prepare(Recipe.of(**fields, checkpoint=str(place))).digest for place in (one, copy)]
    assert digests[0] == digests[1] != prepare(Recipe.of(**fields)).digest


def test_a_single_file_that_does_not_fit(folder, tmp_path):
    file = tmp_path / "other.safetensors"
    save_file({"some.weight": torch.zeros(1)}, file)
    with pytest.raises(ModelError, match="cannot load the model"):
        load_pipeline(str(folder), device="cpu", options=LoadSettings(checkpoint=str(file)))
    with pytest.raises(ModelError, match="has no variant"):
        load_pipeline(str(folder), device="cpu", options=LoadSettings(checkpoint=str(file), variant="fp16"))
    with pytest.raises(ModelError, match=r"is a file; give it as checkpoint=…, and as model=…"):
        load_pipeline(str(file), device="cpu")


def test_every_option_is_a_recipe_field():
    fields = {"variant": "fp16", "lora": "me/it", "lora_revision": "abc", "scheduler": "S", "pickle_weights": True}
    fields |= {"checkpoint": "it.safetensors"}
    recipe = Recipe.of(classes=["car"], **fields)
    assert LoadSettings.subset_of(recipe) == LoadSettings(**fields)
    digests = {Recipe.of(classes=["car"], **{name: value}).digest for name, value in fields.items()}
    assert len(digests | {Recipe.of(classes=["car"]).digest}) == 7
