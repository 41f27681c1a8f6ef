"""How far results are expected to be from real arithmetic: root mean square errors, by sampling.

The program is executed in float64 several times, each time with other random errors where the array
rounds: Monte Carlo arithmetic (D. S. Parker, "Monte Carlo Arithmetic", UCLA CSD-970002, 1997).
Their means and variances are those of the units and formats, see ``rounding``.  What is known
beforehand, inputs and constants, is rounded as it is.  Errors go through layouts, kernels, products
and steps of the host as numbers do, so that what they have in common, as a mean that is subtracted
from all elements, stays in common, and no derivative is needed, which may be infinite.

Assumed is that roundings are independent of each other and of all numbers but the one that is
rounded.  That does not hold where the same number is rounded at many places, as equal elements of
a tensor are; where numbers are few and round, as small integers, which have no error or all the
same one; and where sums cancel to less than their rounding.  Left out is what a run tells by other
means, see ``meaning`` and ``product_loss``: blocks whose biases would lie below the least, and what
accumulators cut off.  Saturation and the least magnitude are those of the tensor biases.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pal_units import model
from pal_units.dot_params import DotParams
from pal_units.formats import Format
from spu.arch.blocks import decode_blocks, reblock
from spu.arch.operations import CONSTANT, IN, constant_codes
from spu.arch.package.compiled import Package, partial_sums
from spu.arch.package.expression import COMPARISONS, REAL, Expression, operand_bias, underflowed
from spu.arch.package.product import weight_blocks
from spu.arch.package.program import HostStep, Layout, Map, Product, gathered
from spu.arch.package.values import visit_values
from spu.arch.params import BLOCK
from spu.engine import rounding
from spu.engine.rounding import Rounding

#: (samples, *shape) of a tensor; one sample of what is known beforehand.
Samples = NDArray
#: Of a root mean square of one number 18 %, of many less.
SAMPLES = 16
#: Elements of a tensor, of as many samples as are made at a time: 16 MB.
MOST_ELEMENTS = 1 << 21
Progress = Callable[[int, int], None]


def expected_errors(
    package: Package,
    inputs: Mapping[str, NDArray],
    samples: int = SAMPLES,
    progress: Progress = lambda done, total: None,
) -> dict[int, float]:
    """Expected squared errors, summed over the elements of each tensor that a step makes.

    Beside float64 of the model, ``package.meant``, where that is finite.  ``inputs`` of the
    program's shapes, by name.  The same for the same arguments.  Raises ``InputError`` where a
    sample of a number is no index that there is.
    """
    real = visit_values(package.meant, inputs, lambda *_: None)
    largest = max((t.size for t in package.program.tensors if t.constant is None), default=1)
    each = max(1, min(samples, MOST_ELEMENTS // max(largest, 1)))
    total: dict[int, float] = {}
    rounds = range(0, samples, each)
    for done, first in enumerate(rounds):
        count = min(each, samples - first)

        def look(tensor: int, found: Samples, count: int = count) -> None:
            square = _squared(found, real[tensor]) * count / len(found)
            total[tensor] = total.get(tensor, 0.0) + square

        progress(done, len(rounds))
        _Sampling(package, count, np.random.default_rng(first)).run(inputs, look)
    return {tensor: square / samples for tensor, square in total.items()}


def _squared(found: Samples, real: NDArray) -> float:
    """Sum of squares over all samples, where a sample and what is meant are numbers."""
    with np.errstate(invalid="ignore", over="ignore"):
        off = np.subtract(found, real, dtype=np.float64)
    return float((off[np.isfinite(off)] ** 2).sum())


class _Sampling:
    """Samples of the tensors of a program."""

    def __init__(self, package: Package, samples: int, rng: np.random.Generator) -> None:
        self.package, self.samples, self.rng = package, samples, rng
        self.tensors: dict[int, Samples] = {}

    def run(self, inputs: Mapping[str, NDArray], look: Callable[[int, Samples], None]) -> None:
        """Show what each step makes."""
        program = self.package.program
        last = {s: i for i, step in enumerate(program.steps) for s in step.sources}
        for name, i in program.inputs.items():
            given = program.value(i, inputs[name])
            self.tensors[i] = (self._entered(i, given) if program.is_real(i) else given)[None]
        with np.errstate(all="ignore"):
            for i, step in enumerate(program.steps):
                self.tensors[step.out] = made = self._made(i)
                look(step.out, made)
                for s in {*step.sources, step.out}:
                    if last.get(s, -1) <= i:
                        self.tensors.pop(s, None)

    def _made(self, i: int) -> Samples:
        package, program = self.package, self.package.program
        step, biases = program.steps[i], package.source_biases(i)
        if isinstance(step, HostStep):
            return self._on_host(i, step)
        if isinstance(step, Product):
            return self._product(i, step)
        sources = [self._tensor(s, bias) for s, bias in zip(step.sources, biases, strict=True)]
        if isinstance(step, Layout):
            fill = step.fill
            if program.is_real(step.out):
                fill = float(_held(np.array(fill), package.bias(step.out)))
            count = max(map(len, sources))
            return np.stack(
                [gathered(step, [s[k % len(s)] for s in sources], fill) for k in range(count)]
            )
        assert isinstance(step, Map)
        shape = program.shape(step.out)
        made = self._expression(*package.work(i), [s.reshape(len(s), *shape) for s in sources])
        return np.broadcast_to(made, (len(made), *shape))

    def _tensor(self, i: int, bias: int) -> Samples:
        """Of an operand, constants as they are held under a tensor bias."""
        constant = self.package.program.tensors[i].constant
        if constant is None:
            return self.tensors[i]
        return (_held(constant, bias) if self.package.program.is_real(i) else constant)[None]

    def _entered(self, i: int, values: NDArray) -> NDArray[np.float64]:
        """Values that come from outside of the array, as it has them."""
        bias = self.package.bias(i)
        return model.decode16(model.encode16(self.package.held(i, values), bias), bias)

    def _on_host(self, i: int, step: HostStep) -> Samples:
        """As ``spu.model.exact``, a sample at a time."""
        program, biases = self.package.program, self.package.source_biases(i)
        moved = program.moved(step)
        computed = any(program.tensors[s].constant is None for s in moved)
        sources = []
        for s, bias in zip(step.sources, biases, strict=True):
            constant = program.tensors[s].constant
            if constant is None or (computed and s in moved):
                sources.append(self._tensor(s, bias))
            else:
                sources.append(constant[None])
        made = np.stack(
            [
                program.computed(step, [s[k % len(s)] for s in sources])
                for k in range(max(map(len, sources)))
            ]
        )
        if not program.is_real(step.out) or computed:
            return made
        if moved:
            return _held(made, self.package.bias(step.out))
        return self._entered(step.out, made)

    # Kernels.

    def _expression(
        self, expression: Expression, numbers: Sequence[int], sources: Sequence[Samples]
    ) -> Samples:
        found: dict[Expression, Samples] = {}
        biases = dict(zip(expression.steps(), numbers, strict=True))
        for x in expression.steps():
            if x.op == IN:
                found[x] = sources[x.number]
            elif x.op != CONSTANT:
                terms = [
                    _held(np.array(y.value), operand_bias(x, k, biases))
                    if y.op == CONSTANT
                    else found[y]
                    for k, y in enumerate(x.operands)
                ]
                made = np.asarray(REAL[x.op](*terms), np.float64)
                found[x] = (
                    made
                    if x.op in COMPARISONS
                    else self._rounded(made, rounding.operation_rounding(x.op), biases[x])
                )
        return found[expression]

    def _rounded(self, x: Samples, by: Rounding, bias: int) -> Samples:
        """Results with the errors of a unit, below the top and not below the least magnitude."""
        if by.deviation:
            x = x * (1 + self._random((self.samples, *x.shape[1:]), by.mean, by.deviation))
        top = 2.0 ** (bias / 8)
        return underflowed(np.clip(x, -top, top), bias)

    def _random(
        self, shape: tuple[int, ...], mean: NDArray | float, deviation: NDArray | float
    ) -> NDArray[np.float64]:
        """Even within bounds, as roundings are."""
        even = self.rng.random(shape, np.float32) - 0.5
        return mean + np.sqrt(12) * deviation * even

    # Products.

    def _product(self, i: int, step: Product) -> Samples:
        package, program = self.package, self.package.program
        fmt, weights, dot = package.formats[i], package.weight_format(i), package.arch.dot
        bias, constant = package.bias(step.out), program.tensors[step.b].constant
        rows = self._blocks(self._tensor(step.a, package.bias(step.a)), fmt, package.bias(step.a))
        columns = (
            self._blocks(self.tensors[step.b].swapaxes(-1, -2), weights, package.bias(step.b))
            if constant is None
            else _weights(constant, weights)[None]
        )
        pieces = package.pieces.get(i) or ()  # of a layer of a pipeline, which is not divided
        left = []
        for depth in dict.fromkeys(p.depth for p in pieces) or [range(rows.shape[-1])]:
            taken = slice(depth.start, depth.stop)
            dots = self._dots(rows[..., taken], columns[..., taken], dot)
            left.append(self._rounded(dots, rounding.sum_rounding(dot), bias))
        for work in partial_sums(len(left), bias):
            first = len(work[0].inputs)
            left[:first] = [self._expression(*work, left[:first])]
        return left[0]

    def _dots(self, rows: Samples, columns: Samples, dot: DotParams) -> Samples:
        """Dot products (samples, batch, rows, columns) of rows of both."""
        antilog, samples = rounding.antilog_rounding(dot), len(rows)
        if len(columns) == 1:  # of all samples at once, as there may be few rows
            _, batch, count, depth = rows.shape
            joined = rows.swapaxes(0, 1).reshape(batch, samples * count, depth)
            dots = joined @ columns[0].swapaxes(-1, -2)
            dots = dots.reshape(batch, samples, count, -1).swapaxes(0, 1)
        else:
            dots = rows @ columns.swapaxes(-1, -2)
        deviation = _product_deviation(rows[0], columns[0], dot)
        random = self._random((self.samples, *deviation.shape), 0.0, deviation)
        return dots * (1 + antilog.mean) + random

    def _blocks(self, x: Samples, fmt: Format, bias: int) -> Samples:
        """Rows (samples, batch, rows, depth) as they are in blocks along the depth."""
        if len(x) == 1:
            return _in_blocks(x, fmt, bias)
        size = np.abs(_padded(x))
        mean, deviation = rounding.block_rounding(fmt).of(size, size.max(axis=-1, keepdims=True))
        random = self._random(size.shape, mean, deviation)
        return x * (1 + random.reshape(*x.shape[:-1], -1)[..., : x.shape[-1]])


def _held(values: NDArray, bias: int) -> NDArray[np.float64]:
    """Constants as they are under a tensor bias."""
    return model.decode16(constant_codes(values, bias), bias)


def _padded(x: NDArray) -> NDArray:
    """Blocks along the last axis, filled up with zeros: (..., blocks, block)."""
    padded = np.pad(x, [*[(0, 0)] * (x.ndim - 1), (0, -x.shape[-1] % BLOCK)])
    return padded.reshape(*x.shape[:-1], -1, BLOCK)


def _in_blocks(x: NDArray, fmt: Format, bias: int) -> NDArray:
    """Values as reblock units make blocks of them."""
    codes, beta = reblock(model.encode16(_padded(x), bias), fmt)
    values = decode_blocks(codes, beta[..., None], bias, fmt)
    return values.reshape(*x.shape[:-1], -1)[..., : x.shape[-1]]


def _weights(constant: NDArray, fmt: Format) -> NDArray:
    """Constant weights (batch, depth, columns) in blocks, as (batch, columns, depth)."""
    found = []
    for matrix in constant:
        codes, beta, bias = weight_blocks(matrix, fmt)
        found.append(decode_blocks(codes, beta, bias, fmt)[:, : len(matrix)])
    return np.array(found)


def _product_deviation(x: NDArray, y: NDArray, dot: DotParams) -> NDArray[np.float64]:
    """Deviation of dot products (batch, rows, columns) of rows of both, by the antilog and by what
    is cut off of each product."""
    antilog, unit = rounding.antilog_rounding(dot).deviation, rounding.product_unit(dot)
    tops = []
    for rows in (x, y):
        blocks = np.abs(_padded(rows))
        tops.append((blocks > 0).sum(axis=-1) / np.sqrt(BLOCK) * blocks.max(axis=-1) ** 2)
    return np.sqrt(
        antilog**2 * (x**2 @ (y**2).swapaxes(-1, -2))
        + unit**2 * (tops[0] @ tops[1].swapaxes(-1, -2))
    )
