"""``diffumask push``: everything is staged locally, then sent in one commit, so that nobody ever sees half a dataset."""

from __future__ import annotations

import logging
import re
import tempfile
import time
from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Features
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, HfFileSystem, get_token
from huggingface_hub import errors as hub
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

from diffumask_datasets.dataset.contact_sheet import contact_sheet
from diffumask_datasets.dataset.density import Density
from diffumask_datasets.dataset.image_io import Pixels
from diffumask_datasets.dataset.reader import OpenDataset, open_dataset
from diffumask_datasets.dataset.rewrite import beside, recipe_text_of
from diffumask_datasets.dataset.schema import Row
from diffumask_datasets.dataset.views import CONFIG_FOLDERS, check_shown
from diffumask_datasets.dataset.writer import FileContent, write_files
from diffumask_datasets.errors import HubError
from diffumask_datasets.hub.card import make_card, merge_cards
from diffumask_datasets.hub.summary import Summary, area_histogram
from diffumask_datasets.recipes.bounded_text import read_bounded
from diffumask_datasets.recipes.file import RECIPE_FILE
from diffumask_datasets.recipes.hub_errors import BROKEN, CONNECTION_ERRORS, cause_of, readable_errors

__all__ = ["push"]

logger = logging.getLogger(__name__)

AGAIN = "push again, what has arrived is not sent twice"

ATTEMPTS, PAUSE = 3, 0.5
"""How often a push is tried, and the seconds before the second time."""

NOT_ASKED: tuple[type[Exception], ...] = (*CONNECTION_ERRORS, hub.HfHubHTTPError, HFValidationError)
"""The licence of a model is worth a question, but no failed push."""

CHUNKING_SINCE = 21
"""The first pyarrow that cuts pages by content: images shared by several configs are then stored once on the Hub."""

MODEL_LICENCES = {"toybox": "apache-2.0", "planted": "none: a test double that generates solid shapes"}


def push(
    source: Any,
    repo_id: str,
    *,
    private: bool | None = None,
    token: str | None = None,
    licence: str | None = None,
    overwrite: bool = False,
    view: str | None = None,
    message: str = "Upload dataset",
) -> str:
    """Puts a dataset on the Hub.

    The configs ``default``, ``instance`` and ``detection``, ``id2label.json``, ``recipe.yaml``, reviewers' decisions and the
    card arrive in one commit. Files that are there already are not sent again, also after an interrupted push.

    Args:
        source: A folder, a URL, a Hub dataset, a ``Dataset`` with the columns of ``default``, or a dict of its splits.
        repo_id: ``owner/name``.
        private: Whether a new repository is private.
        token: A token with the right to write; default: that of ``HF_TOKEN`` or ``hf auth login``.
        licence: The licence of the dataset, for its card.
        overwrite: Replace a dataset with another schema.
        view: The config that is loaded where none is named, as by the examples of transformers: ``instance`` for instance
            segmentation, ``detection`` for boxes; the config ``default`` is then called ``semantic``. Default: that of
            ``source``.
        message: The message of the commit.

    Returns:
        The address of the dataset.

    Raises:
        ExportError: Not a dataset, not one with the columns of ``default``, or an unknown view.
        HubError: An invalid repository id, no rights, a wrong token, another schema, or no connection.
    """
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise HubError(f"{repo_id!r} is no repository id, expected owner/name: {error}") from error
    check_shown(view or "default")
    token = _usable(get_token() if token is None else token)
    opened = open_dataset(source)
    view, decided = view or opened.view, beside(opened)
    api = HfApi(token=token)
    with readable_errors(repo_id, token, again=AGAIN):
        repo_id = str(api.create_repo(repo_id, repo_type="dataset", private=private, exist_ok=True).repo_id)
        present = api.list_repo_files(repo_id, repo_type="dataset")
        if not overwrite:
            _check_schema(repo_id, present, opened, token)
        with tempfile.TemporaryDirectory(prefix="diffumask-push-") as folder:
            summary = _write_data(Path(folder), opened, decided)
            of_model = _model_licence(api, summary)
            ours = make_card(repo_id, opened, summary, licence=licence, model_licence=of_model, view=view)
            merge_cards(_present_card(api, repo_id, present), ours).save(Path(folder) / "README.md")
            _commit(api, repo_id, Path(folder), message)
    return f"{api.endpoint}/datasets/{repo_id}"


def _usable(token: str | None) -> str:
    """The token without the blanks that copying brings along.

    Raises:
        HubError: there is none, or it cannot be one; it is not shown.
    """
    if token is None:
        raise HubError("no token: log in with: hf auth login, or set HF_TOKEN")
    token = token.strip()
    if not re.fullmatch(r"[!-~]+", token):
        raise HubError("the token is empty or holds characters that no token has: copy it anew, or hf auth login")
    return token


def _present_card(api: HfApi, repo_id: str, present: Container[str]) -> str | None:
    if "README.md" not in present:
        return None
    readme = Path(api.hf_hub_download(repo_id, "README.md", repo_type="dataset"))
    return read_bounded(readme, what="the card", error=HubError)


def _write_data(folder: Path, source: OpenDataset, decided: Mapping[str, str]) -> Summary:
    """Writes all but the card; the same dataset gives the same bytes."""
    summary = Summary(source.classes, density=Density(source.fewest_objects), stuff=source.stuff)
    seen = set[str]()
    labels: dict[str, Pixels] = {}
    files: dict[str, FileContent] = {**decided}

    def watched(split: str) -> Iterator[Row]:
        for checked in source.split_checked(split, seen):
            summary.see(split, checked.row)
            labels[checked.sample_id] = checked.label
            yield checked.row

    if source.recipe_fields is not None:
        files[RECIPE_FILE] = recipe_text_of(source, sizes=source.counts)
    write_files(
        folder,
        {split: watched(split) for split in source.counts},
        features=source.features,
        counts=source.counts,
        files=files,
        views=CONFIG_FOLDERS,
        label_of=lambda row: labels.pop(row["sample_id"]),
        write_page_index=True,
        **({"use_content_defined_chunking": True} if int(pa.__version__.split(".")[0]) >= CHUNKING_SINCE else {}),
    )
    (folder / "assets").mkdir()
    contact_sheet(summary.first_rows, source.classes).save(folder / "assets" / "samples.png")
    area_histogram(summary).save(folder / "assets" / "areas.png")
    return summary


def _commit(api: HfApi, repo_id: str, folder: Path, message: str) -> None:
    """Again where the connection was cut: older clients do so after some errors only. What the Hub has is not sent twice."""
    staged = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    additions = [CommitOperationAdd(name, str(path)) for name, path in staged.items()]
    for attempt in range(1, ATTEMPTS + 1):
        try:
            operations: list[CommitOperationAdd | CommitOperationDelete] = [
                *additions,
                *_deletions(api, repo_id, staged),
            ]
            api.create_commit(repo_id, operations, commit_message=message, repo_type="dataset")
            return
        except BROKEN as error:
            if cause_of(error) is None or attempt == ATTEMPTS:
                raise
            logger.warning("the connection to the Hub broke; trying again")
            time.sleep(PAUSE * attempt)


def _deletions(api: HfApi, repo_id: str, staged: Container[str]) -> list[CommitOperationDelete]:
    """Data of an earlier push that this one does not replace."""
    places = tuple(f"{place}/" for place in CONFIG_FOLDERS.values())
    present = api.list_repo_files(repo_id, repo_type="dataset")
    return [CommitOperationDelete(name) for name in present if name.startswith(places) and name not in staged]


def _check_schema(repo_id: str, present: list[str], source: OpenDataset, token: str | None) -> None:
    data = next((name for name in present if name.startswith("data/") and name.endswith(".parquet")), None)
    if data is None:
        return
    with HfFileSystem(token=token, skip_instance_cache=True).open(f"datasets/{repo_id}/{data}") as file:
        there = Features.from_arrow_schema(pq.read_schema(file))
    if there != source.features:
        columns = sorted(set(there) ^ set(source.features)) or [
            name for name in there if there[name] != source.features[name]
        ]
        raise HubError(
            f"{repo_id} holds a dataset with another schema (different: {', '.join(columns)}): "
            "push to another repository, or replace it with overwrite=True (--overwrite)"
        )


def _model_licence(api: HfApi, summary: Summary) -> str | None:
    licences = []
    for model in sorted(summary.models):
        licence = MODEL_LICENCES.get(model)
        if licence is None and model.count("/") == 1 and not Path(model).exists():
            try:
                data = api.model_info(model).card_data
                licence = data.get("license_name") or data.get("license") if data else None
            except NOT_ASKED:
                logger.info("the licence of the model %s could not be asked for", model)
        licences.append(str(licence) if licence else None)
    return ", ".join(name for name in licences if name) or None
