"""Random matrix products on random systolic arrays."""

from dataclasses import dataclass

import numpy as np

from perf.systolic import Dataflow


@dataclass(frozen=True)
class Case:
    """A product (m, k) by (k, n) on an array of ``rows`` by ``columns``."""

    dataflow: Dataflow
    m: int
    n: int
    k: int
    rows: int
    columns: int


def cases(count: int, seed: int, most: int = 40, largest: int = 16) -> list[Case]:
    """Dataflows in turn, sides of products of 1 to ``most``, of arrays of 1 to ``largest``."""
    rng = np.random.default_rng(seed)
    flows = list(Dataflow)
    return [
        Case(
            flows[i % len(flows)],
            *rng.integers(1, most + 1, 3).tolist(),
            *rng.integers(1, largest + 1, 2).tolist(),
        )
        for i in range(count)
    ]
