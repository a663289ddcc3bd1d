"""Headless Chromium with a page of the viewer, driven as a user would: by clicks and keys."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-dev-shm-usage",
    "--window-size=1600,1000",
)


class Page:
    """What a user sees of one page, and does with it."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, path: Path) -> None:
        for kind in ("browser", "performance"):
            self.driver.get_log(kind)
        self.driver.get(path.as_uri())
        self.wait(
            lambda: self.run("return document.documentElement.dataset.ready === 'yes'"), "page is ready"
        )

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def wait(self, condition: Callable[[], Any], what: str, seconds: float = 10) -> Any:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = condition()
            if found:
                return found
            time.sleep(0.02)
        raise AssertionError(f"waited in vain: {what}")

    def find(self, selector: str) -> Any:
        return self.driver.find_element("css selector", selector)

    def all(self, selector: str) -> list[Any]:
        return list(self.driver.find_elements("css selector", selector))

    def texts(self, selector: str) -> list[str]:
        script = "return [...document.querySelectorAll(arguments[0])].map((each) => each.textContent)"
        return list(self.run(script, selector))

    def panel(self) -> str:
        """The text of the details panel as it is shown."""
        return str(self.find("#panel").text)

    def title(self) -> str:
        return str(self.find("#panel h2").text)

    def keys(self, *keys: str) -> None:
        from selenium.webdriver import ActionChains

        ActionChains(self.driver).send_keys(*keys).perform()

    def labelled(self, start: str, part: str = "") -> Any:
        """The box whose label, which a screen reader reads, starts like this and holds the part."""
        for box in self.all("#graph .box"):
            words = box.get_attribute("aria-label")
            if words.startswith(start) and part in words:
                return box
        raise AssertionError(f"no box starts with {start!r} and holds {part!r}")

    def open_layer(self, name: str) -> None:
        self.labelled(name, "closed").find_element("css selector", ".fold").click()

    def marked(self, mark: str) -> list[str]:
        """The labels of boxes with this mark, in the columns they stand in."""
        script = (
            "return [...document.querySelectorAll(`.box.${arguments[0]}`)]"
            ".map((box) => box.getAttribute('aria-label'))"
        )
        return sorted(self.run(script, mark))

    def problems(self) -> list[str]:
        """Everything that the console has said since the page was opened."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        """Every address that was asked for since the page was opened."""
        found = []
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] in ("Network.requestWillBeSent", "Network.webSocketCreated"):
                parameters = message["params"]
                found.append(str(parameters.get("request", parameters)["url"]))
        return found


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    binary = next(filter(None, map(shutil.which, CHROMIUM)), None)
    control = shutil.which("chromedriver")
    if binary is None or control is None:
        pytest.fail("these tests need chromium and chromedriver: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(control))
    yield driver
    driver.quit()


@pytest.fixture
def page(driver: Any) -> Page:
    return Page(driver)
