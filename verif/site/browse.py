"""Faults of a built site: in its files, and as a browser without a network shows them."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag

#: Programs that drive a page, and the Debian package of each.
PROGRAMS = {"chromium": "chromium", "chromedriver": "chromium-driver"}
#: Seconds until a search has answered.
PATIENCE = 60
#: Markdown that was not understood: items, tables and fences in the midst of a paragraph.
_UNREAD = re.compile(r"^(?:[*-] |\d+\. |\||```)")


class _Page(HTMLParser):
    """Identifiers, links, what the page itself loads, and lines of paragraphs."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.lines: list[str] = []
        self._paragraph = self._code = False
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take note of what a tag names."""
        given = {name: value or "" for name, value in attrs}
        self.ids.update(given[name] for name in ("id", "name") if name in given)
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag == "link" and given.get("rel") not in ("canonical", "prev", "next"):
            self.loads.append(given.get("href", ""))
        elif "src" in given:
            self.loads.append(given["src"])
        self._paragraph = self._paragraph or tag == "p"
        self._code = self._code or tag == "code"

    def handle_endtag(self, tag: str) -> None:
        """Leave paragraphs and code."""
        self._paragraph = self._paragraph and tag != "p"
        self._code = self._code and tag != "code"

    def handle_data(self, data: str) -> None:
        """Lines that begin within a paragraph."""
        if self._paragraph and not self._code:
            self.lines += data.split("\n")[1:]


def faults(site: Path) -> Iterator[str]:
    """Links that lead nowhere, what is missing or needs a network, Markdown that was not read.

    404.html is for servers, and left out.
    """
    pages = {path: _Page(path) for path in sorted(site.rglob("*.html")) if path.name != "404.html"}
    for path, page in pages.items():
        name = path.relative_to(site)
        for target in page.loads:
            if re.match(r"[a-z]+:|//", target):
                yield f"{name}: loads {target} from the network"
        for target in (*page.links, *page.loads):
            if re.match(r"[a-z]+:|//", target):
                continue
            file, anchor = urldefrag(target)
            goal = Path(os.path.normpath(path.parent / unquote(file))) if file else path
            if not goal.is_file():
                yield f"{name}: {target} is not there"
            elif anchor and goal in pages and unquote(anchor) not in pages[goal].ids:
                yield f"{name}: {target} has no such place"
        for line in page.lines:
            if _UNREAD.match(line):
                yield f"{name}: not read as Markdown: {line}"


def missing() -> str:
    """What a browser test lacks here, with the Debian packages that have it; or nothing."""
    return " ".join(package for program, package in PROGRAMS.items() if not shutil.which(program))


@contextmanager
def browser() -> Iterator[Any]:
    """A headless Chromium, without a network and with a profile of its own."""
    from selenium import webdriver

    with tempfile.TemporaryDirectory() as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = str(shutil.which("chromium"))
        for flag in (
            "headless",
            "no-sandbox",
            "disable-gpu",
            "disable-quic",
            "no-first-run",
            "disable-background-networking",
            "disable-component-update",
            "disable-sync",
            "host-resolver-rules=MAP * ~NOTFOUND",
            f"user-data-dir={profile}",
            "window-size=1400,1000",
        ):
            options.add_argument(f"--{flag}")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        service = webdriver.ChromeService(shutil.which("chromedriver"))
        driver = webdriver.Chrome(options, service)
        try:
            yield driver
        finally:
            driver.quit()


def seen(driver: Any, page: Path) -> list[str]:
    """What is wrong with a page as it is shown: messages, pictures, what came from elsewhere."""
    driver.get(page.as_uri())
    pictures = driver.execute_script(
        "return [...document.images].filter(i => !i.complete || !i.naturalWidth).map(i => i.src)"
    )
    loaded = driver.execute_script(
        "return performance.getEntriesByType('resource').map(entry => entry.name)"
    )
    return [
        *(entry["message"] for entry in driver.get_log("browser")),
        *(f"{source} is not shown" for source in pictures),
        *(f"{name} is no file" for name in loaded if not name.startswith(("file:", "data:"))),
    ]


def search(driver: Any, words: str) -> list[str]:
    """Titles that the search of the page at hand finds; the first of them is followed."""
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    def ready(driver: Any) -> bool:
        said = driver.find_element(By.CSS_SELECTOR, ".md-search-result__meta").text
        return bool(said) and "Initializing" not in said

    wait = WebDriverWait(driver, PATIENCE)
    field = driver.find_element(By.CSS_SELECTOR, "input.md-search__input")
    field.click()
    wait.until(ready)
    field.send_keys(words)
    found = wait.until(lambda d: d.find_elements(By.CSS_SELECTOR, "a.md-search-result__link"))
    titles = [link.text.split("\n")[0] for link in found]
    driver.get(found[0].get_attribute("href"))
    return titles
