import json
import re
from pathlib import Path
from typing import Any

from diffumask_datasets.review.page import write_page
from tests.helpers.made_datasets import dataset, drawn


def test_the_page_says_how_dense_the_scenes_are(tmp_path: Path) -> None:
    page = write_page(dataset([drawn(0), drawn(1)]), tmp_path / "page.html").read_text(encoding="utf-8")
    data: dict[str, Any] = json.loads(re.findall(r'id="data">(.*?)</script>', page)[0])
    assert data["density"].startswith("3.0 objects and 3.0 classes an image; 67 % of the objects touch another one")
    assert [(sample["objects"], sample["touching"]) for sample in data["samples"]] == [(3, 2), (3, 2)]
    assert '<span id="density"></span>' in page
