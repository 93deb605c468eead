"""Dataset folders as strangers might make them: a good one with one thing in it that is not as it should be."""

import io
import json
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, PngImagePlugin

Row = dict[str, Any]
Change = Callable[[Row], object]

DATA = "data/train-00000-of-00001.parquet"


def with_row(good: Path, folder: Path, change: Change) -> Path:
    """A copy of a dataset folder whose second row was changed; in ``secret`` it finds a cell that names a file here."""
    shutil.copytree(good, folder)
    table = pq.read_table(good / DATA)
    rows = table.to_pylist()
    secret = folder.with_name("secret.png")
    secret.write_bytes(rows[1]["image"]["bytes"])
    rows[1]["secret"] = {"bytes": None, "path": str(secret)}
    change(rows[1])
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), folder / DATA)
    return folder


def with_file(good: Path, folder: Path, change: Callable[[Path], object]) -> Path:
    """A copy of a dataset folder whose parquet file, or what is beside it, was changed."""
    shutil.copytree(good, folder)
    change(folder / DATA)
    return folder


def cell(picture: Image.Image, kind: str = "PNG", **how: Any) -> Row:
    buffer = io.BytesIO()
    picture.save(buffer, format=kind, **how)
    return {"bytes": buffer.getvalue(), "path": None}


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb() -> Row:
    """A PNG of a few bytes that says it has 3.6 billion pixels."""
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")
    return {"bytes": b"\x89PNG\r\n\x1a\n" + body, "path": None}


def text_bomb(row: Row, *, kind: str) -> Row:
    """The image of a row with a text that unpacks to 2 MB."""
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", " " * 2_000_000, zip=True) if kind == "zTXt" else info.add_itxt(
        "Comment", " " * 2_000_000, zip=True
    )
    return cell(Image.open(io.BytesIO(row["image"]["bytes"])), pnginfo=info)


def set_object(row: Row, name: str, value: Any) -> None:
    """Gives the first object of a row another value."""
    row["objects"][name][0] = value


def set_rle(row: Row, **fields: Any) -> None:
    row["objects"]["segmentation"][0] |= fields


def crowd(row: Row, count: int) -> None:
    """``count`` copies of the first object."""
    row["objects"] = {name: [items[0]] * count for name, items in row["objects"].items()}
    row["objects"]["id"] = list(range(1, count + 1))


def wide_label(row: Row) -> Row:
    """The label as 16 bits, 256 more in each pixel: as 8 bits it would be a good one."""
    label = np.asarray(Image.open(io.BytesIO(row["label"]["bytes"])))
    return cell(Image.fromarray(label.astype(np.uint16) + 256))


def retyped(path: Path, name: str, kind: pa.DataType, value: Any) -> None:
    """Gives a column another type."""
    table = pq.read_table(path)
    place = table.schema.get_field_index(name)
    pq.write_table(table.set_column(place, name, pa.array([value] * table.num_rows, kind)), path)


def dropped(path: Path, name: str) -> None:
    pq.write_table(pq.read_table(path).drop_columns([name]), path)


def redescribed(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Changes what the file says of its features."""
    table = pq.read_table(path)
    description = json.loads(table.schema.metadata[b"huggingface"])
    text = change(description["info"]["features"])
    metadata = text if isinstance(text, bytes) else json.dumps(description).encode()
    pq.write_table(table.replace_schema_metadata({b"huggingface": metadata}), path)


def second_file(path: Path) -> None:
    """A second file of the split without a column of the first."""
    first, second = (path.with_name(f"train-0000{number}-of-00002.parquet") for number in range(2))
    path.rename(first)
    table = pq.read_table(first)
    pq.write_table(table.drop_columns(["prompt"]), second)


def rename_classes(path: Path, names: list[str]) -> None:
    def change(features: dict[str, Any]) -> None:
        category = features["objects"]["category"]  # a list in datasets 3
        (category[0] if isinstance(category, list) else category["feature"]).update(names=names)

    redescribed(path, change)


def doubled(path: Path) -> None:
    """The first row twice."""
    table = pq.read_table(path)
    pq.write_table(pa.concat_tables([table, table.slice(0, 1)]), path)


def crowded(path: Path) -> None:
    """200,000 objects in a row, which parquet stores in a few bytes."""
    table = pq.read_table(path)
    rows = table.slice(0, 1).to_pylist()
    crowd(rows[0], 200_000)
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
