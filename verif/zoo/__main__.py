"""``make zoo``: the models of the zoo, judged and compared with the figures that are expected."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from spu.arch.errors import UserError
from spu.arch.files import replace_file
from spu.arch.params import CONFIGS
from spu.command.common import EXIT_BAD_INPUT, EXIT_FAILED, fail, say, working
from spu.command.extras import MissingPackage, require
from spu.command.tables import show, table
from verif.pages.stamps import ZOO_FIGURES
from verif.zoo.entry import Entry
from verif.zoo.expected import EXPECTED, faults
from verif.zoo.judge import Row, judge
from verif.zoo.report import HEAD, cells, write

RESULTS = Path("build/zoo.json")


def main(
    only: Annotated[
        list[str] | None, typer.Option(help="A model by its name, as often as needed.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep rows that the sources of now have made.")
    ] = False,
    bless: Annotated[
        bool, typer.Option("--bless", help="What is found is expected from now on: docs/zoo.json.")
    ] = False,
) -> None:
    """Judge the models, one after another; rows are in build/zoo.json after each.

    Exit code 1 if the golden engine is not as predicted, or figures fell below what is expected.
    """
    require("onnxruntime")
    from verif.zoo.models import MODELS

    chosen = _chosen(MODELS, only)
    sources = ZOO_FIGURES.sources()
    before = _rows(RESULTS)
    kept = {
        name: row
        for name, row in before.items()
        if name in {m.name for m in MODELS} and (only or resume) and row["sources"] == sources
    }
    done = {name: row for name, row in kept.items() if resume or name not in chosen}
    wrong: list[str] = []
    for i, name in enumerate(chosen):
        if name in done:
            continue
        try:
            with working(f"{name} ({i + 1} of {len(chosen)})") as note:
                row = judge(chosen[name], CONFIGS["basic"], note)
        except MissingPackage:
            raise
        except Exception as error:  # a fault of this project, which the other models do not share
            wrong.append(f"{name}: {type(error).__name__}: {error}")
            say(wrong[-1], EXIT_FAILED)
            continue
        done[name] = row | {"sources": sources}
        order = [m.name for m in MODELS if m.name in done]
        _save(RESULTS, [done[each] for each in order])
        show(" | ".join(cells(row)))
    found = [done[name] for name in chosen if name in done]
    show(table("models of the zoo on basic", HEAD, map(cells, found)))
    if bless:
        write(_merged(found))
    for row in found:
        for line in faults(row, _rows(EXPECTED).get(row["model"])):
            wrong.append(line)
            say(line, EXIT_FAILED)
    if wrong:
        raise typer.Exit(EXIT_FAILED)


def _chosen(models: tuple[Entry, ...], only: list[str] | None) -> dict[str, Entry]:
    known = {model.name: model for model in models}
    for name in only or ():
        if name not in known:
            fail(
                f"--only {name}: no model of the zoo; there are {', '.join(known)}", EXIT_BAD_INPUT
            )
    return {name: known[name] for name in only} if only else known


def _rows(path: Path) -> dict[str, Row]:
    """Rows of a file by model; none if there is no file."""
    if not path.exists():
        return {}
    try:
        return {row["model"]: row for row in json.loads(path.read_text())}
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"{path}: is not of make zoo: {error}") from None


def _merged(found: list[Row]) -> list[Row]:
    """Expected rows with what was found in place of the same models, in the order of the table."""
    from verif.zoo.models import MODELS

    rows = _rows(EXPECTED) | {row["model"]: row for row in found}
    return [rows[model.name] for model in MODELS if model.name in rows]


def _save(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(exist_ok=True)
    replace_file(path, lambda sink: sink.write((json.dumps(rows, indent=1) + "\n").encode()))


if __name__ == "__main__":
    try:
        typer.run(main)
    except UserError as error:
        raise SystemExit(say(str(error), EXIT_BAD_INPUT)) from None
