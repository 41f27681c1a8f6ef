"""Signal-to-quantisation-noise ratios of every format on the same data.

SQNR is None in rows where nothing is lost.  Every random array has a seed of its own, so that a
row does not depend on which others are computed.  Rotated rows are those of
``verif.baselines.rotation``, PAL's too.
"""

import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib import metadata

import numpy as np

from pal_units import encode, matmul
from verif.baselines.formats import PAL_ROWS, QUANTISERS
from verif.baselines.rotation import rotate
from verif.numerics import minilm
from verif.numerics.distributions import DISTRIBUTIONS, Sizes, Values, data, sqnr_db
from verif.numerics.tensors import Tensor, tensors

#: Called with what is done and the share of it, 0 to 1.
Progress = Callable[[str, float], None]
#: Lengths of the dot products of the error curve.
LENGTHS = (64, 128, 512, 2048, 4096)
#: How much data the study has unless told.
SIZES = Sizes()


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def dots(name: str, x: Values, w: Values) -> Values:
    """Dot products of the rows of ``x`` and ``w``.

    PAL sums as its hardware does, with rounded products; peers get exact sums of their
    rounded values, which flatters them.
    """
    if name in PAL_ROWS:
        return matmul(encode(x, PAL_ROWS[name]), encode(w.T, PAL_ROWS[name], axis=0))
    return QUANTISERS[name].round(x) @ QUANTISERS[name].round(w).T


def distribution_rows(names: Sequence[str], sizes: Sizes, progress: Progress) -> list[dict]:
    """A row a format and distribution, plain and rotated: SQNR of values and dot products."""
    rows = []
    for i, distribution in enumerate(DISTRIBUTIONS):
        x = data(distribution, (sizes.values // 1024, 1024), 1)
        a, b = (data(distribution, (sizes.dots, sizes.length), seed) for seed in (2, 3))
        exact = a @ b.T
        turned = rotate(x), rotate(a), rotate(b)
        for j, name in enumerate(names):
            progress(f"{distribution}: {name}", (i + j / len(names)) / len(DISTRIBUTIONS))
            quantiser = QUANTISERS[name]
            for is_rotated, (values, left, right) in enumerate(((x, a, b), turned)):
                rows.append(
                    {
                        "format": name,
                        "bits_per_element": quantiser.bits_per_element,
                        "source": distribution,
                        "distribution": distribution,
                        "rotated": bool(is_rotated),
                        "sqnr_db": _finite(sqnr_db(values, quantiser.round(values))),
                        "dot_sqnr_db": _finite(sqnr_db(exact, dots(name, left, right))),
                    }
                )
    return rows


def length_rows(names: Sequence[str], sizes: Sizes, progress: Progress) -> list[dict]:
    """A row a format and length: SQNR of dot products of Gaussian data."""
    rows = []
    for i, length in enumerate(LENGTHS):
        a, b = (data("gaussian", (sizes.dots, length), seed) for seed in (4, 5))
        exact = a @ b.T
        for j, name in enumerate(names):
            progress(f"length {length}: {name}", (i + j / len(names)) / len(LENGTHS))
            rows.append(
                {
                    "format": name,
                    "distribution": "gaussian",
                    "length": length,
                    "dot_sqnr_db": sqnr_db(exact, dots(name, a, b)),
                }
            )
    return rows


def tensor_rows(
    names: Sequence[str], found: Sequence[Tensor], progress: Progress = lambda *_: None
) -> list[dict]:
    """A row a format and tensor: SQNR of values."""
    rows = []
    for i, tensor in enumerate(found):
        progress(f"{tensor.model}: {tensor.source}", i / len(found))
        for name in names:
            quantiser = QUANTISERS[name]
            rows.append(
                {
                    "format": name,
                    "bits_per_element": quantiser.bits_per_element,
                    "source": tensor.source,
                    "model": tensor.model,
                    "kind": tensor.kind,
                    "rotated": False,
                    "sqnr_db": _finite(sqnr_db(tensor.values, quantiser.round(tensor.values))),
                }
            )
    return rows


def network_rows(names: Sequence[str], progress: Progress) -> list[dict]:
    """A row a format: sentence embeddings against float32.  Raises ``MissingPackage``."""
    exact = minilm.embeddings()
    rows = []
    for i, name in enumerate(names):
        progress(f"sentence embeddings: {name}", i / len(names))
        quantiser = QUANTISERS[name]
        found = minilm.embeddings(quantiser.round)
        cosine = (exact * found).sum(axis=1)
        rows.append(
            {
                "format": name,
                "bits_per_element": quantiser.bits_per_element,
                "model": minilm.NAME,
                "embedding_sqnr_db": sqnr_db(exact, found),
                "cosine_mean": float(cosine.mean()),
                "cosine_min": float(cosine.min()),
            }
        )
    return rows


def study(
    names: Sequence[str] = tuple(QUANTISERS),
    sizes: Sizes = SIZES,
    network: bool = True,
    progress: Progress = lambda *_: None,
) -> dict:
    """The whole study as one object that JSON holds.  Raises ``MissingPackage``."""
    # What may be missing comes first.
    found = tensors(progress) if network else []
    network_results = network_rows(names, progress) if network else []
    return {
        "command": "make numerics",
        "versions": {
            "python": platform.python_version(),
            "numpy": metadata.version("numpy"),
            "pal-spu": metadata.version("pal-spu"),
        },
        "sizes": asdict(sizes),
        "rows": distribution_rows(names, sizes, progress),
        "length_rows": length_rows(names, sizes, progress),
        "tensor_rows": tensor_rows(names, found, progress),
        "network_rows": network_results,
    }
