"""Measured matrix products of GPUs, which lie beside the project and not in it.

A CSV, plain or ``.gz``, with the columns device, framework, dtype, m, n, k, us and, on some rows,
W: NVIDIA's aiconfigurator (ai-dynamo/aiconfigurator, Apache-2.0) publishes such measurements.  The
file is that of the variable ``SPU_PERF_DATA``.
"""

import csv
import gzip
import os
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spu.arch.errors import UserError

VARIABLE = "SPU_PERF_DATA"
#: Seed of the halves.
SEED = 0
System = tuple[str, str, str]


@dataclass(frozen=True)
class Products:
    """Products of one system: sizes, microseconds, and watts (NaN where there are none), each of
    shape (products,)."""

    m: NDArray[np.float64]
    n: NDArray[np.float64]
    k: NDArray[np.float64]
    us: NDArray[np.float64]
    watts: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.us)

    def __getitem__(self, rows: NDArray) -> "Products":
        return Products(self.m[rows], self.n[rows], self.k[rows], self.us[rows], self.watts[rows])

    def fold(self, folds: int) -> NDArray[np.int64]:
        """Fold of each product, 0 to ``folds`` - 1.  All products of a pair (n, k) are in one, the
        pairs are dealt out in an order that ``SEED`` shuffles."""
        pairs, of = np.unique(np.stack([self.n, self.k]), axis=1, return_inverse=True)
        order = np.random.default_rng(SEED).permutation(pairs.shape[1])
        return (np.argsort(order) % folds)[of.reshape(-1)]

    def pairs(self) -> int:
        """Different (n, k)."""
        return len(np.unique(np.stack([self.n, self.k]), axis=1).T)


def path() -> Path | None:
    """File of the measurements, None if no variable names it; ``UserError`` if it is not there."""
    if not (named := os.environ.get(VARIABLE)):
        return None
    if not Path(named).is_file():
        raise UserError(f"{VARIABLE}: {named} is not there")
    return Path(named)


def read(file: Path) -> dict[System, Products]:
    """Products by device (in lower case), framework and format.

    Raises ``OSError``, and ``ValueError`` with the file for a column that is missing or a row that
    is no product.
    """
    found = defaultdict(list)
    opened = gzip.open if file.suffix == ".gz" else open
    with opened(file, "rt", encoding="utf-8", newline="") as lines:
        for row in (reader := csv.DictReader(lines)):
            try:
                system = row["device"].lower(), row["framework"], row["dtype"]
                values = [float(row[name]) for name in ("m", "n", "k", "us")]
                values.append(float(row["W"] or "nan"))
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise ValueError(f"{file}, line {reader.line_num}: no product: {error}") from None
            found[system].append(values)
    return {system: Products(*np.array(rows).T) for system, rows in found.items()}
