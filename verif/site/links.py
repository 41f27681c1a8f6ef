"""Links of the pages: found in Markdown, followed in the checkout, and written for the site."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import PurePosixPath

from verif.site.pages import ROOT, in_site, pages, text

#: What is no text: blocks between fences, code in a line, comments.
_CODE = re.compile(r"^```.*?^```$|``.+?``|`[^`\n]+`|<!--.*?-->", re.M | re.S)
_LINK = re.compile(r"(!?)\[(?:[^\[\]]|\[[^\[\]]*\])*\]\(([^()\s]+)\)")
_SCHEME = re.compile(r"[a-z]+:")
_HEADING = re.compile(r"^#+ +(.*)$", re.M)


@dataclass(frozen=True)
class Link:
    """A link of a page, or a ``picture``; ``start`` and ``end`` are where its target stands."""

    target: str
    picture: bool
    start: int
    end: int

    @property
    def inside(self) -> bool:
        """Whether it leads to a file of the checkout, or within its page."""
        return not _SCHEME.match(self.target)


def _without_code(markdown: str) -> str:
    """The same number of characters, with blanks for code."""
    return _CODE.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), markdown)


def links(markdown: str) -> Iterator[Link]:
    """Links and pictures of a page in Markdown."""
    for found in _LINK.finditer(_without_code(markdown)):
        yield Link(markdown[found.start(2) : found.end(2)], bool(found[1]), *found.span(2))


def slug(heading: str) -> str:
    """The anchor that MkDocs gives a heading."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading.replace("`", ""))
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", plain).strip().lower())


@cache
def anchors(page: str) -> frozenset[str]:
    """Anchors of a page."""
    markdown = re.sub(r"^```.*?^```$", "", text(page), flags=re.M | re.S)
    return frozenset(slug(found[1]) for found in _HEADING.finditer(markdown))


def followed(page: str, link: Link) -> tuple[str, str]:
    """File of the checkout and anchor that a link of a page leads to; of a folder its README."""
    target, _, anchor = link.target.partition("#")
    if not target:
        return page, anchor
    path = os.path.normpath(PurePosixPath(page).parent / target)
    return (f"{path}/README.md" if (ROOT / path).is_dir() else path), anchor


def faults(page: str, markdown: str) -> Iterator[str]:
    """What is wrong with links and pictures of a page."""
    for link in links(markdown):
        if not link.inside:
            if link.picture:
                yield f"{page}: the picture {link.target} needs the network"
            continue
        path, anchor = followed(page, link)
        if path not in pages() and not (ROOT / path).is_file():
            yield f"{page}: {link.target} is not there"
        elif path.endswith(".md") and path not in pages():
            yield f"{page}: {link.target} is no page of the site"
        elif anchor and anchor not in anchors(path):
            yield f"{page}: {link.target}: {path} has no such heading"


def for_site(page: str, markdown: str) -> str:
    """A page whose links lead to where the site has the files."""
    parts, end = [], 0
    for link in links(markdown):
        if link.inside and not link.target.startswith("#"):
            path, anchor = followed(page, link)
            target = os.path.relpath(in_site(path), PurePosixPath(in_site(page)).parent)
            parts += [markdown[end : link.start], f"{target}#{anchor}" if anchor else target]
            end = link.end
    return "".join(parts) + markdown[end:]


def linked_files() -> set[str]:
    """Files outside ``docs/`` that pages link to and that are no pages themselves."""
    found = {
        followed(page, link)[0] for page in pages() for link in links(text(page)) if link.inside
    }
    return {path for path in found if not path.startswith("docs/") and path not in pages()}
