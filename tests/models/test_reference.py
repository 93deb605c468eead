"""From a name to the content it stands for, or one clear line."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from diffumask_datasets.errors import ModelError
from diffumask_datasets.models.fingerprint import fingerprint
from diffumask_datasets.models.reference import AFFINITY_NET, CHECKPOINT, LORA, PIPELINE, TEXT_MODEL, ModelKind

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that looks like a pipeline of an unknown family."""
    path = tmp_path / "model"
    (path / "unet").mkdir(parents=True)
    (path / "model_index.json").write_text('{"_class_name": "NewPipeline"}')
    (path / "unet" / "weights.safetensors").write_bytes(b"1")
    return path


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An offline Hub cache that holds me/model at COMMIT."""
    snapshot = tmp_path / "hub" / "models--me--model" / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot / "model_index.json").write_text('{"_class_name": "NewPipeline"}')
    refs = snapshot.parents[1] / "refs"
    refs.mkdir()
    (refs / "main").write_text(COMMIT)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.file_download.constants.HF_HUB_OFFLINE", True)
    return snapshot


def resolve(model: str, revision: str | None = None) -> str:
    return PIPELINE.named(model, revision).resolve()


def test_names_that_are_no_model(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"")
    with pytest.raises(ModelError, match=r"is not a diffusers pipeline: it has no model_index.json"):
        resolve(str(tmp_path))
    with pytest.raises(ModelError, match=r"is a file; give it as checkpoint=…"):
        resolve(str(file))
    for name in (str(tmp_path / "missing"), "./missing", "toyboxx", "a/b/c"):
        with pytest.raises(ModelError, match="give 'toybox', an existing folder or a Hub id owner/name"):
            resolve(name)


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        (CHECKPOINT, "missing.safetensors", "no checkpoint 'missing.safetensors': give a .safetensors file on this "),
        (CHECKPOINT, "owner/name", "no checkpoint 'owner/name': give a .safetensors file"),
        (CHECKPOINT, "old.ckpt", "the checkpoint 'old.ckpt' is no .safetensors file; pickled ones can run any code"),
        (CHECKPOINT, "empty", "'empty' is no checkpoint: give a .safetensors file"),
        (LORA, "./missing", "no LoRA './missing': give a safetensors file, a folder or a Hub id owner/name"),
        (LORA, "missing.safetensors", "no LoRA 'missing.safetensors': give a safetensors file"),
        (LORA, "empty", "the folder 'empty' is not a LoRA: it has no *.safetensors"),
        (AFFINITY_NET, "missing", "no affinity net 'missing': make one with diffumask train-affinity"),
        (TEXT_MODEL, "empty", "the folder 'empty' is not a model of transformers: it has no config.json"),
        (TEXT_MODEL, "old.ckpt", "'old.ckpt' is no text model: give an existing folder or a Hub id owner/name"),
    ],
)
def test_names_that_are_no_other_kind(
    kind: ModelKind, name: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old.ckpt").write_bytes(b"1")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError) as caught:
        kind.named(name).resolve()
    assert message in str(caught.value)


@pytest.mark.parametrize("kind", [CHECKPOINT, LORA, AFFINITY_NET])
def test_a_file_is_known_by_its_content(kind: ModelKind, tmp_path: Path) -> None:
    file = tmp_path / "one.safetensors"
    file.write_bytes(b"1")
    assert kind.named(str(file)).resolve() == "6b86b273ff34fce1"
    assert kind.named(str(file), "6b86b273ff34fce1").resolve() == "6b86b273ff34fce1"
    with pytest.raises(ModelError, match=r"has content '6b86b273ff34fce1', not the revision 'f00'; use the same"):
        kind.named(str(file), "f00").resolve()


def test_other_kinds_are_pinned_to_a_commit_too(hub_cache: Path) -> None:
    (hub_cache / "config.json").write_text("{}")
    (hub_cache / "lora.safetensors").write_bytes(b"1")
    assert TEXT_MODEL.named("me/model").resolve() == LORA.named("me/model").resolve() == COMMIT
    with pytest.raises(ModelError, match="the text model 'me/other' is neither a folder here nor in the Hub cache"):
        TEXT_MODEL.named("me/other").resolve()


def test_hub_model_in_the_cache(hub_cache: Path) -> None:
    assert resolve("me/model") == COMMIT
    assert resolve("me/model", COMMIT) == COMMIT


def test_hub_model_that_cannot_be_had(hub_cache: Path) -> None:
    with pytest.raises(ModelError) as error:
        resolve("me/other")
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
def test_what_the_hub_refuses(
    status: int, code: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real client asks a server that answers as the Hub does."""

    class Refusal(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(status)
            self.send_header("X-Error-Code", code)
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_HEAD  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    address = ("127.0.0.1", int(os.environ["HF_ENDPOINT"].rpartition(":")[2]))
    with ThreadingHTTPServer(address, Refusal) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            with pytest.raises(ModelError) as error:
                resolve("me/m", "v9")
        finally:
            server.shutdown()
    assert message in str(error.value)


def test_revision_follows_the_content(folder: Path) -> None:
    first = resolve(str(folder))
    assert len(first) == 16
    (folder / "README.md").write_text("not content")
    (folder / ".cache").mkdir()
    (folder / ".cache" / "lock.json").write_text("{}")
    assert resolve(str(folder)) == first
    (folder / "unet" / "weights.safetensors").write_bytes(b"12")
    second = resolve(str(folder))
    (folder / "unet" / "weights.safetensors").rename(folder / "unet" / "other.safetensors")
    assert len({first, second, resolve(str(folder))}) == 3


def test_revision_does_not_depend_on_the_place(folder: Path) -> None:
    moved = folder.parent / "elsewhere"
    before = fingerprint(folder)
    folder.rename(moved)
    assert fingerprint(moved) == before == "b54adabfd898fbcc"


def test_a_pinned_revision_must_be_there(folder: Path) -> None:
    present = resolve(str(folder))
    assert resolve(str(folder), present) == present
    assert resolve("planted") == resolve("planted", "planted-1") == "planted-1"
    with pytest.raises(ModelError) as error:
        resolve("planted", "planted-0")
    assert str(error.value) == (
        "the model 'planted' has content 'planted-1', not the revision 'planted-0'; "
        "use the same version of the package, folder or file, or leave the revision out"
    )


def test_resolving_loads_no_torch(folder: Path) -> None:
    code = (
        "import sys; from diffumask_datasets.models.reference import PIPELINE; "
        f"[PIPELINE.named(name).resolve() for name in ({str(folder)!r}, 'planted')]; "
        "assert not {'torch', 'diffusers'} & set(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    proof = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.modules['torch'] = sys; {code}"], check=False, capture_output=True
    )
    assert b"AssertionError" in proof.stderr
