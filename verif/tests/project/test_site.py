"""The documentation as a site: pages and links without it, and the site in a browser."""

import importlib
import importlib.util
import inspect
import os
import re
import subprocess
import sys

import pytest

from verif.site import browse
from verif.site.links import faults, for_site, links, slug
from verif.site.pages import ROOT, listing, pages, sections, text

PICTURES = (".png", ".svg", ".jpg", ".gif")
#: MkDocs in an interpreter that has no network.
OFFLINE = """
import socket
def refuse(*_, **__):
    raise OSError("the site is built without a network")
socket.socket.connect = socket.getaddrinfo = refuse
from mkdocs.__main__ import cli
cli()
"""


def test_every_page_is_in_the_navigation_once_and_there():
    names = pages()
    assert len(set(names)) == len(names)
    have = {str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md")}
    assert have <= set(names)
    made = [n for n in names if not (ROOT / n).is_file()]
    assert all(n.endswith("/README.md") and (ROOT / n).parent.is_dir() for n in made), made
    assert all(sections().values())


@pytest.mark.parametrize("page", pages())
def test_links_and_pictures_of_a_page_lead_somewhere(page):
    assert list(faults(page, text(page))) == []


def test_every_page_begins_with_its_only_title():
    for page in pages():
        prose = re.sub(r"^```.*?^```$", "", text(page), flags=re.M | re.S)
        assert prose.startswith("# "), page
        assert len(re.findall(r"^# ", prose, re.M)) == 1, page


def test_every_picture_of_the_docs_is_shown():
    shown = {
        os.path.basename(link.target)
        for page in pages()
        for link in links(text(page))
        if link.picture
    }
    have = {path.name for path in (ROOT / "docs").rglob("*") if path.suffix in PICTURES}
    assert have == shown


def test_every_name_of_the_library_pages_is_there_and_documented():
    names = [name for page in pages() for name in re.findall(r"^::: ([\w.]+)$", text(page), re.M)]
    assert names
    for name in names:
        module, _, member = name.rpartition(".")
        if importlib.util.find_spec(module) and hasattr(importlib.import_module(module), member):
            found = getattr(importlib.import_module(module), member)
        else:
            found = importlib.import_module(name)
        assert inspect.getdoc(found), name


def test_public_names_of_pal_units_are_on_its_page():
    import pal_units

    page = text("docs/api/pal_units.md")
    formats = (
        set(pal_units.FORMATS) | set(pal_units.ADAPTIVE) | {"ADAPTIVE", "FORMATS", "DOT_PARAMS"}
    )
    shown = set(re.findall(r"^::: pal_units\.(\w+)$", page, re.M))
    assert shown == set(pal_units.__all__) - formats


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("[a](nowhere.md)", "nowhere.md is not there"),
        ("![a](figures/none.svg)", "figures/none.svg is not there"),
        ("![a](https://example.org/a.png)", "needs the network"),
        ("[a](array.md#no-such-heading)", "no such heading"),
        ("[a](#no-such-heading)", "no such heading"),
        ("[a](../pyproject.toml)", ""),
        ("[a](../LICENSE.md)", "is not there"),
        ("[`a`](array.md#loading) and [b [c]](https://example.org)", ""),
        ("`[a](nowhere.md)` <!-- [a](nowhere.md) -->", ""),
        ("```\n[a](nowhere.md)\n```", ""),
        ("[folder](units)", ""),
    ],
)
def test_faults_of_links_are_found(line, fault):
    found = list(faults("docs/numerics.md", line))
    assert len(found) == bool(fault)
    assert fault in "".join(found)


def test_links_are_written_for_the_site():
    assert (
        for_site("README.md", "[a](docs/array.md#loading) `[b](docs/c.md)` [d](#use)")
        == "[a](array.md#loading) `[b](docs/c.md)` [d](#use)"
    )
    assert (
        for_site("docs/units/Adder.md", "[a](../../README.md) [b](../decisions)")
        == "[a](../README.md) [b](../decisions/README.md)"
    )
    assert for_site("examples/README.md", "[a](mixed.toml)") == "[a](mixed.toml)"
    assert slug("Arrays of one's own, `spu map`") == "arrays-of-ones-own-spu-map"


def test_a_folder_without_a_readme_has_its_pages_listed():
    made = listing("docs/decisions/README.md")
    assert made.startswith("# Decisions\n\n* [")
    assert list(faults("docs/decisions/README.md", made)) == []


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built; skips where its packages are not installed."""
    for name in ("mkdocs", "material", "mkdocstrings"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed: make site")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE, "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stdout + done.stderr
    return folder


@pytest.mark.regress
def test_files_of_the_site_have_no_faults(site):
    assert list(browse.faults(site)) == []
    assert {str(p.relative_to(site)) for p in site.rglob("*.html")} >= {
        page.removeprefix("docs/").replace("README.md", "index.md")[:-3] + ".html"
        for page in pages()
    }


@pytest.mark.regress
def test_faults_of_built_pages_are_found(tmp_path):
    (tmp_path / "a.html").write_text(
        '<p id="here">x\n* y</p><a href="b.html">b</a><a href="#here">h</a><a href="#there">t</a>'
        '<img src="c.svg"><script src="https://example.org/d.js"></script>'
    )
    assert len(list(browse.faults(tmp_path))) == 5


@pytest.fixture(scope="module")
def driver():
    """A browser; skips where there is none."""
    if packages := browse.missing():
        pytest.skip(f"no browser: apt-get install {packages}")
    pytest.importorskip("selenium")
    with browse.browser() as made:
        yield made


@pytest.mark.regress
@pytest.mark.parametrize(
    "page",
    [
        "index.html",
        "tutorial/index.html",
        "accuracy.html",
        "area.html",
        "api/pal_units.html",
        "units/DotUnit.html",
    ],
)
def test_a_page_is_shown_from_its_file(site, driver, page):
    assert browse.seen(driver, site / page) == []
    assert driver.title
    if page in ("accuracy.html", "area.html"):
        assert driver.execute_script("return document.images.length") > 1


@pytest.mark.regress
@pytest.mark.parametrize(
    ("page", "words", "goal"),
    [("index.html", "reblock unit", "reblock"), ("units/Adder.html", "tensor bias", "tensor bias")],
)
def test_the_search_finds_pages_from_files(site, driver, page, words, goal):
    assert browse.seen(driver, site / page) == []
    titles = browse.search(driver, words)
    assert titles
    assert driver.current_url.startswith(site.as_uri())
    assert goal in driver.page_source.lower()
    assert driver.get_log("browser") == []


@pytest.mark.regress
def test_a_missing_picture_and_a_dead_script_are_seen(tmp_path, driver):
    page = tmp_path / "a.html"
    page.write_text('<img src="c.svg"><script src="https://example.org/d.js"></script>')
    assert len(browse.seen(driver, page)) >= 3
