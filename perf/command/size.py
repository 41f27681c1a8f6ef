"""``spu size``."""

import json
import math
from pathlib import Path
from typing import Annotated

import typer

from perf import constants
from perf.llm.decoder import decoder, decoders
from perf.sizing.chips import CHIPS, ChipError
from perf.sizing.report import LIMITS, as_json, page, sections
from perf.sizing.study import study
from spu.arch.files import check_file, replace_files
from spu.command.common import check_kept, working
from spu.command.tables import show, table


def size(
    queries: Annotated[float, typer.Option(help="Queries a day.")] = 1e10,
    model: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            autocompletion=lambda: list(decoders()),
            help=f"Decoder: {', '.join(decoders())}.",
        ),
    ] = "epoch-100b",
    megawatts: Annotated[float, typer.Option(help="Power of the hall of ZFLOP/s.")] = 200.0,
    drivers_of: Annotated[
        str, typer.Option(metavar="CHIP", help=f"Whose drivers: {', '.join(CHIPS)}.")
    ] = "spu-pal8",
    samples: Annotated[int, typer.Option(help="Samples of the intervals.")] = 2000,
    seed: Annotated[int, typer.Option(min=0, help="Of the samples.")] = 1,
    constants_file: Annotated[
        Path | None,
        typer.Option("--constants", help="TOML file of constants in place of the project's."),
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page, to be read offline.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures.")] = None,
) -> None:
    """Say what a service of language models takes: machines, megawatts, money, with intervals.

    Example: spu size --queries 1e10 --html size.html
    """
    if drivers_of not in CHIPS:
        raise ChipError(f"--drivers-of {drivers_of}: there are {', '.join(CHIPS)}")
    shape = decoder(model)
    known = constants.merge(constants_file) if constants_file else constants.read()
    written = [path for path in (html, json_file) if path]
    if len({path.resolve() for path in written}) < len(written):
        raise ChipError(f"--html and --json are both {html}")
    if 1e15 <= queries < math.inf:
        raise ChipError(f"--queries {queries:g}: must be below 1e15")
    for path in written:
        check_file(path)
    check_kept(written, [constants_file])
    with working("sampling"):
        found = study(known, shape, queries, megawatts, samples, seed, drivers_of)
    texts = {html: page(found), json_file: f"{json.dumps(as_json(found), indent=1)}\n"}
    replace_files(
        {
            path: (lambda sink, text=text: sink.write(text.encode()))  # type: ignore[misc]
            for path, text in texts.items()
            if path
        }
    )
    for line in LIMITS:
        show(f"* {line}")
    for each in sections(found):
        show(table(each.title, each.head, each.rows), *([each.remark] if each.remark else []))
