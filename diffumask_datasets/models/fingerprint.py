"""The identity of what lies in a folder. Imports no torch."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

__all__ = ["file_fingerprint", "fingerprint"]

_CONTENT = {".json", ".txt", ".safetensors", ".model", ".bin"}


def fingerprint(folder: Path) -> str:
    """Sixteen hex digits over names and contents of the weights, vocabularies and configurations in ``folder``."""
    whole = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if path.suffix in _CONTENT and path.is_file() and not any(part.startswith(".") for part in relative.parts):
            state = path.stat()
            whole.update(f"{relative.as_posix()}\0{_file_digest(path, state.st_mtime_ns, state.st_size)}\n".encode())
    return whole.hexdigest()[:16]


def file_fingerprint(path: Path) -> str:
    """Sixteen hex digits over the content of a file."""
    state = path.stat()
    return _file_digest(path, state.st_mtime_ns, state.st_size)[:16]


@lru_cache(maxsize=4096)
def _file_digest(path: Path, mtime_ns: int, size: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()
