"""Elementwise functions of PAL arrays, as the hardware computes them.

Operands go to PAL16, the operation is that of ``model``, and the result is encoded anew in the
format of the operands.  A tensor bias is chosen for every result so that nothing saturates; what
is more than 32 octaves below the top of a computation becomes zero: that of a product is the
product of the largest operands, that of a sum twice the largest operand.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pal_units import model, tables
from pal_units.array import PalArray
from pal_units.encoding import encode
from pal_units.formats import BIAS_PER_OCTAVE, PAL16, Format
from pal_units.model.elementwise import fields


def decode(a: PalArray) -> NDArray[np.float64]:
    """The values of ``a``, float64 of its shape; NaN codes give NaN.

    Raises ``TypeError`` for what is no ``PalArray``, ``OverflowError`` for values beyond float64.
    """
    _check(a)
    return a.decode()


def _result(codes16: NDArray[np.uint16], tensor_bias: int, like: PalArray) -> PalArray:
    """PAL16 codes encoded as ``like``."""
    if not like.fmt.has_nan and (codes16 == PAL16.sign_bit).any():
        raise ValueError(f"the result holds NaN, which {like.fmt.name} has not (n < 6)")
    # Powers of two away from the tensor bias, so that float64 holds it.
    octaves = tensor_bias // BIAS_PER_OCTAVE
    values = model.decode16(codes16, tensor_bias - BIAS_PER_OCTAVE * octaves)
    found = encode(values, like.fmt, axis=like.axis, pad=True)
    return PalArray(
        found.codes,
        found.biases,
        found.tensor_bias + BIAS_PER_OCTAVE * octaves,
        like.fmt,
        like.axis,
    )


def _check(*operands: Any) -> None:
    if not all(isinstance(v, PalArray) for v in operands):
        raise TypeError(
            "operands must be PalArrays, not " + " and ".join(type(v).__name__ for v in operands)
        )


def _check_alike(a: PalArray, b: PalArray) -> None:
    _check(a, b)
    if (a.shape, a.fmt, a.axis) != (b.shape, b.fmt, b.axis):
        # Of formats of one name, what else differs.
        facts = [f.name for f in dataclasses.fields(Format)] if a.fmt.name == b.fmt.name else []
        pairs = ((name, getattr(a.fmt, name), getattr(b.fmt, name)) for name in facts)
        raise ValueError(
            "operands must agree in shape, format and block axis, not "
            f"{a.shape} {a.fmt.name} {a.axis} and {b.shape} {b.fmt.name} {b.axis}"
            + "".join(f", {name} {x} and {y}" for name, x, y in pairs if x != y)
        )


def multiply(a: PalArray, b: PalArray) -> PalArray:
    """``a * b`` element by element; the log is exact before the result is encoded.

    The result has the shape, format and block axis that both operands have.

    Raises
    ------
    TypeError: an operand that is no ``PalArray``.
    ValueError: operands of unequal shape, format or block axis; a NaN in the result of a format
        without.
    """
    _check_alike(a, b)
    code = model.mul(a.codes16(a.tensor_bias), b.codes16(b.tensor_bias), PAL16)
    return _result(code, a.tensor_bias + b.tensor_bias, a)


def divide(a: PalArray, b: PalArray) -> PalArray:
    """``a / b`` element by element; ``x / 0`` is NaN (an error in a format without).

    Operands and errors as for ``multiply``.
    """
    _check_alike(a, b)
    x, y = a.codes16(a.tensor_bias), b.codes16(b.tensor_bias)
    headroom = int(fields(y, PAL16)[0].max(initial=0)) // 1024 + 1
    code = model.div(x, y, PAL16, headroom)
    code = np.where(y == 0, PAL16.sign_bit, code).astype(np.uint16)
    return _result(code, a.tensor_bias - b.tensor_bias + BIAS_PER_OCTAVE * headroom, a)


def _under_one_top(function: Callable[..., NDArray[Any]], a: PalArray, b: PalArray) -> PalArray:
    """A function of PAL16 codes under one top, with an octave of room for sums."""
    _check_alike(a, b)
    tensor_bias = max(a.tensor_bias, b.tensor_bias) + BIAS_PER_OCTAVE
    return _result(function(a.codes16(tensor_bias), b.codes16(tensor_bias), PAL16), tensor_bias, a)


def add(a: PalArray, b: PalArray) -> PalArray:
    """``a + b`` element by element; under one unit of PAL16's log before the result is encoded.

    Operands and errors as for ``multiply``.
    """
    return _under_one_top(model.add, a, b)


def subtract(a: PalArray, b: PalArray) -> PalArray:
    """``a - b`` element by element; see ``add``.

    Operands and errors as for ``multiply``.
    """
    return _under_one_top(model.sub, a, b)


def minimum(a: PalArray, b: PalArray) -> PalArray:
    """The lesser of each pair; NaN if either is.

    Operands and errors as for ``multiply``.
    """
    return _under_one_top(model.minimum, a, b)


def maximum(a: PalArray, b: PalArray) -> PalArray:
    """The greater of each pair; NaN if either is.

    Operands and errors as for ``multiply``.
    """
    return _under_one_top(model.maximum, a, b)


def sqrt(a: PalArray) -> PalArray:
    """Square roots, of the operand's shape and format; of negative numbers NaN.

    Raises ``TypeError`` for what is no ``PalArray``, ``ValueError`` for NaN in a format without.
    """
    _check(a)
    code = model.sqrt(a.codes16(a.tensor_bias), a.tensor_bias % 2, PAL16)
    return _result(code, -(-a.tensor_bias // 2), a)


def rsqrt(a: PalArray) -> PalArray:
    """Reciprocal square roots, of the operand's shape and format; of 0 and negative numbers NaN.

    Raises ``TypeError`` for what is no ``PalArray``, ``ValueError`` for NaN in a format without.
    """
    _check(a)
    x = a.codes16(a.tensor_bias)
    headroom = int(fields(x, PAL16)[0].max(initial=0)) // 2048 + 1
    code = model.rsqrt(x, a.tensor_bias % 2, PAL16, headroom)
    code = np.where(x == 0, PAL16.sign_bit, code).astype(np.uint16)
    return _result(code, -(a.tensor_bias // 2) + BIAS_PER_OCTAVE * headroom, a)


def exp2(a: PalArray) -> PalArray:
    """``2^a``, of the operand's shape; under one unit of PAL16's log before it is encoded.

    Raises ``OverflowError`` for values of 64 and above, and where all are -64 and below;
    ``TypeError`` for what is no ``PalArray``, ``ValueError`` for NaN in a format without.
    """
    _check(a)
    largest = float(np.nanmax(a.decode(), initial=-np.inf))
    limit = 1 << tables.EXP_INTEGER_BITS
    if largest >= limit:
        raise OverflowError(f"exp2 takes values below {limit}, not {largest}")
    if -np.inf < largest <= -limit:
        raise OverflowError(f"exp2 needs a value above {-limit}, the largest is {largest}")
    bias = int(np.ceil(BIAS_PER_OCTAVE * max(largest, -limit)))
    return _result(model.exp2(a.codes16(a.tensor_bias), a.tensor_bias, bias, PAL16), bias, a)


def log2(a: PalArray) -> PalArray:
    """``log2(a)``, of the operand's shape and format; of zero and negative numbers NaN.

    Raises ``TypeError`` for what is no ``PalArray``, ``ValueError`` for NaN in a format without.
    """
    _check(a)
    x = a.codes16(a.tensor_bias)
    lam = fields(x, PAL16)[0][x != 0]
    # The log of largest magnitude is that of the largest or of the least value.
    ends = (
        a.tensor_bias / BIAS_PER_OCTAVE
        - np.array([lam.min(initial=PAL16.m_max), lam.max(initial=0)]) / 1024
    )
    bias = int(model.bias_for(max(np.abs(ends).max(), 2.0**-PAL16.fraction_bits)))
    code = model.log2(x, a.tensor_bias, bias, PAL16)
    return _result(np.where(x == 0, PAL16.sign_bit, code).astype(np.uint16), bias, a)
