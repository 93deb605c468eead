import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from diffumask_datasets import generate
from diffumask_datasets.dataset.reader import open_dataset
from diffumask_datasets.errors import ExportError
from diffumask_datasets.review import Decision, decisions_text, read_decisions, write_page
from tests.conftest import PLANTED
from tests.helpers.browser import chromium


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("page")
    # A prompt that would end the script element if it were not written out.
    prompts = ["a photo of {classes}", "</script><img src=x onerror=document.title='owned'> {classes}"]
    generate(root / "ds", splits={"train": 6, "validation": 2}, prompts=prompts, store=root / "store", **PLANTED)
    return root / "ds"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with chromium(tmp_path_factory.mktemp("downloads")) as chrome:
        yield chrome


@pytest.fixture
def page(browser: Chrome, folder: Path, tmp_path: Path) -> Chrome:
    browser.get(write_page(folder, tmp_path / "review.html").as_uri())
    browser.execute_script("localStorage.clear()")
    browser.refresh()
    return browser


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [row for _, row in open_dataset(folder).rows()]


def shown(browser: Chrome) -> list[str]:
    return [card.get_attribute("data-id") for card in browser.find_elements(By.CSS_SELECTOR, "main article")]


def press(browser: Chrome, *keys: str) -> None:
    for key in keys:
        browser.find_element(By.TAG_NAME, "body").send_keys(key)


def choose(browser: Chrome, name: str, value: str) -> None:
    Select(browser.find_element(By.ID, name)).select_by_value(value)


def change(browser: Chrome, name: str, value: str) -> None:
    script = (
        "const e = document.getElementById(arguments[0]); e.value = arguments[1]; for (const t of ['input', 'change'])"
    )
    browser.execute_script(f"{script} e.dispatchEvent(new Event(t))", name, value)


def downloaded(browser: Chrome) -> Path:
    folder: Path = browser.downloads_folder  # type: ignore[attr-defined]
    for old in folder.iterdir():
        old.unlink()
    browser.find_element(By.ID, "download").click()
    deadline = time.monotonic() + 60
    while not (folder / "decisions.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    return folder / "decisions.jsonl"


def test_every_sample_is_shown_with_its_mask(page: Chrome, folder: Path) -> None:
    assert shown(page) == [row["sample_id"] for row in rows_of(folder)]
    loaded = page.execute_script(
        "return [...document.querySelectorAll('main img')].map((i) => [i.complete, i.naturalWidth, i.naturalHeight])"
    )
    assert loaded == [[True, 64, 48]] * 16
    assert page.title == "Review: ds"  # and not what the prompt's script would make of it
    assert page.get_log("browser") == []


def test_the_mask_on_the_page_is_the_mask(page: Chrome, folder: Path) -> None:
    script = """
    const image = document.querySelectorAll("img.mask")[arguments[0]], canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0);
    const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
    let covered = 0;
    for (let place = 3; place < pixels.length; place += 4) covered += pixels[place] === 255;
    return covered;
    """
    for number, row in enumerate(rows_of(folder)):
        assert page.execute_script(script, number) == sum(row["objects"]["area"])


def test_filter_by_class_split_and_quality(page: Chrome, folder: Path) -> None:
    rows = rows_of(folder)
    choose(page, "class", "3")
    assert shown(page) == [row["sample_id"] for row in rows if 3 in row["classes"]]
    choose(page, "class", "")
    choose(page, "split", "validation")
    assert shown(page) == [row["sample_id"] for row in rows[6:]]
    choose(page, "split", "")
    middle = sorted(row["quality"] for row in rows)[4]
    change(page, "low", str(round(middle, 4)))
    assert shown(page) == [row["sample_id"] for row in rows if round(row["quality"], 4) >= round(middle, 4)]
    change(page, "low", "1.1")
    assert "Nothing matches" in page.find_element(By.TAG_NAME, "main").text


def test_keys_decide_and_the_download_says_so(page: Chrome, folder: Path) -> None:
    ids = [row["sample_id"] for row in rows_of(folder)]
    press(page, "a", "r", "r", Keys.ARROW_LEFT, "u", Keys.ARROW_RIGHT, "a")
    page.find_elements(By.CSS_SELECTOR, "main article")[1].click()
    field = page.find_element(By.ID, "reason")
    field.send_keys("ragged — “left” edge")  # letters in a field are no keys
    page.find_element(By.ID, "tags").send_keys("edge, car")
    decisions = read_decisions(downloaded(page))
    assert decisions == {
        ids[0]: Decision(ids[0], "accepted"),
        ids[1]: Decision(ids[1], "rejected", "ragged — “left” edge", ("edge", "car")),
        ids[3]: Decision(ids[3], "accepted"),
    }
    choose(page, "verdict", "rejected")
    assert shown(page) == [ids[1]]
    assert "1 rejected · 5 undecided" in page.find_element(By.ID, "counts").text


def test_a_reason_typed_ahead_belongs_to_the_verdict(page: Chrome, folder: Path) -> None:
    ids = [row["sample_id"] for row in rows_of(folder)]
    page.find_element(By.ID, "reason").send_keys("no mast", Keys.ENTER)
    press(page, "r", "a", Keys.ARROW_LEFT, Keys.ARROW_LEFT, "a")
    assert read_decisions(downloaded(page)) == {
        ids[0]: Decision(ids[0], "accepted", "no mast"),  # another verdict keeps it
        ids[1]: Decision(ids[1], "accepted"),
    }
    badges = [card.text for card in page.find_elements(By.CSS_SELECTOR, "main article .verdict")]
    assert badges[:3] == ["accepted", "accepted", ""]


def test_a_reload_and_an_upload_lose_nothing(page: Chrome, folder: Path, tmp_path: Path) -> None:
    ids = [row["sample_id"] for row in rows_of(folder)]
    press(page, "r")
    page.refresh()
    (tmp_path / "of a colleague.jsonl").write_text(decisions_text([Decision(ids[4], "accepted", "", ("good",))]))
    page.find_element(By.ID, "upload").send_keys(str(tmp_path / "of a colleague.jsonl"))
    time.sleep(0.5)
    assert {name: one.verdict for name, one in read_decisions(downloaded(page)).items()} == {
        ids[0]: "rejected",
        ids[4]: "accepted",
    }


def test_the_slider_blends_the_mask(page: Chrome) -> None:
    def opacity() -> str:
        return page.find_element(By.CSS_SELECTOR, "img.mask").value_of_css_property("opacity")

    assert opacity() == "0.5"
    change(page, "overlay", "80")
    assert opacity() == "0.8"
    press(page, "m")
    assert opacity() == "0"


def test_nothing_is_fetched_from_anywhere(page: Chrome) -> None:
    entries = page.execute_script("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert [name for name in entries if not name.startswith("data:")] == []


def test_earlier_decisions_are_on_the_page(folder: Path, tmp_path: Path) -> None:
    sample_id = rows_of(folder)[2]["sample_id"]
    (folder / "decisions.jsonl").write_text(decisions_text([Decision(sample_id, "rejected")]))
    try:
        text = write_page(folder, tmp_path / "review.html", num_samples=3).read_text()
    finally:
        (folder / "decisions.jsonl").unlink()
    data = json.loads(text.partition('id="data">')[2].partition("</script>")[0])
    assert [one["sample_id"] for one in data["decisions"]] == [sample_id]
    assert len(data["samples"]) == 3


@pytest.mark.parametrize("name", ["review", "ds"])
def test_a_page_needs_a_name_that_a_browser_opens(folder: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(ExportError, match=r"give a file that ends in \.html"):
        write_page(folder, tmp_path / name)
