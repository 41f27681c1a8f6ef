"""PAL arithmetic of a tensor program without limits of magnitude, in numpy.

Each element has a tensor bias of its own, by whole octaves, so that nothing saturates and nothing
falls below the least level; else operations round as the units do, by ``pal_units.model``.  What an
array computes may be worse than this only where it saturates or has too few octaves.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

import pal_units as pal
from pal_units import model
from pal_units.dot_params import DotParams
from pal_units.formats import BIAS_PER_OCTAVE, PAL16, Format
from pal_units.model.log16 import log_of_integer
from pal_units.tables import octaves_below
from spu.arch.operations import CONSTANT, IN
from spu.arch.package.compiled import Package
from spu.arch.package.expression import REAL, Expression
from spu.arch.package.program import HostStep, Layout, Map, gathered
from spu.arch.params import BLOCK

Values = NDArray[np.float64]
#: Decibels that elements without a bound may be below this.
MOST_DECIBELS = 1.0
#: Operations that round to the nearest level; others go through tables.
NEAREST = ("mul", "div")
#: Powers of two beyond these are infinite or zero.
_MOST_OCTAVES = 1000


def outputs(compiled: Package, inputs: Mapping[str, NDArray]) -> dict[str, Values]:
    """Outputs by name; what is not finite is as in float64."""
    program = compiled.meant
    values: dict[int, NDArray] = {}

    def take(i: int, given: NDArray) -> None:
        values[i] = nearest(given) if program.is_real(i) else given

    for i, t in enumerate(program.tensors):
        if t.constant is not None:
            take(i, t.constant)
    for name, i in program.inputs.items():
        take(i, program.value(i, inputs[name]))
    with np.errstate(all="ignore"):
        for number, step in enumerate(program.steps):
            sources = [values[s] for s in step.sources]
            if isinstance(step, Layout):
                values[step.out] = gathered(step, sources, step.fill)
            elif isinstance(step, HostStep):
                take(step.out, program.computed(step, sources))
            elif isinstance(step, Map):
                shape = program.shape(step.out)
                values[step.out] = expression(step.expression, [s.reshape(shape) for s in sources])
            else:
                values[step.out] = product(
                    sources[0],
                    sources[1],
                    (compiled.formats[number], compiled.weight_format(number)),
                    compiled.arch.dot,
                )
    return {name: values[i] for name, i in program.outputs.items()}


def worse(want: Values, got: Values, predicted: Values) -> str:
    """How some elements are worse than PAL arithmetic makes them by ``MOST_DECIBELS``, if so."""
    noise, expected = (_decibels(want, x) for x in (got, predicted))
    return "" if noise >= expected - MOST_DECIBELS else f"{noise:.1f} dB and not {expected:.1f}"


def _decibels(want: Values, got: Values) -> float:
    noise = float(np.nansum((got - want) ** 2))
    return 10 * np.log10(max(float(np.nansum(want**2)), 1e-300) / noise) if noise else np.inf


def expression(wanted: Expression, sources: list[Values]) -> Values:
    """Values of an elementwise expression, operation by operation."""
    found: dict[Expression, Values] = {}
    for x in wanted.steps():
        found[x] = (
            sources[x.number]
            if x.op == IN
            else nearest(x.value)
            if x.op == CONSTANT
            else operation(x.op, *(found[y] for y in x.operands))
        )
    return found[wanted]


def product(a: Values, b: Values, formats: tuple[Format, Format], dot: DotParams) -> Values:
    """``[n, rows, depth]`` times ``[n, depth, columns]``, blocks along the depth."""
    fmt, weights = formats
    short = -a.shape[2] % BLOCK
    a, b = np.pad(a, ((0, 0), (0, 0), (0, short))), np.pad(b, ((0, 0), (0, short), (0, 0)))
    return np.array(
        [
            _dots(pal.encode(x, fmt), pal.encode(y, weights, axis=0), dot)
            for x, y in zip(a, b, strict=True)
        ]
    )


def _dots(a: pal.PalArray, b: pal.PalArray, dot: DotParams) -> Values:
    """Sums of products, and the values of PAL16 that the unit makes of them."""
    sums, nan = pal.accumulate(a, b, dot)
    octaves = log_of_integer(np.maximum(np.abs(sums), 1)) / 1024 - octaves_below(dot)
    top = (a.tensor_bias + b.tensor_bias) / BIAS_PER_OCTAVE
    return np.where(nan, np.nan, np.sign(sums) * np.exp2(octaves + top))


def nearest(x: ArrayLike) -> Values:
    """Values of PAL16 next to some."""
    x = np.asarray(x, np.float64)
    top = _octaves(x)
    return np.where(_has_log(x), _values(_codes(x, top), top), x)


def operation(op: str, *operands: Values) -> Values:
    """An operation of the array on values of PAL16, its result one too."""
    real = np.asarray(REAL[op](*operands), np.float64)
    if op in NEAREST:
        return nearest(real)
    if op not in _TABLES:
        return real
    return np.where(_has_log(real), _TABLES[op](real, *operands), real)


def _has_log(x: Values) -> NDArray[np.bool_]:
    return np.isfinite(x) & (x != 0)


def _octaves(x: Values) -> NDArray[np.int64]:
    """Whole octaves of the top just above values."""
    return np.ceil(np.log2(np.where(_has_log(x), np.abs(x), 1.0))).astype(np.int64)


def _codes(x: Values, top: NDArray[np.int64]) -> NDArray[np.uint16]:
    return model.encode16(np.ldexp(x, -top), 0)


def _values(codes: ArrayLike, top: ArrayLike) -> Values:
    return np.ldexp(model.decode16(codes, 0), top)


def _sum(real: Values, x: Values, y: Values) -> Values:
    top = np.maximum(_octaves(x), _octaves(y)) + 1
    return _values(model.add16(_codes(x, top), _codes(y, top)), top)


def _root(real: Values, x: Values) -> Values:
    top = 2 * -(-_octaves(x) // 2)
    return _values(model.sqrt(_codes(x, top), 0, PAL16), top // 2)


def _inverse_root(real: Values, x: Values) -> Values:
    top, room = 2 * -(-_octaves(x) // 2), 2
    return _values(model.rsqrt(_codes(x, top), 0, PAL16, room), room - top // 2)


def _power(real: Values, x: Values) -> Values:
    x = np.clip(x, -_MOST_OCTAVES, _MOST_OCTAVES)
    top, result = _octaves(x), np.ceil(x).astype(np.int64) + 1
    return _values(model.exp2(_codes(x, top), 8 * top, 8 * result, PAL16), result)


def _logarithm(real: Values, x: Values) -> Values:
    top, result = _octaves(x), _octaves(real) + 1
    return _values(model.log2(_codes(x, top), 8 * top, 8 * result, PAL16), result)


_TABLES: dict[str, Callable[..., Any]] = {
    "add": _sum,
    "sub": lambda real, x, y: _sum(real, x, -y),
    "sqrt": _root,
    "rsqrt": _inverse_root,
    "exp2": _power,
    "log2": _logarithm,
}
