"""The loops of ``kernels`` by numpy, where numba is not installed: the same arguments and bits.

Each decides and rounds in the order of the loop that it stands for.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pal_units.model.codec import BIAS_MAX

#: Elements of work that are done at a time, so that temporary arrays stay in the caches.
AT_ONCE = 1 << 17


def compiled(function: Callable | None = None, **options: Any) -> Any:
    """As a decorator, the numpy form of a function of ``kernels``; others stay as they are."""
    if function is None:
        return lambda f: compiled(f, **options)
    return _forms().get((function.__module__, function.__name__), function)


def code_directory(sources: tuple[Path, ...]) -> None:
    """There is no machine code to keep."""


def in_pieces(kernel: Callable[..., object], count: int, work: int, *arguments: Any) -> None:
    """``kernel(start, stop, *arguments)`` for ranges that make up ``range(count)``."""
    each = max(1, count * AT_ONCE // max(work, 1))
    for start in range(0, count, each):
        kernel(start, min(start + each, count), *arguments)


@cache
def _forms() -> dict[tuple[str, str], Callable]:
    forms = (biases, codes, choose, codes_of_books, accumulate, accumulate_logs)
    return {("pal_units.kernels", form.__name__): form for form in forms}


def _nearest(a: NDArray[np.float64], levels: NDArray[np.float64]) -> NDArray[np.int64]:
    """Index of the level nearest to ``a >= 0``, ties to even, saturating."""
    above = np.clip(np.searchsorted(levels, a), 1, len(levels) - 1)
    up, down = levels[above] - a, a - levels[above - 1]
    return np.where((up < down) | ((up == down) & (above % 2 == 0)), above, above - 1)


def _scaled(
    v: NDArray[np.float64], eighth: NDArray[np.float64], octaves: NDArray[np.int64]
) -> NDArray[np.float64]:
    """``v * 2^octaves * eighth``, by two powers around it that neither over- nor underflow."""
    octaves = np.clip(octaves, -2044, 2044)
    half = octaves // 2
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        return v * np.ldexp(1.0, half) * eighth * np.ldexp(1.0, octaves - half)


def biases(start, stop, x, block, levels, index, shift, eighths, candidates, bias, kind):
    """See ``kernels.biases``."""
    blocks = x[start:stop].astype(np.float64).reshape(stop - start, -1, block)
    nan = np.isnan(blocks)
    amax = np.where(nan, 0.0, np.abs(blocks)).max(axis=2, initial=0.0)
    nan, infinite = nan.any(axis=2), np.isinf(amax)
    # As numbered in ``kernels``.
    kind[start:stop] = np.where(
        amax == 0, np.where(nan, 1, 0), np.where(infinite, 4, np.where(nan, 3, 2))
    )
    sized = (amax > 0) & ~infinite
    bias[start:stop] = 0
    if not sized.any():
        return
    rows, most = blocks[sized], amax[sized]
    if not len(candidates):
        mantissa, exponent = np.frexp(most)
        found = 8 * (exponent.astype(np.int64) - 1) + np.searchsorted(eighths, 2 * mantissa)
    else:
        nearest = np.floor(8 * np.log2(most) + 0.5).astype(np.int64)
        best, found = np.full(len(rows), np.inf), np.zeros(len(rows), np.int64)
        for step in candidates:
            tried = -(nearest + step)
            a = np.abs(_scaled(rows, eighths[tried % 8][:, None], (tried // 8)[:, None]))
            with np.errstate(over="ignore", invalid="ignore"):
                difference = np.where(np.isnan(a), 0.0, levels[_nearest(a, levels)] - a)
                error = np.add.accumulate(difference * difference, axis=1)[:, -1]
                error = error * (eighths[2 * step % 8] * np.ldexp(1.0, int(2 * step // 8)))
            better = (nearest + step <= BIAS_MAX) & (error < best)
            best, found = np.where(better, error, best), np.where(better, nearest + step, found)
    part = bias[start:stop]
    part[sized] = found


def codes(start, stop, x, bias, block, levels, index, shift, eighths, sign_bit, out):
    """See ``kernels.codes``."""
    v = x[start:stop].astype(np.float64)
    down = -np.repeat(bias[start:stop].astype(np.int64), block, axis=1)
    nan = np.isnan(v)
    m = _nearest(np.abs(_scaled(np.where(nan, 0.0, v), eighths[down % 8], down // 8)), levels)
    out[start:stop] = np.where(nan, sign_bit, np.where((v < 0) & (m > 0), m | sign_bit, m))


def _places(v: NDArray[np.float64], levels: NDArray[np.float64]) -> tuple[NDArray, NDArray]:
    """Places of the nearest levels: below or at a tie, above or the same."""
    v = np.clip(v, levels[0], levels[-1])  # far outside all distances are equal
    high = np.clip(np.searchsorted(levels, v, side="right"), 1, len(levels) - 1)
    down, up = np.abs(v - levels[high - 1]), np.abs(levels[high] - v)
    return np.where(up < down, high, high - 1), np.where(up <= down, high, high - 1)


def choose(
    start,
    stop,
    x,
    tensor,
    nearest,
    block,
    levels,
    index,
    shift,
    steps,
    low,
    high,
    eighths,
    selector,
    code,
):
    """See ``kernels.choose``."""
    blocks = x[start:stop].astype(np.float64).reshape(-1, block)
    top, near = (v[start:stop].reshape(-1).astype(np.int64) for v in (tensor, nearest))
    at = (top - near)[:, None] - steps
    last_code = len(steps) - 1
    first = np.minimum((at > high).sum(axis=1), last_code)
    last = np.maximum((at >= low).sum(axis=1) - 1, first)
    best = np.full(len(blocks), np.inf)
    chosen = np.stack([np.zeros_like(first), first])
    for c in range(len(steps)):
        some = np.flatnonzero((first <= c) & (c <= last))
        if not len(some):
            continue
        bias = top[some] - steps[c]
        a = _scaled(blocks[some], eighths[-bias % 8][:, None], (-bias // 8)[:, None])
        step = np.clip(bias - near[some], low, high)
        weight = eighths[2 * step % 8] * np.ldexp(1.0, (2 * step // 8).astype(np.int32))
        for s in range(len(levels)):
            with np.errstate(over="ignore", invalid="ignore"):
                difference = np.where(np.isnan(a), 0.0, levels[s][_places(a, levels[s])[0]] - a)
                error = np.add.accumulate(difference * difference, axis=1)[:, -1] * weight
            better = error < best[some]
            best[some[better]] = error[better]
            chosen[:, some[better]] = [[s], [c]]
    selector[start:stop] = chosen[0].reshape(stop - start, -1)
    code[start:stop] = chosen[1].reshape(stop - start, -1)


def codes_of_books(
    start, stop, x, bias, selector, block, levels, index, shift, order, eighths, nan, out
):
    """See ``kernels.codes_of_books``."""
    v = x[start:stop].astype(np.float64).reshape(-1, block)
    down = -bias[start:stop].reshape(-1).astype(np.int64)
    books = selector[start:stop].reshape(-1)
    no_number = np.isnan(v)
    a = _scaled(np.where(no_number, 0.0, v), eighths[down % 8][:, None], (down // 8)[:, None])
    found = np.zeros(v.shape, np.int64)
    for s in range(len(levels)):
        some = books == s
        below, above = _places(a[some], levels[s])
        found[some] = order[s][np.where(order[s][below] % 2, above, below)]
    out[start:stop] = np.where(no_number, nan, found).reshape(stop - start, -1)


def accumulate(
    start, stop, a, beta_a, b, beta_b, products, block, guard_bits, zero_block, sums, out
):
    """See ``kernels.accumulate``."""
    eighths, codes_a, codes_b = products.shape
    flat = products.ravel()
    out[start:stop] = 0
    for number in range(beta_a.shape[1]):
        left, right = beta_a[start:stop, number].astype(np.int64), beta_b[number]
        down = -np.minimum(left[:, None] + right, 0)
        table = down % eighths * (codes_a * codes_b)
        total = np.zeros(down.shape, sums.dtype)
        for k in range(number * block, min((number + 1) * block, a.shape[1])):
            total += flat[table + a[start:stop, k, None].astype(np.int64) * codes_b + b[k]]
        term = (total.astype(np.int64) << guard_bits) >> (down // eighths)
        out[start:stop] += np.where((left[:, None] != zero_block) & (right != zero_block), term, 0)


def accumulate_logs(
    start,
    stop,
    a,
    sign_a,
    octaves_a,
    b,
    sign_b,
    octaves_b,
    magnitudes,
    block,
    guard_bits,
    sums,
    out,
):
    """See ``kernels.accumulate_logs``."""
    out[start:stop] = 0
    for number in range(octaves_a.shape[1]):
        octaves = octaves_a[start:stop, number, None].astype(np.int64) + octaves_b[number]
        total = np.zeros(octaves.shape, sums.dtype)
        for k in range(number * block, min((number + 1) * block, a.shape[1])):
            product = magnitudes[a[start:stop, k, None].astype(np.int64) + b[k]]
            total += product * sign_b[k] * sign_a[start:stop, k, None]
        out[start:stop] += (total.astype(np.int64) << guard_bits) >> octaves
