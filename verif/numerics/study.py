"""Signal-to-quantisation-noise ratios of every format on the same data.

SQNR is None in rows where nothing is lost.  Every random array has a seed of its own, so that a
row does not depend on which others are computed.  Rotated rows are those of
``verif.baselines.rotation``, PAL's too.
"""

import os
import platform
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from importlib import metadata
from typing import TypeVar

import numpy as np

from verif.baselines.blocks import Quantiser
from verif.baselines.formats import QUANTISERS
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
#: What makes the whole study.
COMMAND = "make numerics"
#: Formats of the study unless told.
FORMATS = tuple(QUANTISERS.values())

Item = TypeVar("Item")


def _decibels(signal: Values, rounded: Values, what: str) -> float | None:
    """SQNR, None if nothing is lost; ``ValueError`` if it is no number."""
    value = sqnr_db(signal, rounded)
    if np.isnan(value):
        raise ValueError(f"{what}: the SQNR is no number")
    return value if np.isfinite(value) else None


def _on_all_cores(
    work: Callable[[Item], list[dict]], items: Sequence[Item]
) -> Iterator[tuple[Item, list[dict]]]:
    """Items in their order, each with the rows that it makes.

    Most of the work holds no lock of Python's: threads suffice.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            yield from zip(items, pool.map(work, items), strict=True)
        finally:
            pool.shutdown(cancel_futures=True)


def _distribution(
    quantiser: Quantiser,
    distribution: str,
    exact: Values,
    inputs: Sequence[tuple[Values, Values, Values]],
) -> list[dict]:
    what = f"{quantiser.name} on {distribution}"
    return [
        {
            "format": quantiser.name,
            "bits_per_element": quantiser.bits_per_element,
            "source": distribution,
            "distribution": distribution,
            "rotated": bool(is_rotated),
            "sqnr_db": _decibels(values, quantiser.round(values), what),
            "dot_sqnr_db": _decibels(exact, quantiser.dots(left, right), what),
        }
        for is_rotated, (values, left, right) in enumerate(inputs)
    ]


def distribution_rows(formats: Sequence[Quantiser], sizes: Sizes, progress: Progress) -> list[dict]:
    """A row a format and distribution, plain and rotated: SQNR of values and dot products."""
    rows = []
    for i, distribution in enumerate(DISTRIBUTIONS):
        x = data(distribution, (sizes.values // 1024, 1024), 1)
        a, b = (data(distribution, (sizes.dots, sizes.length), seed) for seed in (2, 3))
        work = partial(
            _distribution,
            distribution=distribution,
            exact=a @ b.T,
            inputs=((x, a, b), (rotate(x), rotate(a), rotate(b))),
        )
        for j, (quantiser, found) in enumerate(_on_all_cores(work, formats)):
            share = (i + (j + 1) / len(formats)) / len(DISTRIBUTIONS)
            progress(f"{distribution}: {quantiser.name}", share)
            rows += found
    return rows


def _length(quantiser: Quantiser, a: Values, b: Values, exact: Values) -> list[dict]:
    length = a.shape[1]
    what = f"{quantiser.name} at length {length}"
    return [
        {
            "format": quantiser.name,
            "distribution": "gaussian",
            "length": length,
            "dot_sqnr_db": _decibels(exact, quantiser.dots(a, b), what),
        }
    ]


def length_rows(formats: Sequence[Quantiser], sizes: Sizes, progress: Progress) -> list[dict]:
    """A row a format and length: SQNR of dot products of Gaussian data."""
    rows = []
    for i, length in enumerate(LENGTHS):
        a, b = (data("gaussian", (sizes.dots, length), seed) for seed in (4, 5))
        work = partial(_length, a=a, b=b, exact=a @ b.T)
        for quantiser, found in _on_all_cores(work, formats):
            progress(f"length {length}: {quantiser.name}", i / len(LENGTHS))
            rows += found
    return rows


def tensor_rows(
    formats: Sequence[Quantiser], found: Sequence[Tensor], progress: Progress = lambda *_: None
) -> list[dict]:
    """A row a format and tensor: SQNR of values."""

    def work(tensor: Tensor) -> list[dict]:
        return [
            {
                "format": quantiser.name,
                "bits_per_element": quantiser.bits_per_element,
                "source": tensor.source,
                "model": tensor.model,
                "kind": tensor.kind,
                "rotated": False,
                "sqnr_db": _decibels(
                    tensor.values,
                    quantiser.round(tensor.values),
                    f"{quantiser.name} on {tensor.model} {tensor.source}",
                ),
            }
            for quantiser in formats
        ]

    rows = []
    for i, (tensor, made) in enumerate(_on_all_cores(work, found)):
        progress(f"{tensor.model}: {tensor.source}", (i + 1) / len(found))
        rows += made
    return rows


def network_rows(formats: Sequence[Quantiser], progress: Progress) -> list[dict]:
    """A row a format: sentence embeddings against float32.  Raises ``MissingPackage``."""
    exact = minilm.embeddings()

    def work(quantiser: Quantiser) -> list[dict]:
        found = minilm.embeddings(quantiser.round)
        cosine = (exact * found).sum(axis=1)
        return [
            {
                "format": quantiser.name,
                "bits_per_element": quantiser.bits_per_element,
                "model": minilm.NAME,
                "embedding_sqnr_db": _decibels(exact, found, f"{quantiser.name} on {minilm.NAME}"),
                "cosine_mean": float(cosine.mean()),
                "cosine_min": float(cosine.min()),
            }
        ]

    rows = []
    for i, (quantiser, made) in enumerate(_on_all_cores(work, formats)):
        progress(f"sentence embeddings: {quantiser.name}", (i + 1) / len(formats))
        rows += made
    return rows


def study(
    formats: Sequence[Quantiser] = FORMATS,
    sizes: Sizes = SIZES,
    network: bool = True,
    progress: Progress = lambda *_: None,
) -> dict:
    """The whole study as one object that JSON holds.  Raises ``MissingPackage``, and ``ValueError``
    if a format gives no numbers."""
    # What may be missing comes first.
    found = tensors(progress) if network else []
    network_results = network_rows(formats, progress) if network else []
    return {
        "command": COMMAND,
        "versions": {
            "python": platform.python_version(),
            "numpy": metadata.version("numpy"),
            "pal-spu": metadata.version("pal-spu"),
        },
        "sizes": asdict(sizes),
        "rows": distribution_rows(formats, sizes, progress),
        "length_rows": length_rows(formats, sizes, progress),
        "tensor_rows": tensor_rows(formats, found, progress),
        "network_rows": network_results,
    }
