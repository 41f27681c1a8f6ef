"""Events of MkDocs: the navigation, pages and files from outside ``docs/``, and their links."""

from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

from verif.site.links import for_site, linked_files
from verif.site.pages import ROOT, in_checkout, in_site, pages, sections, text

#: Stands in for workers, which browsers refuse to pages that are opened as files.  The offline
#: plugin knows it by this name, and then takes none from the network.
WORKER = "assets/iframe-worker.js"
STYLE = "assets/site.css"
#: Files of this folder by their place in the site.
OWN = {WORKER: "worker.js", STYLE: "site.css"}


def on_config(config: Any) -> Any:
    """The navigation, the script that the search needs without a server, and the style."""
    config.nav = [
        {section: [in_site(page) for page in names]} for section, names in sections().items()
    ]
    config.extra["polyfills"] = [WORKER]
    config.extra_css = [STYLE]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add pages and files that lie outside ``docs/``."""
    for page in pages():
        if files.get_file_from_path(in_site(page)) is None:
            files.append(File.generated(config, in_site(page), content=text(page)))
    for path in linked_files():
        files.append(File.generated(config, path, abs_src_path=str(ROOT / path)))
    for place, name in OWN.items():
        source = Path(__file__).with_name(name)
        files.append(File.generated(config, place, abs_src_path=str(source)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links lead to where the site has the files."""
    return for_site(in_checkout(page.file.src_uri), markdown)
