"""Pages of the site: those of ``docs/`` and some that lie beside the code.

Paths are those of the checkout.  The site has what is in ``docs/`` at its top, and other files
where they lie in the checkout.  The navigation is written here and not in ``mkdocs.yml``, so that
tests read it without MkDocs.
"""

from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parents[2]
#: Sections with their pages in order; a name that ends with a slash is all pages of a folder.
SECTIONS = {
    "Overview": (
        "README.md",
        "docs/install.md",
        "docs/commands.md",
        "docs/architecture.md",
        "examples/README.md",
        "docs/glossary.md",
        "docs/beside.md",
    ),
    "Tutorial": ("docs/tutorial/",),
    "How to": ("docs/howto/",),
    "Numbers": (
        "docs/numerics.md",
        "docs/accuracy.md",
        "docs/area.md",
        "docs/area_processes.md",
        "pal_units/README.md",
    ),
    "Units": ("docs/units/",),
    "Array": ("docs/array.md", "docs/chip.md", "docs/reference.md", "docs/performance.md"),
    "Performance": ("docs/perf.md", "docs/perf_spu.md", "docs/sizing.md"),
    "Components": ("docs/array/",),
    "Compiler": (
        "docs/compiler.md",
        "docs/models.md",
        "docs/operators.md",
        "docs/onnx.md",
        "docs/zoo.md",
        "docs/mapping.md",
    ),
    "Runtime": ("docs/runtime.md",),
    "Library": (
        "docs/api/README.md",
        "docs/api/pal_units.md",
        "docs/api/arch.md",
        "docs/api/compiler.md",
        "docs/api/engine.md",
    ),
    "Decisions": ("docs/decisions/",),
    "Project": ("CONTRIBUTING.md", "docs/verification.md", "docs/releases.md", "CHANGELOG.md"),
}


def folder(name: str) -> list[str]:
    """Pages of a folder, its README first: one that it lacks is made by ``listing``."""
    found = {f"{name}README.md"} | {str(p.relative_to(ROOT)) for p in (ROOT / name).glob("*.md")}
    return sorted(found, key=lambda path: (not path.endswith("README.md"), path.lower()))


def sections() -> dict[str, list[str]]:
    """``SECTIONS`` with folders as their pages."""
    return {
        section: [
            page for name in names for page in (folder(name) if name.endswith("/") else [name])
        ]
        for section, names in SECTIONS.items()
    }


def pages() -> list[str]:
    """All pages of the navigation."""
    return [page for names in sections().values() for page in names]


def text(page: str) -> str:
    """A page's Markdown."""
    path = ROOT / page
    return path.read_text() if path.exists() else listing(page)


def listing(page: str) -> str:
    """A README for a folder of pages that has none: their titles."""
    parent = str(PurePosixPath(page).parent)
    items = [
        f"* [{(ROOT / p).read_text().splitlines()[0].removeprefix('# ')}]({PurePosixPath(p).name})"
        for p in folder(f"{parent}/")
        if p != page
    ]
    return f"# {PurePosixPath(parent).name.capitalize()}\n\n" + "\n".join(items) + "\n"


def in_site(path: str) -> str:
    """Where a file of the checkout is in the site."""
    return path.removeprefix("docs/")


def in_checkout(path: str) -> str:
    """Where a page of the site is in the checkout."""
    return path if path in pages() else f"docs/{path}"
