"""Headless Chromium, Debian's: ``apt-get install chromium chromium-driver``."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service


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
    chrome.downloads_folder = downloads  # type: ignore[attr-defined]
    try:
        yield chrome
    finally:
        chrome.quit()
