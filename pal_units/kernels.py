"""Compiled loops for large arrays: encoding and exact matrix products.

The arithmetic is that of ``model``, which the tests compare them with.  The loops do the rows
from ``start`` to ``stop``, for ``compiled.in_pieces``.
"""

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

from pal_units.compiled import compiled
from pal_units.formats import Format
from pal_units.model.codec import BIAS_MAX

#: Bits of the float64 1.0.
_ONE = 1023 << 52
#: Kinds of blocks that ``biases`` reports.
EMPTY, NAN_ONLY, FINITE, HAS_NAN, HAS_INFINITY = 0, 1, 2, 3, 4


@cache
def cells(fmt: Format) -> tuple[NDArray[np.int32], int]:
    """For each cell of magnitudes the index of the first level not below its start.

    A cell is what shares the exponent and the first ``F + 1`` mantissa bits of a float64;
    also returned is how far its bits are shifted right to number cells, from the first,
    which lies two octaves below the least level, to the one that starts at the top, 1.0.
    """
    shift = 52 - (fmt.fraction_bits + 1)
    octaves = fmt.lambda_max // (1 << fmt.fraction_bits) + 3
    first = np.float64(2.0**-octaves).view(np.int64) >> shift
    last = np.float64(1.0).view(np.int64) >> shift
    starts = (np.arange(first, last + 1) << shift).view(np.float64)
    index = np.searchsorted(fmt.levels, starts).astype(np.int32)
    index[0] = 1  # with everything below
    return np.maximum(index, 1), shift


def book_cells(levels: NDArray[np.float64]) -> tuple[NDArray[np.int16], int]:
    """As ``cells`` for codebooks, rows of ascending signed levels of up to 1.0 with zero.

    Index of the last level not above any of a cell but the first, (selectors, 2, cells), negative
    values second; there is always one level more.  A cell has about as many mantissa bits as
    tell the levels of an octave apart.
    """
    bits = levels.shape[1].bit_length() - 1
    shift = 52 - bits
    least = np.abs(levels[levels != 0]).min()
    first = np.float64(least / 4).view(np.int64) >> shift
    starts = (np.arange(first, (_ONE >> shift) + 2) << shift).view(np.float64)
    lowest = np.stack([np.append(0.0, starts[1:-1]), -starts[1:]])  # the first with those below it
    index = [np.searchsorted(row, lowest, side="right") - 1 for row in levels]
    return np.clip(index, 0, levels.shape[1] - 2).astype(np.int16), shift


@compiled(inline="always")
def _nearest(a, levels, index, shift):
    """Index of the level nearest to ``a >= 0``, ties to even, saturating."""
    last = len(index) - 1
    cell = (np.float64(a).view(np.int64) >> shift) - (_ONE >> shift) + last
    above = index[min(max(cell, 0), last)]
    while above < len(levels) - 1 and levels[above] < a:
        above += 1
    up, down = levels[above] - a, a - levels[above - 1]
    if up < down or (up == down and above % 2 == 0):
        return above
    return above - 1


@compiled(inline="always")
def _power(octaves):
    """``2^octaves`` as two factors, so that neither over- nor underflows.

    Beyond 2044 octaves every float64 saturates or becomes zero.
    """
    octaves = int(min(max(octaves, -2044), 2044))
    half = octaves // 2
    return math.ldexp(1.0, half), math.ldexp(1.0, octaves - half)


@compiled
def biases(start, stop, x, block, levels, index, shift, eighths, candidates, bias, kind):
    """Bias of each block of ``x`` (rows, K), and its kind, into (rows, K / block).

    Without candidates the least that does not clip, otherwise the candidate around the
    nearest to the largest magnitude that has the least squared error.
    """
    for r in range(start, stop):
        for b in range(x.shape[1] // block):
            part = x[r, b * block : (b + 1) * block]
            amax, nan = 0.0, False
            for v in part:
                if np.isnan(v):
                    nan = True
                else:
                    amax = max(amax, abs(np.float64(v)))
            bias[r, b] = 0
            if amax == 0.0:
                kind[r, b] = NAN_ONLY if nan else EMPTY
                continue
            if np.isinf(amax):
                kind[r, b] = HAS_INFINITY
                continue
            kind[r, b] = HAS_NAN if nan else FINITE
            mantissa, exponent = math.frexp(amax)
            if len(candidates) == 0:
                j = 0
                while j < 8 and eighths[j] < 2 * mantissa:
                    j += 1
                bias[r, b] = 8 * (exponent - 1) + j
                continue
            nearest = int(np.floor(8 * np.log2(amax) + 0.5))
            best = np.inf
            for step in candidates:
                if nearest + step > BIAS_MAX:
                    continue
                p, q = _power(-(nearest + step) // 8)
                scale = eighths[-(nearest + step) % 8]
                weight = eighths[(2 * step) % 8] * math.ldexp(1.0, int((2 * step) // 8))
                error = 0.0
                for v in part:
                    a = abs(np.float64(v) * p * scale * q)
                    if not np.isnan(a):
                        difference = levels[_nearest(a, levels, index, shift)] - a
                        error += difference * difference
                        if error * weight >= best:  # it only grows
                            break
                if error * weight < best:
                    best, bias[r, b] = error * weight, nearest + step


@compiled
def codes(start, stop, x, bias, block, levels, index, shift, eighths, sign_bit, out):
    """Nearest codes of ``x`` (rows, K) under block biases (rows, K / block), into ``out``."""
    for r in range(start, stop):
        for b in range(x.shape[1] // block):
            octaves, j = -bias[r, b] // 8, -bias[r, b] % 8
            p, q = _power(octaves)
            for k in range(b * block, (b + 1) * block):
                v = np.float64(x[r, k])
                if np.isnan(v):
                    out[r, k] = sign_bit
                    continue
                m = _nearest(abs(v * p * eighths[j] * q), levels, index, shift)
                out[r, k] = m | sign_bit if v < 0 and m > 0 else m


@compiled(inline="always")
def _below(v, levels, index, shift):
    """Index of the last of ascending signed levels not above ``v``; the ends have one beside."""
    last = index.shape[1] - 1
    cell = (np.float64(abs(v)).view(np.int64) >> shift) - (_ONE >> shift) + last
    below = np.int64(index[1 if v < 0 else 0, min(max(cell, 0), last)])
    while below < len(levels) - 2 and levels[below + 1] <= v:
        below += 1
    return below


@compiled
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
    """Selector and bias code of each block of ``x`` (rows, K), into (rows, K / block).

    Of the codebooks ``levels`` (selectors, ascending signed levels), and of the bias codes that
    put the block's bias ``tensor - steps[code]`` at ``nearest + low`` to ``nearest + high``, or
    the code next to that range, those of least squared error; the first of equals, codes before
    selectors.
    """
    for r in range(start, stop):
        for b in range(x.shape[1] // block):
            part = x[r, b * block : (b + 1) * block]
            first = 0
            while first < len(steps) - 1 and tensor[r, b] - steps[first] > nearest[r, b] + high:
                first += 1
            last = first
            while last < len(steps) - 1 and tensor[r, b] - steps[last + 1] >= nearest[r, b] + low:
                last += 1
            best = np.inf
            selector[r, b], code[r, b] = 0, first
            for c in range(first, last + 1):
                bias = tensor[r, b] - steps[c]
                p, q = _power(-bias // 8)
                scale = eighths[-bias % 8]
                # Outside the window there is one bias, and nothing to weigh.
                step = min(max(bias - nearest[r, b], low), high)
                weight = eighths[(2 * step) % 8] * math.ldexp(1.0, int((2 * step) // 8))
                for s in range(len(levels)):
                    error = 0.0
                    for v in part:
                        a = np.float64(v) * p * scale * q
                        if not np.isnan(a):
                            # The nearer of two: no branch, which would be a guess.
                            k = _below(a, levels[s], index[s], shift)
                            difference = min(abs(a - levels[s, k]), abs(levels[s, k + 1] - a))
                            error += difference * difference
                            if error * weight >= best:  # it only grows
                                break
                    if error * weight < best:
                        best = error * weight
                        selector[r, b], code[r, b] = s, c


@compiled
def codes_of_books(
    start, stop, x, bias, selector, block, levels, index, shift, order, eighths, nan, out
):
    """Nearest codes of ``x`` (rows, K) in the codebooks of its blocks, ties to even, into ``out``.

    ``order`` (selectors, levels) has the codes of ``levels``, ``nan`` that of NaN.
    """
    for r in range(start, stop):
        for b in range(x.shape[1] // block):
            octaves, j, s = -bias[r, b] // 8, -bias[r, b] % 8, selector[r, b]
            p, q = _power(octaves)
            for k in range(b * block, (b + 1) * block):
                v = np.float64(x[r, k])
                if np.isnan(v):
                    out[r, k] = nan
                    continue
                # Far outside all distances are equal.
                a = min(max(v * p * eighths[j] * q, levels[s, 0]), levels[s, -1])
                place = _below(a, levels[s], index[s], shift)
                down, up = a - levels[s, place], levels[s, place + 1] - a
                if up < down or (up == down and order[s, place] % 2):
                    place += 1
                out[r, k] = order[s, place]


@compiled
def accumulate(
    start, stop, a, beta_a, b, beta_b, products, block, guard_bits, zero_block, sums, out
):
    """Accumulators of codes ``a`` (M, K) and ``b`` (K, N), into ``out`` (M, N), int64.

    ``products[eighths, code_a, code_b]`` are the integer products; biases are
    (M, K / block) and (K / block, N), the last block may be shorter.  ``sums`` is any array
    of the type that holds the sum of a block.
    """
    columns = b.shape[1]
    eighths, codes_a, codes_b = products.shape
    flat = products.ravel()
    total = np.empty(columns, sums.dtype)
    down, table = np.empty((2, columns), np.int32)
    for i in range(start, stop):
        out[i] = 0
        for block_index in range(beta_a.shape[1]):
            if beta_a[i, block_index] == zero_block:
                continue
            for j in range(columns):
                down[j] = -min(np.int64(beta_a[i, block_index]) + beta_b[block_index, j], 0)
                table[j] = down[j] % eighths * codes_a * codes_b
                total[j] = 0
            for k in range(block_index * block, min((block_index + 1) * block, a.shape[1])):
                row = flat[np.int64(a[i, k]) * codes_b :]
                for j in range(columns):
                    total[j] += row[table[j] + b[k, j]]
            for j in range(columns):
                if beta_b[block_index, j] != zero_block:
                    out[i, j] += (np.int64(total[j]) << guard_bits) >> (down[j] // eighths)


@compiled
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
    """As ``accumulate``, of decoded operands whose bias fraction is in their logarithms.

    ``a`` (M, K) and ``b`` (K, N) are logarithms, signs -1, 0 and 1 beside them, octaves
    (M, K / block) and (K / block, N); ``magnitudes`` are products by the sum of two logarithms.
    """
    columns = b.shape[1]
    total = np.empty(columns, sums.dtype)
    for i in range(start, stop):
        out[i] = 0
        for block_index in range(octaves_a.shape[1]):
            for j in range(columns):
                total[j] = 0
            for k in range(block_index * block, min((block_index + 1) * block, a.shape[1])):
                if sign_a[i, k]:
                    row = magnitudes[np.int64(a[i, k]) :]
                    for j in range(columns):
                        total[j] += sign_a[i, k] * sign_b[k, j] * row[b[k, j]]
            for j in range(columns):
                octaves = octaves_a[i, block_index] + octaves_b[block_index, j]
                out[i, j] += (np.int64(total[j]) << guard_bits) >> octaves


def contiguous(x: NDArray) -> NDArray:
    """``x`` as the kernels want it: C order, native float32 or float64."""
    return np.ascontiguousarray(x, dtype=np.float32 if x.dtype == np.float32 else np.float64)
