"""``spu perf gemm``: times and energies of the matrix products in a CSV file."""

import csv
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from perf.gemm import predict
from perf.stacks import stack
from spu.command.common import BadInput, remark

#: Columns that are read, and those that are added.
SIZES, ADDED = ("m", "n", "k"), ("us", "joules")
#: Largest side of a product, that of libraries with signed 32-bit sizes.
LARGEST = 2**31 - 1


def gemm(
    chip: Annotated[str, typer.Option(help="Device, such as h100.")],
    dtype: Annotated[str, typer.Option(help="Format of the operands, such as bfloat16 or fp8.")],
    table: Annotated[
        Path, typer.Option("--csv", help="Products m x k by k x n: columns m, n, k; others stay.")
    ],
    framework: Annotated[
        str | None,
        typer.Option(
            help="Software stack.", show_default="the first of perf/stacks.toml for chip and format"
        ),
    ] = None,
) -> None:
    """Predict microseconds and joules of matrix products on a GPU, as CSV.

    The rows are those of the file with the columns us and joules, which replace columns of the
    file that have these names.  A note says how many have sides beyond those that the constants
    were fitted on.

    Example: spu perf gemm --chip h100 --dtype bfloat16 --csv products.csv
    """
    measured = stack(chip, dtype, framework)
    header, rows = read(table)
    sizes = np.array([[row[header.index(name)] for name in SIZES] for row in rows], float)
    sides = sizes.reshape(-1, 3).T
    found = predict(measured, *sides)
    kept = [place for place, name in enumerate(header) if name not in ADDED]
    if beyond := int(measured.beyond(*sides).sum()):
        ranges = zip(SIZES, measured.ranges, strict=True)
        known = ", ".join(f"{name} {low} to {high}" for name, (low, high) in ranges)
        remark(f"{beyond} of {len(rows)} products have sides beyond those fitted: {known}")
    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow([*(header[place] for place in kept), *ADDED])
    for row, seconds, joules in zip(rows, found.seconds, found.joules, strict=True):
        out.writerow([*(row[place] for place in kept), f"{seconds * 1e6:.3f}", f"{joules:.6g}"])


def read(path: Path) -> tuple[list[str], list[list[str]]]:
    """Names of the columns, and rows whose sizes are whole numbers from 1 to ``LARGEST``.

    Raises ``BadInput`` with the number of the line for a row that is not such, or for a column that
    is missing or there twice; ``OSError``.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as lines:
            return _read(path, csv.reader(lines, strict=True))
    except UnicodeDecodeError:
        raise BadInput(f"{path}: not a text in UTF-8") from None


def _read(path: Path, reader: Any) -> tuple[list[str], list[list[str]]]:
    rows = _rows(path, reader)
    _, header = next(rows, (0, []))
    header = [name.strip() for name in header]
    if missing := [name for name in SIZES if name not in header]:
        raise BadInput(f"{path}: has no column {missing[0]}; it needs m, n and k in its first line")
    if twice := [name for name in (*SIZES, *ADDED) if header.count(name) > 1]:
        raise BadInput(f"{path}: has the column {twice[0]} twice")
    places = {name: header.index(name) for name in SIZES}
    found = []
    for line, row in rows:
        if len(row) != len(header):
            raise BadInput(f"{path}, line {line}: has {len(row)} fields, not {len(header)}")
        for name, place in places.items():
            if not _is_size(row[place]):
                raise BadInput(
                    f"{path}, line {line}: {name} must be a whole number from 1 to {LARGEST}, "
                    f"not {row[place][:40]!r}"
                )
        found.append(row)
    return header, found


def _rows(path: Path, reader: Any) -> Iterator[tuple[int, list[str]]]:
    """Rows with the numbers of their lines; empty lines are none."""
    try:
        for row in reader:
            if row:
                yield reader.line_num, row
    except csv.Error as error:
        raise BadInput(f"{path}, line {reader.line_num}: {error}") from None


def _is_size(text: str) -> bool:
    text = text.strip()
    return text.isascii() and text.isdigit() and len(text) <= 10 and 1 <= int(text) <= LARGEST
