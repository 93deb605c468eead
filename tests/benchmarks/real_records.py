"""What bench_real keeps of each image: a record and a picture, so that a killed run goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from PIL import Image

from diffumask_datasets.dataset.atomic import atomic_file

Record = dict[str, Any]


class Records:
    """Records under keys, in a folder. The picture is written first: a record without its picture does not exist."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def get(self, key: str) -> Record | None:
        """The record, None where there is none."""
        path = self._folder / f"{key}.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    def put(self, key: str, record: Record, picture: Image.Image) -> Record:
        """Keeps a record and its picture."""
        with atomic_file(self._folder / f"{key}.png") as draft:
            picture.save(draft, format="PNG")
        with atomic_file(self._folder / f"{key}.json") as draft:
            draft.write_text(json.dumps({**record, "key": key}), encoding="utf-8")
        return {**record, "key": key}

    def pictures(self, records: Iterable[Record]) -> list[Image.Image]:
        """The pictures of records, in their order."""
        return [Image.open(self._folder / f"{record['key']}.png").convert("RGB") for record in records]


def key_of(*parts: Any) -> str:
    """A name for what all of these decide."""
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()[:20]
