"""What the Hub, or a dataset, does not allow is one clear line."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from datasets import load_dataset
from huggingface_hub import HfApi

from diffumask_datasets import generate, push
from diffumask_datasets.errors import ExportError, HubError, RecipeError, ReviewError
from diffumask_datasets.recipes.hub_errors import readable_errors
from tests.helpers.hub_server import GOOD_TOKEN, READ_TOKEN, LocalHub
from tests.hub.test_publishing import NAME


def test_another_schema_is_refused_before_anything_is_sent(
    local_hub: LocalHub, folder: Path, planted: dict[str, Any], tmp_path: Path
) -> None:
    push(folder, NAME, token=GOOD_TOKEN)
    sent = list(local_hub.state.uploads)
    generate(tmp_path / "other", num_samples=1, **{**planted, "classes": ["cat"]})
    with pytest.raises(HubError, match=r"holds a dataset with another schema \(different: heat_maps\)"):
        push(tmp_path / "other", NAME, token=GOOD_TOKEN)
    assert local_hub.state.uploads == sent
    push(tmp_path / "other", NAME, token=GOOD_TOKEN, overwrite=True)
    assert json.loads(local_hub.state.repos[NAME].files["id2label.json"]) == {"0": "background", "1": "cat"}


@pytest.mark.parametrize(
    ("repo_id", "token", "message"),
    [
        ("you/boats", GOOD_TOKEN, "no right to write you/boats"),
        (NAME, READ_TOKEN, "no right to write me/boats"),
        (NAME, "hf_" + "w" * 34, "does not accept the token|does not show it to you"),
        (NAME, "hf_" + "w" * 20 + "\x07" + "w" * 14, "holds characters that no token has"),
        (NAME, "hf_" + "w" * 20 + "é", "holds characters that no token has"),
        (NAME, " \n", "the token is empty"),
        ("a/b/c", GOOD_TOKEN, "'a/b/c' is no repository id, expected owner/name"),
        ("../boats", GOOD_TOKEN, "is no repository id"),
    ],
)
def test_what_the_hub_refuses_is_one_line_without_the_token(
    local_hub: LocalHub, folder: Path, repo_id: str, token: str, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(HubError, match=message) as caught:
        push(folder, repo_id, token=token)
    assert "\n" not in str(caught.value)
    assert token not in str(caught.value) + caplog.text
    assert local_hub.state.uploads == []


def test_a_token_with_a_line_end_is_that_token(local_hub: LocalHub, folder: Path) -> None:
    assert push(folder, NAME, token=f"{GOOD_TOKEN}\n").endswith(f"/datasets/{NAME}")


def test_no_token(local_hub: LocalHub, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(HubError, match="no token: log in with: hf auth login"):
        push(folder, NAME)


@pytest.mark.parametrize("text", ["Illegal header value b'Bearer hf_secret\\x07'", "Bearer secret is no header"])
def test_no_error_of_the_client_shows_a_token(text: str) -> None:
    with pytest.raises(HubError) as caught, readable_errors(NAME):
        raise ConnectionError(text)
    assert "secret" not in str(caught.value)


def test_no_hub_at_all(folder: Path) -> None:
    with pytest.raises(HubError, match=r"the connection to the Hub broke: .*push again"):
        push(folder, NAME, token=GOOD_TOKEN)


def test_a_licence_that_the_hub_does_not_know(local_hub: LocalHub, folder: Path) -> None:
    with pytest.raises(HubError, match=r'the Hub refused me/boats: .*"license" must be one of'):
        push(folder, NAME, token=GOOD_TOKEN, licence="beerware")
    assert local_hub.state.uploads == []


def test_recipes_that_the_hub_does_not_have(local_hub: LocalHub) -> None:
    with pytest.raises(HubError, match="the Hub has no me/none"):
        load_dataset("diffumask", recipe="me/none")
    HfApi(token=GOOD_TOKEN).create_repo(NAME, repo_type="dataset")
    with pytest.raises(RecipeError, match="no recipe at 'me/boats': give a dataset with recipe"):
        load_dataset("diffumask", recipe=NAME)


def test_a_strangers_recipe_on_the_hub(local_hub: LocalHub) -> None:
    api = HfApi(token=GOOD_TOKEN)
    api.create_repo(NAME, repo_type="dataset")
    text = b"classes: !!python/object/apply:os.system ['true']"
    api.upload_file(path_or_fileobj=text, path_in_repo="recipe.yaml", repo_id=NAME, repo_type="dataset")
    with pytest.raises(RecipeError, match="is not plain YAML"):
        load_dataset("diffumask", recipe=NAME)
    endless = b"#" * (8 * 2**20 + 1)
    api.upload_file(path_or_fileobj=endless, path_in_repo="recipe.yaml", repo_id=NAME, repo_type="dataset")
    with pytest.raises(RecipeError, match="is too large: at most 8388608 bytes are read"):
        load_dataset("diffumask", recipe=NAME)


def test_a_recipe_without_a_hub() -> None:
    with pytest.raises(HubError, match="Hub"):
        load_dataset("diffumask", recipe=NAME)


def test_no_dataset(local_hub: LocalHub, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="is no dataset folder"):
        push(tmp_path, NAME, token=GOOD_TOKEN)
    assert local_hub.state.repos == {}


@pytest.mark.parametrize("content", [b"[1]\n", b"{}\n", b"{\n", b"\xff\xfe\n"])
def test_a_file_that_holds_no_decisions(
    local_hub: LocalHub, planted: dict[str, Any], tmp_path: Path, content: bytes
) -> None:
    generate(tmp_path / "ds", num_samples=1, **planted)
    (tmp_path / "ds" / "decisions.jsonl").write_bytes(content)
    with pytest.raises(ReviewError, match=r"decisions\.jsonl"):
        push(tmp_path / "ds", NAME, token=GOOD_TOKEN)
    assert local_hub.state.repos == {}
