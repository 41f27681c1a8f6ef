"""Events of MkDocs: the navigation, pages and files from outside ``docs/``, and their links."""

from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

from verif.site.links import for_site, linked_files
from verif.site.pages import ROOT, in_checkout, in_site, pages, sections, text

#: Stands in for workers, which browsers refuse to pages that are opened as files.
WORKER = "assets/iframe-worker.js"


def on_config(config: Any) -> Any:
    """The navigation, and the script that the search needs without a server."""
    config.nav = [{section: [in_site(page) for page in names]}
                  for section, names in sections().items()]
    config.extra["polyfills"] = [WORKER]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add pages and files that lie outside ``docs/``."""
    for page in pages():
        if files.get_file_from_path(in_site(page)) is None:
            files.append(File.generated(config, in_site(page), content=text(page)))
    for path in linked_files():
        files.append(File.generated(config, path, abs_src_path=str(ROOT / path)))
    script = Path(__file__).with_name("worker.js")
    files.append(File.generated(config, WORKER, abs_src_path=str(script)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links lead to where the site has the files."""
    return for_site(in_checkout(page.file.src_uri), markdown)
