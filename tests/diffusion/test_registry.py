"""From a model's name to its diffusion model, its revision, or one clear line."""

from __future__ import annotations

import json

import diffusers
import numpy as np
import pytest
import torch

from diffumask_datasets.diffusion import registry
from diffumask_datasets.diffusion.diffusion import DiffusersModel
from diffumask_datasets.diffusion.fake_model import FakeModel
from diffumask_datasets.diffusion.families.flux import FLUX
from diffumask_datasets.diffusion.registry import load_model, register_family
from diffumask_datasets.errors import ModelError
from diffumask_datasets.recipes.settings import PLAIN, LoadSettings
from tests.helpers.plugins import offer
from tests.helpers.tiny_models import models
from tests.helpers.tiny_models.cases import CASES, REQUESTS

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def folder(tmp_path):
    """A folder that looks like a pipeline of an unknown family."""
    path = tmp_path / "model"
    (path / "unet").mkdir(parents=True)
    (path / "model_index.json").write_text('{"_class_name": "NewPipeline"}')
    (path / "unet" / "weights.safetensors").write_bytes(b"1")
    return path


def test_planted_and_tiny_pipeline(pipeline_folder):
    assert isinstance(load_model("planted"), FakeModel)
    diffusion_model = load_model(str(pipeline_folder), revision="ignored for folders", device="cpu", dtype="bfloat16")
    assert isinstance(diffusion_model, DiffusersModel)
    assert str(diffusion_model.pipeline.unet.dtype) == str(diffusion_model.pipeline.vae.dtype) == "torch.bfloat16"


def test_a_registered_family_is_used(folder, monkeypatch):
    monkeypatch.setattr(registry, "_FAMILIES", {})
    monkeypatch.setattr(registry, "_REGISTERED", set())
    assert not registry.is_registered_here(str(folder))
    calls = []

    def loader(model, **options):
        calls.append((model, options))
        return FakeModel()

    register_family("NewPipeline", loader)
    load_model(str(folder), device="cpu")
    assert registry.is_registered_here(str(folder))
    assert not registry.is_registered_here("toybox")
    assert calls == [(str(folder), {"revision": None, "device": "cpu", "dtype": None, "options": PLAIN})]
    register_family("NewPipeline", "diffumask_datasets.diffusion.fake_model:FakeModel.from_environment")
    assert registry.find_family("m", "NewPipeline") == FakeModel.from_environment


def test_the_planted_double_has_nothing_to_load():
    with pytest.raises(ModelError, match="the model 'planted' has no weights: leave out lora"):
        load_model("planted", options=LoadSettings(variant="fp16"))


def test_a_declared_family_is_used(monkeypatch):
    monkeypatch.setattr(registry, "_FAMILIES", {})
    monkeypatch.setattr(registry, "_REGISTERED", set())
    register_family("NewPipeline", FLUX)
    assert registry.find_family("m", "NewPipeline") is FLUX


def test_an_installed_package_offers_a_family(tmp_path, monkeypatch):
    points = "[diffumask_datasets.families]\nNewPipeline = own_families:FAMILY\nFluxPipeline = own_families:OTHER\n"
    code = "from diffumask_datasets.diffusion.fake_model import FakeModel as FAMILY"
    offer(tmp_path / "site", monkeypatch, points=points, own_families=code)
    assert registry.find_family("m", "NewPipeline") is FakeModel
    # Ours win, so that no package changes what a registered model gives.
    assert registry.find_family("m", "FluxPipeline") is FLUX


def test_a_class_that_diffusers_has_not(folder):
    with pytest.raises(ModelError) as error:
        load_model(str(folder))
    assert str(error.value) == (
        f"the model {str(folder)!r} is a NewPipeline, a family nobody registered and diffusers {diffusers.__version__} "
        "does not have; upgrade diffusers, or register it with diffumask_datasets.diffusion.registry.register_family"
    )


def test_a_model_without_prompt_tokens_is_refused(folder):
    (folder / "model_index.json").write_text('{"_class_name": "KandinskyV22Pipeline"}')
    with pytest.raises(ModelError) as error:
        load_model(str(folder))
    assert str(error.value) == (
        f"the model {str(folder)!r} is a KandinskyV22Pipeline: no prompt token reaches its image tokens (its decoder sees "
        "an image embedding), so there is no cross-attention to read; take another model"
    )


def test_own_code_in_a_model_is_named_and_not_run(folder):
    for name in ("EvilPipeline", "FluxPipeline"):
        (folder / "model_index.json").write_text(json.dumps({"_class_name": ["evil", name]}))
        (folder / "evil.py").write_text("raise SystemExit")
        with pytest.raises(ModelError, match=r"brings code of its own \(evil\.py\), which is never run"):
            load_model(str(folder))


@pytest.mark.parametrize("model", ["flux", "z_image"])
def test_families_load_what_they_saved(model, tmp_path):
    models.built(model).save_pretrained(tmp_path)
    diffusion_model = load_model(str(tmp_path), device="cpu", dtype="bfloat16")
    assert isinstance(diffusion_model, DiffusersModel)
    assert str(diffusion_model.denoiser.dtype) == str(diffusion_model.pipeline.vae.dtype) == "torch.bfloat16"
    case = next(case for case in CASES if case.model == model)
    assert diffusion_model.family is case.family
    (output,) = load_model(str(tmp_path), device="cpu").generate(REQUESTS[:1], case.recipe())
    (expected,) = case.diffusion_model().generate(REQUESTS[:1], case.recipe())
    assert np.abs(output.image.astype(int) - expected.image).max() <= 1  # other places in memory, other last bits
    torch.testing.assert_close(output.attention.grids[4, 8], expected.attention.grids[4, 8], atol=1e-4, rtol=0)


def test_broken_index(folder):
    (folder / "model_index.json").write_text("{")
    with pytest.raises(ModelError, match=r"model_index\.json is not JSON"):
        load_model(str(folder))


def test_broken_weights(pipeline_folder, tmp_path):
    index = json.loads((pipeline_folder / "model_index.json").read_text())
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match="cannot load the model"):
        load_model(str(tmp_path))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"dtype": "int8"}, "unknown dtype 'int8'; one of float32, float16, bfloat16"),
        ({"device": "gpu"}, "unknown device 'gpu'; e.g. 'cpu', 'cuda' or 'cuda:1'"),
    ],
)
def test_unknown_device_and_dtype(pipeline_folder, option, message):
    with pytest.raises(ModelError, match=message):
        load_model(str(pipeline_folder), **option)
