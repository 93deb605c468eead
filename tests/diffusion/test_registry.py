"""From a model's name to its backbone, its revision, or one clear line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import diffusers
import numpy as np
import pytest
import torch

from diffumask_datasets.diffusion import registry
from diffumask_datasets.diffusion.diffusion import DiffusersModel
from diffumask_datasets.diffusion.fake_model import FakeModel
from diffumask_datasets.diffusion.families.flux import FLUX
from diffumask_datasets.diffusion.registry import known_classes, load_model, register_family, resolve_revision
from diffumask_datasets.diffusion.revision import fingerprint
from diffumask_datasets.diffusion.unet import UNetModel
from diffumask_datasets.errors import ModelError
from diffumask_datasets.recipes.settings import PLAIN, LoadSettings
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


@pytest.fixture
def hub_cache(tmp_path, monkeypatch):
    """An offline Hub cache that holds me/model at COMMIT."""
    snapshot = tmp_path / "hub" / "models--me--model" / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot / "model_index.json").write_text('{"_class_name": "NewPipeline"}')
    refs = snapshot.parents[1] / "refs"
    refs.mkdir()
    (refs / "main").write_text(COMMIT)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.file_download.constants.HF_HUB_OFFLINE", True)


def test_planted_and_tiny_pipeline(pipeline_folder):
    assert isinstance(load_model("planted"), FakeModel)
    backbone = load_model(str(pipeline_folder), revision="ignored for folders", device="cpu", dtype="bfloat16")
    assert isinstance(backbone, UNetModel)
    assert str(backbone.pipeline.unet.dtype) == str(backbone.pipeline.vae.dtype) == "torch.bfloat16"


def test_a_registered_family_is_used(folder, monkeypatch):
    monkeypatch.setattr(registry, "_FAMILIES", {})
    calls = []

    def loader(model, **options):
        calls.append((model, options))
        return FakeModel()

    register_family("NewPipeline", loader)
    load_model(str(folder), device="cpu")
    assert calls == [(str(folder), {"revision": None, "device": "cpu", "dtype": None, "options": PLAIN})]
    register_family("NewPipeline", "diffumask_datasets.diffusion.fake_model:FakeModel.from_environment")
    assert registry._family("m", "NewPipeline") == FakeModel.from_environment


def test_the_planted_double_has_nothing_to_load():
    with pytest.raises(ModelError, match="the model 'planted' has no weights: leave out lora"):
        load_model("planted", options=LoadSettings(variant="fp16"))


def test_a_declared_family_is_used(monkeypatch):
    monkeypatch.setattr(registry, "_FAMILIES", {})
    register_family("NewPipeline", FLUX)
    assert registry._family("m", "NewPipeline") is FLUX


def test_an_installed_package_offers_a_family(tmp_path, monkeypatch):
    own = tmp_path / "own_families-1.0.dist-info"
    own.mkdir()
    (own / "METADATA").write_text("Metadata-Version: 2.1\nName: own-families\nVersion: 1.0\n")
    (own / "entry_points.txt").write_text(
        "[diffumask_datasets.families]\nNewPipeline = own_families:FAMILY\nFluxPipeline = own_families:OTHER\n"
    )
    (tmp_path / "own_families.py").write_text("from diffumask_datasets.diffusion.fake_model import FakeModel as FAMILY")
    monkeypatch.syspath_prepend(tmp_path)
    assert registry._family("m", "NewPipeline") is FakeModel
    # Ours win, so that no package changes what a registered model gives.
    assert registry._family("m", "FluxPipeline") is FLUX


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
    backbone = load_model(str(tmp_path), device="cpu", dtype="bfloat16")
    assert isinstance(backbone, DiffusersModel)
    assert str(backbone.denoiser.dtype) == str(backbone.pipeline.vae.dtype) == "torch.bfloat16"
    case = next(case for case in CASES if case.model == model)
    assert backbone.family is case.family
    (painting,) = load_model(str(tmp_path), device="cpu").paint(REQUESTS[:1], case.recipe())
    (expected,) = case.backbone().paint(REQUESTS[:1], case.recipe())
    assert np.abs(painting.image.astype(int) - expected.image).max() <= 1  # other places in memory, other last bits
    torch.testing.assert_close(painting.attention.grids[4, 8], expected.attention.grids[4, 8], atol=1e-4, rtol=0)


@pytest.mark.parametrize("ask", [load_model, resolve_revision])
def test_names_that_are_no_model(ask, tmp_path):
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"")
    with pytest.raises(ModelError, match=r"is not a diffusers pipeline: it has no model_index.json"):
        ask(str(tmp_path))
    with pytest.raises(ModelError, match=r"is a file; give it as checkpoint=…"):
        ask(str(file))
    for name in (str(tmp_path / "missing"), "./missing", "toyboxx", "a/b/c"):
        with pytest.raises(ModelError, match="give 'toybox', an existing folder or a Hub id owner/name"):
            ask(name)


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


def test_hub_model_in_the_cache(hub_cache):
    assert resolve_revision("me/model") == COMMIT
    assert resolve_revision("me/model", COMMIT) == COMMIT
    with pytest.raises(ModelError, match="the model 'me/model' is a NewPipeline"):
        load_model("me/model")


def test_hub_model_that_cannot_be_had(hub_cache):
    with pytest.raises(ModelError) as error:
        resolve_revision("me/other")
    assert str(error.value) == (
        "the model 'me/other' is neither a folder here nor in the Hub cache, and the Hub cannot be reached: "
        "go online once, give a local folder, or take model='toybox'"
    )


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (403, "GatedRepo", "'me/m' is gated: accept its terms at https://huggingface.co/me/m, then run: hf auth login"),
        (401, "GatedRepo", "'me/m' is gated: accept its terms at"),
        (404, "RepoNotFound", "no model 'me/m' on the Hub: check the name; if private, run: hf auth login"),
        (404, "RevisionNotFound", "the model 'me/m' has no revision 'v9'"),
        (404, "EntryNotFound", "the model 'me/m' is not a diffusers pipeline: it has no model_index.json"),
    ],
)
def test_what_the_hub_refuses(status, code, message, tmp_path, monkeypatch):
    """The real client asks a server that answers as the Hub does."""

    class Refusal(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response(status)
            self.send_header("X-Error-Code", code)
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_HEAD  # noqa: N815

        def log_message(self, *args):
            pass

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    address = ("127.0.0.1", int(os.environ["HF_ENDPOINT"].rpartition(":")[2]))
    with ThreadingHTTPServer(address, Refusal) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            with pytest.raises(ModelError) as error:
                resolve_revision("me/m", "v9")
        finally:
            server.shutdown()
    assert message in str(error.value)


def test_revision_follows_the_content(folder):
    first = resolve_revision(str(folder))
    assert len(first) == 16
    (folder / "README.md").write_text("not content")
    (folder / ".cache").mkdir()
    (folder / ".cache" / "lock.json").write_text("{}")
    assert resolve_revision(str(folder)) == first
    (folder / "unet" / "weights.safetensors").write_bytes(b"12")
    second = resolve_revision(str(folder))
    (folder / "unet" / "weights.safetensors").rename(folder / "unet" / "other.safetensors")
    assert len({first, second, resolve_revision(str(folder))}) == 3


def test_revision_does_not_depend_on_the_place(folder):
    moved = folder.parent / "elsewhere"
    before = fingerprint(folder)
    folder.rename(moved)
    assert fingerprint(moved) == before == "b54adabfd898fbcc"


def test_a_pinned_revision_must_be_there(folder):
    present = resolve_revision(str(folder))
    assert resolve_revision(str(folder), present) == present
    assert resolve_revision("planted") == resolve_revision("planted", "planted-1") == "planted-1"
    with pytest.raises(ModelError) as error:
        resolve_revision("planted", "planted-0")
    assert str(error.value) == (
        "the model 'planted' has content 'planted-1', not the revision 'planted-0' that is asked for; "
        "take the same version of the package or folder, or leave revision out"
    )


def test_known_classes():
    assert known_classes("toybox")[:2] == ("car", "boat")
    assert known_classes("planted") is None


def test_resolving_loads_no_torch(folder):
    code = (
        "import sys; from diffumask_datasets.diffusion.registry import resolve_revision as r; "
        f"r({str(folder)!r}); r('planted'); assert not {{'torch', 'diffusers'}} & set(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    proof = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.modules['torch'] = sys; {code}"], check=False, capture_output=True
    )
    assert b"AssertionError" in proof.stderr
