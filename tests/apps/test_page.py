import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from diffumask_datasets import generate
from diffumask_datasets.dataset.reader import open_dataset
from diffumask_datasets.errors import ExportError
from diffumask_datasets.review import Decision, decisions_text, read_decisions, write_page
from diffumask_datasets.review.pictures import pictures_of
from tests.conftest import PLANTED
from tests.helpers.browser import chromium, opening
from tests.helpers.made_datasets import dataset, drawn
from tests.helpers.waiting import wait_until


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


def fresh(browser: Chrome, page: Path) -> Chrome:
    browser.get(page.as_uri())
    browser.execute_script("localStorage.clear()")
    browser.refresh()
    return browser


@pytest.fixture
def page(browser: Chrome, folder: Path, tmp_path: Path) -> Chrome:
    return fresh(browser, write_page(folder, tmp_path / "review.html"))


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of 10,000 samples. Making their pictures would take minutes: each has the same, of the usual weight."""
    row = drawn(0)
    noise = np.random.default_rng(0).integers(0, 256, (120, 120, 3), dtype=np.uint8)
    pictures = pictures_of(row, noise, noise[..., 0] // 128, normalization=None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("diffumask_datasets.review.page.pictures_of", lambda *_, **how: pictures)
        rows = [{**row, "sample_id": f"made-{k:05d}", "quality": k * 7 % 10_000 / 10_000} for k in range(10_000)]
        return write_page(dataset(rows), tmp_path_factory.mktemp("many") / "review.html")


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
    return after(browser, browser.find_element(By.ID, "download").click)


def after(browser: Chrome, act: Callable[[], None]) -> Path:
    """The file that an act downloads."""
    folder: Path = browser.downloads_folder  # type: ignore[attr-defined]
    for old in folder.iterdir():
        old.unlink()
    act()
    wait_until((folder / "decisions.jsonl").exists, "the download", seconds=60)
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


def test_ten_thousand_samples_show_the_first_while_the_rest_is_read(browser: Chrome, many: Path) -> None:
    assert many.stat().st_size > 200 * 2**20
    seen = opening(browser, many)
    assert seen.state == "loading"
    assert seen.first_picture < seen.whole / 2
    assert len(shown(browser)) == 60
    assert browser.find_element(By.ID, "loading").text == ""
    assert "10000 shown" in browser.find_element(By.ID, "counts").text
    press(browser, "q")  # worst first: their pictures lie all over the file
    assert shown(browser)[:3] == ["made-00000", "made-07143", "made-04286"]
    loaded = browser.execute_script("return [...document.querySelectorAll('main img')].map((i) => i.naturalWidth)")
    assert loaded == [120] * 120
    press(browser, "q", "n")  # best first, second page
    assert shown(browser)[0] == "made-04277"


def test_heat_maps_and_raw_masks_on_demand(browser: Chrome, tmp_path: Path) -> None:
    fields = {**PLANTED, "classes": PLANTED["classes"][:1]}
    generate(tmp_path / "ds", num_samples=3, keep_heat_maps=True, workers=1, store=tmp_path / "store", **fields)
    page = fresh(browser, write_page(tmp_path / "ds", tmp_path / "review.html"))

    def layer() -> tuple[str, list[str]]:
        masks = page.find_elements(By.CSS_SELECTOR, "img.mask")
        sources = [mask.get_attribute("src") for mask in masks]
        return masks[0].get_attribute("alt"), sources

    mask, heat, raw = layer(), (press(page, "h"), layer())[1], (press(page, "t"), layer())[1]
    assert [mask[0], heat[0], raw[0]] == ["mask", "heat map", "raw mask"]
    text = (tmp_path / "review.html").read_text(encoding="utf-8")
    pictures = [json.loads(one) for one in re.findall(r'id="p\d+">(.*?)</script>', text)]
    assert [mask[1], heat[1], raw[1]] == [[one[number] for one in pictures] for number in (1, 2, 3)]
    press(page, "t")
    assert layer() == mask


def test_a_dataset_without_heat_maps_has_no_such_pictures(page: Chrome) -> None:
    assert not page.find_element(By.ID, "layer").is_enabled()
    press(page, "h")
    assert {one.get_attribute("alt") for one in page.find_elements(By.CSS_SELECTOR, "img.mask")} == {"mask"}


def test_a_review_needs_no_keyboard(page: Chrome, folder: Path) -> None:
    ids = [row["sample_id"] for row in rows_of(folder)]
    for place, verdict in ((3, "accepted"), (0, "rejected"), (1, "rejected"), (1, "rejected")):
        page.find_elements(By.CSS_SELECTOR, f"main .choice .{verdict}")[place].click()
    assert read_decisions(downloaded(page)) == {
        ids[3]: Decision(ids[3], "accepted"),
        ids[0]: Decision(ids[0], "rejected"),
    }


def test_a_phone_shows_pictures_first(browser: Chrome, page: Chrome) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 400, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    )
    try:
        assert page.execute_script("return document.documentElement.scrollWidth") == 400
        assert page.execute_script("return document.querySelector('main img').getBoundingClientRect().top") < 200
        order = page.find_element(By.ID, "order")
        assert not order.is_displayed()
        page.find_element(By.ID, "unfold").click()
        assert order.is_displayed()
        button = page.find_element(By.CSS_SELECTOR, "main .choice .accepted")
        assert button.size["height"] >= 40
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_a_review_needs_no_mouse(page: Chrome, folder: Path) -> None:
    ids = [row["sample_id"] for row in rows_of(folder)]
    per_row = page.execute_script("return perRow()")
    assert 1 < per_row < 8
    press(page, Keys.ARROW_DOWN, "r", Keys.ARROW_LEFT, "/")
    page.switch_to.active_element.send_keys("no mast", Keys.ESCAPE)
    press(page, Keys.ARROW_UP, "a")
    assert read_decisions(after(page, lambda: press(page, "d"))) == {
        ids[0]: Decision(ids[0], "accepted"),
        ids[per_row]: Decision(ids[per_row], "rejected", "no mast"),
    }
