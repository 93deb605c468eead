"""Headless Chromium, Debian's: ``apt-get install chromium chromium-driver``."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

PATIENCE_SECONDS = 1200
"""A page of hundreds of megabytes on a busy machine."""


@contextmanager
def chromium(downloads: Path, *, offline: bool = True) -> Iterator[webdriver.Chrome]:
    """A browser that saves into ``downloads`` and, where ``offline``, has no network at all."""
    browser, driver = (shutil.which(name) for name in ("chromium", "chromedriver"))
    assert browser, "no chromium: apt-get install chromium chromium-driver"
    assert driver, "no chromedriver: apt-get install chromium chromium-driver"
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for argument in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "window-size=1400,1000"):
        options.add_argument(f"--{argument}")
    if offline:
        options.add_argument("--host-resolver-rules=MAP * ~NOTFOUND")
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    chrome = webdriver.Chrome(options=options, service=Service(driver))
    chrome.command_executor.client_config.timeout = PATIENCE_SECONDS
    chrome.set_page_load_timeout(PATIENCE_SECONDS)
    chrome.downloads_folder = downloads  # type: ignore[attr-defined]
    try:
        yield chrome
    finally:
        chrome.quit()


@dataclass(frozen=True)
class Opening:
    """How a page came up: seconds until its first picture, what ``document.readyState`` was then, seconds until the end."""

    first_picture: float
    state: str
    whole: float


_WATCH = """
document.addEventListener("load", (event) => {
  if (event.target.tagName === "IMG" && !window.firstPicture)
    window.firstPicture = [performance.now() / 1000, document.readyState];
}, true);
"""


def opening(chrome: webdriver.Chrome, page: Path) -> Opening:
    """Opens a page and watches it come up."""
    watch = chrome.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": _WATCH})
    try:
        chrome.get(page.as_uri())
        seconds, state = chrome.execute_script("return window.firstPicture")
        whole = chrome.execute_script("return performance.getEntriesByType('navigation')[0].loadEventStart / 1000")
    finally:
        chrome.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", watch)
    return Opening(seconds, state, whole)
