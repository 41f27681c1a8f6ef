"""Write ``build/perf.json``: every section of this folder, what its ``rows()`` returns."""

import json
from collections.abc import Iterable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from spu.arch.files import check_file, replace_file

#: Sections of the file in order; each is the module of that name.  Rows of ``equalities`` have
#: name, predicted and measured; of ``gpu`` device, dtype, points, mape and held_out; of ``energy``
#: name, predicted_pj and measured_pj; of ``anchors`` name, published and computed; ``sizing`` is
#: a mapping.
SECTIONS = ("equalities", "gpu", "energy", "anchors", "sizing")


def collect(wanted: Iterable[str] = SECTIONS) -> dict[str, Any]:
    """Rows by section, of those that have a module.  What a section raises is not caught."""
    return {
        name: import_module(f"{__package__}.{name}").rows()
        for name in wanted
        if find_spec(f"{__package__}.{name}")
    }


def main(
    out: Annotated[Path, typer.Option("--out", "-o", help="File.")] = Path("build/perf.json"),
    only: Annotated[list[str] | None, typer.Option(help="Section; several may be given.")] = None,
) -> None:
    """Collect the sections and write them as JSON."""
    if unknown := sorted(set(only or ()) - set(SECTIONS)):
        raise typer.BadParameter(f"no section {unknown[0]!r}; there are {', '.join(SECTIONS)}")
    out.parent.mkdir(parents=True, exist_ok=True)
    check_file(out)
    with Console(stderr=True).status("performance"):
        found = collect(only or SECTIONS)
    replace_file(out, lambda sink: sink.write(f"{json.dumps(found, indent=1)}\n".encode()))
    counts = ", ".join(f"{len(rows)} of {name}" for name, rows in found.items())
    print(f"{out}: {counts or 'no section'}")


if __name__ == "__main__":
    typer.run(main)
