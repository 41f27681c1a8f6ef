"""Predicted energies of large products on GPUs beside watts times seconds, of pairs (n, k) that no
constant saw."""

from typing import Any

import numpy as np

from perf.gemm import predict
from perf.stacks import stack
from verif.studies.perf import measured
from verif.studies.perf.fit import LARGE, SHAPES, joules_error, large


def rows() -> list[dict[str, Any]]:
    """A row for each system whose watts were measured: median picojoules of an operation, predicted
    and measured, of the products that are ``large`` and of the half that nothing was fitted on, and
    the median error of one product in percent.  None without the measurements."""
    if not (file := measured.path()):
        return []
    data = measured.read(file)
    found = []
    for system in SHAPES:
        products = large(data[system][data[system].fold(2) == 1])
        if not len(products):
            continue
        fitted = stack(system[0], system[2], system[1])
        operations = 2 * products.m * products.n * products.k
        joules = predict(fitted, products.m, products.n, products.k).joules
        given = products.watts * products.us * 1e-6
        found.append(
            {
                "name": f"{system[0]} {system[2]}, pJ/FLOP, all sides >= {LARGE}",
                "predicted_pj": round(float(np.median(joules / operations)) * 1e12, 4),
                "measured_pj": round(float(np.median(given / operations)) * 1e12, 4),
                "points": len(products),
                "median_error": round(joules_error(fitted, products), 2),
            }
        )
    return found
