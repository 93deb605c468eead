"""What a local Hub holds, and what it says of it."""

import hashlib
from dataclasses import dataclass, field
from typing import Any

import yaml

LICENCES = {"apache-2.0", "mit", "cc-by-4.0", "openrail", "other"}


TASKS = {"image-segmentation", "object-detection"}


@dataclass
class Repo:
    files: dict[str, bytes] = field(default_factory=dict)
    commits: list[str] = field(default_factory=lambda: [hashlib.sha1(b"empty").hexdigest()])
    private: bool = False


@dataclass
class State:
    """``cut_uploads``: how many of the next uploads are cut in the middle. ``uploads`` are those that arrived whole.

    Without ``takes_commits`` uploads arrive and the commit that would show them is refused.
    """

    repos: dict[str, Repo] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    uploads: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    cut_uploads: int = 0
    takes_commits: bool = True


def oid_of(name: str, repo: Repo) -> str | None:
    """What the Hub knows a file by: its SHA-256 in LFS, its git blob id otherwise."""
    data = repo.files.get(name)
    if data is None:
        return None
    if name.endswith((".parquet", ".png")):
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def entry(name: str, repo: Repo) -> dict[str, Any]:
    data = repo.files[name]
    found: dict[str, Any] = {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
    if name.endswith((".parquet", ".png")):
        found["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
    return found


def described(name: str, repo: Repo) -> dict[str, Any]:
    siblings = [{"rfilename": held} for held in sorted(repo.files)]
    return {"id": name, "sha": repo.commits[-1], "private": repo.private, "siblings": siblings, "tags": []}


def validate(content: str) -> tuple[int, dict[str, Any]]:
    """The checks of a card that the Hub makes before a commit."""
    parts = content.split("---\n")
    data = yaml.safe_load(parts[1]) if content.startswith("---\n") and len(parts) > 2 else {}
    errors = []
    if data.get("license") not in (None, *LICENCES):
        errors.append({"message": '"license" must be one of the list'})
    if not set(data.get("task_categories") or []) <= TASKS:
        errors.append({"message": '"task_categories" must be among the tasks'})
    for config in data.get("configs") or []:
        if not config.get("config_name") or not config.get("data_files"):
            errors.append({"message": '"configs" must name data files'})
    return (400 if errors else 200), {"errors": errors, "warnings": []}
