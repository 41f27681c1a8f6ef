"""SQNR of dot products as a unit computes them, its truncations included."""

from collections.abc import Callable
from functools import cache

from verif.area.datapaths import Array, Datapath
from verif.numerics.distributions import DISTRIBUTIONS, Sizes, Values, data, sqnr_db

#: Dot products of the accuracy study's length.
SIZES = Sizes(dots=64)
#: Lanes of a slice of the larger matrix: what cuts are judged by.
LANES = 16


def dots(path: Datapath, a: Array, b: Array, lanes: int = LANES, exact: bool = True) -> Array:
    """Dot products of the rows of ``a`` and ``b``, shape ``(len(a), len(b))``.

    ``exact``: sums of a block add exactly before they are shifted, as in a matrix unit; a dot
    unit shifts each slice's.
    """
    x, w = path.encode(a), path.encode(b)
    total = path.accumulate(x, w, lanes, exact)
    lacking = path.lacking(lanes) * (a.shape[1] // lanes)
    return (total + lacking) * (path.unit * x.scale * w.scale)


def dot_sqnr_db(
    path: Datapath,
    distribution: str = "gaussian",
    lanes: int = LANES,
    exact: bool = True,
    sizes: Sizes = SIZES,
) -> float:
    """SQNR in dB of ``sizes.dots^2`` dot products of ``sizes.length`` numbers of a distribution."""
    if distribution not in DISTRIBUTIONS:
        raise ValueError(
            f"distribution must be one of {', '.join(DISTRIBUTIONS)}, not {distribution!r}"
        )
    a, b, exact_dots = _data(distribution, sizes)
    return sqnr_db(exact_dots, dots(path, a, b, lanes, exact))


def gaussian_sqnr_db(dots: Callable[[Array, Array], Array], sizes: Sizes = SIZES) -> float:
    """SQNR in dB of dot products (M, N) of rows (M, K) and (N, K) of Gaussian numbers."""
    a, b, exact = _data("gaussian", sizes)
    return sqnr_db(exact, dots(a, b))


@cache
def _data(distribution: str, sizes: Sizes) -> tuple[Values, Values, Values]:
    a, b = (data(distribution, (sizes.dots, sizes.length), seed) for seed in (2, 3))
    return a, b, a @ b.T
