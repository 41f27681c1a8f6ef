"""How far results on the array can be from real arithmetic: bounds element by element.

Forward error analysis (N. Higham, Accuracy and Stability of Numerical Algorithms, 2002, ch. 3)
with the error bounds of the units, docs/numerics.md.  A tensor is its real values and how far the
computed ones are from them at most.  Where a function is undefined within that, the bound is
infinite.  What other values in the place of masks and of small constants change is part of the
error, as far as a run does not tell it.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from spu.arch.operations import CONSTANT, IN
from spu.arch.package.compiled import Package, Work
from spu.arch.package.expression import (
    COMPARISONS,
    REAL,
    Expression,
    held_constant,
    least_magnitude,
    operand_bias,
)
from spu.arch.package.program import HostStep, Layout, Map, Product, gathered
from spu.arch.package.values import real_values
from spu.engine.meaning import untold
from verif.expected.host_bounds import Bounded, exact, host_bounds
from verif.expected.product_bounds import product_errors

#: Relative error of a result that is the nearest code, and of one within a unit of the log.
NEAREST = 2.0 ** (0.5 / 1024) - 1
FAITHFUL = 2.0 ** (1 / 1024) - 1
#: A tensor bias for truth values, which are 0 and 1 here.
TRUTH = 0
#: Operations that choose one of their operands, or change its sign.
EXACT = ("abs", "neg", "min", "max", "relu", *COMPARISONS, "select")


def error_bounds(
    compiled: Package, inputs: Mapping[str, NDArray], told: bool = False
) -> dict[str, Bounded]:
    """Outputs by name: real values and bounds of the errors, inputs encoded included.

    ``told``: a run told that moved constants matter, and how much they do is part of the error.
    """
    meant, _ = real_values(compiled.meant, inputs)
    with np.errstate(all="ignore"):
        found = _Analysis(compiled).run(inputs)
        return {
            name: _moved(
                found[name],
                meant[i],
                np.inf
                if told
                else untold(meant[i], least_magnitude(compiled.bias(i)))
                if compiled.program.is_real(i)
                else 0.0,
            )
            for name, i in compiled.program.outputs.items()
        }


def _moved(found: Bounded, meant: NDArray, most: NDArray | float) -> Bounded:
    """About what the model means; both may be infinite."""
    off = np.abs(np.subtract(found.value, meant, dtype=np.float64))
    moved = np.where(found.value == meant, 0.0, np.minimum(off, most))
    error = found.error + moved
    return Bounded(meant, np.where(np.isnan(error), np.inf, error))


def encoded(values: NDArray, bias: int) -> Bounded:
    """Inputs as PAL16: half of the least magnitude are those that may become zero off at most;
    powers of two have a code."""
    least = least_magnitude(bias)
    error = np.where(np.abs(values) < least, least / 2, NEAREST * np.abs(values))
    exact = (np.abs(np.frexp(values)[0]) == 0.5) & (np.abs(values) >= least)
    return _limited(values, np.where((values == 0) | exact, 0.0, error), bias)


def constant_encoded(values: NDArray, bias: int) -> Bounded:
    """Constants as PAL16, about what stands for those below the least magnitude."""
    return encoded(held_constant(values, bias), bias)


def _limited(value: NDArray, error: NDArray, bias: int) -> Bounded:
    """Saturation brings what is computed nearer to values that the format has."""
    return Bounded(value, np.where(np.abs(value) <= 2.0 ** (bias / 8), error, np.inf))


def rounded(op: str, value: NDArray, error: NDArray, bias: int) -> Bounded:
    """A result whose operands' errors make ``error``, rounded by its unit."""
    if op in EXACT:
        return _limited(value, error, bias)
    unit = NEAREST if op in ("mul", "div", "sqrt", "rsqrt") else FAITHFUL
    return _limited(value, error + unit * (np.abs(value) + error) + least_magnitude(bias), bias)


class _Analysis:
    def __init__(self, compiled: Package) -> None:
        self.compiled = compiled

    def run(self, inputs: Mapping[str, NDArray]) -> dict[str, Bounded]:
        program = self.compiled.program
        compiled = self.compiled
        tensors: dict[int, Bounded] = {}

        def entering(i: int, values: NDArray) -> Bounded:
            """Values that come from outside of the array."""
            return (
                encoded(compiled.held(i, values), compiled.bias(i))
                if program.is_real(i)
                else exact(values)
            )

        def tensor(i: int, bias: int) -> Bounded:
            values = program.tensors[i].constant
            if values is None:
                return tensors[i]
            return constant_encoded(values, bias) if program.is_real(i) else exact(values)

        for name, i in program.inputs.items():
            tensors[i] = entering(i, program.value(i, inputs[name]))
        for i in program.outputs.values():
            if program.tensors[i].constant is not None:
                tensors[i] = tensor(i, compiled.bias(i) if program.is_real(i) else 0)
        for number, step in enumerate(program.steps):
            biases = compiled.source_biases(number)
            sources = [tensor(s, bias) for s, bias in zip(step.sources, biases, strict=True)]
            if isinstance(step, HostStep):
                if not program.moved(step):
                    # Constants are as they are on the host.
                    given = [program.tensors[s].constant for s in step.sources]
                    sources = [
                        x if y is None else exact(y) for x, y in zip(sources, given, strict=True)
                    ]
                made = host_bounds(program, step, sources)
                if program.is_real(step.out) and not program.moved(step):
                    unsure, made = made.error, entering(step.out, made.value)
                    made = Bounded(made.value, made.error + unsure)
                tensors[step.out] = made
            elif isinstance(step, Layout) and not program.is_real(step.out):
                tensors[step.out] = Bounded(
                    gathered(step, [s.value for s in sources], step.fill),
                    gathered(step, [s.error for s in sources], 0.0),
                )
            elif isinstance(step, Layout):
                fill = constant_encoded(np.array([step.fill]), compiled.bias(step.out))
                tensors[step.out] = Bounded(
                    gathered(step, [s.value for s in sources], fill.value[0]),
                    gathered(step, [s.error for s in sources], fill.error[0]),
                )
            elif isinstance(step, Map):
                shape = program.shape(step.out)
                tensors[step.out] = self.expression(
                    compiled.work(number),
                    [Bounded(s.value.reshape(shape), s.error.reshape(shape)) for s in sources],
                )
            else:
                tensors[step.out] = self.step(number, step, sources)
        return {name: tensors[i] for name, i in program.outputs.items()}

    def step(self, number: int, step: Product, sources: list[Bounded]) -> Bounded:
        """A product, of all parts of its depth."""
        constant = self.compiled.program.tensors[step.b].constant
        bias = self.compiled.bias(step.out)
        a, b = ((s.value, s.error) for s in sources)
        parts = [
            rounded("product", *part, bias)
            for part in product_errors(
                a,
                b if constant is None else constant,
                list(dict.fromkeys(p.depth for p in self.compiled.pieces[number])),
                (self.compiled.formats[number], self.compiled.weight_format(number)),
                self.compiled.arch.dot,
                self.compiled.source_biases(number),
            )
        ]
        total = parts[0]
        for part in parts[1:]:
            # As many roundings as a chain has, no fewer than a tree.
            total = rounded("add", total.value + part.value, total.error + part.error, bias)
        return total

    def expression(self, work: Work, sources: list[Bounded]) -> Bounded:
        expression, numbers = work
        done: dict[Expression, Bounded] = {}
        biases = dict(zip(expression.steps(), numbers, strict=True))
        for x in expression.steps():
            if x.op == IN:
                done[x] = sources[x.number]
            elif x.op != CONSTANT:
                terms = [
                    constant_encoded(np.array(y.value), operand_bias(x, k, biases))
                    if y.op == CONSTANT
                    else done[y]
                    for k, y in enumerate(x.operands)
                ]
                value = np.asarray(REAL[x.op](*(t.value for t in terms)), np.float64)
                error = np.asarray(_propagated(x.op, value, terms))
                # Truth values are no numbers with a top.
                bias = TRUTH if x.op in COMPARISONS else biases[x]
                done[x] = rounded(x.op, value, np.where(np.isnan(error), np.inf, error), bias)
        return done[expression]


def _propagated(op: str, value: NDArray, terms: list[Bounded]) -> NDArray:
    """What errors of operands make of the error of a result, before it is rounded."""
    v, e = [t.value for t in terms], [t.error for t in terms]
    match op:
        case "add" | "sub":
            return e[0] + e[1]
        case "mul":
            return np.abs(v[0]) * e[1] + np.abs(v[1]) * e[0] + e[0] * e[1]
        case "div":
            near = np.abs(v[1]) - e[1]
            return np.where(near > 0, (e[0] + np.abs(value) * e[1]) / near, np.inf)
        case "exp2":
            return value * (np.exp2(e[0]) - 1)
        case "sqrt" | "rsqrt" | "log2":
            ends = [REAL[op](v[0] + sign * e[0]) for sign in (-1, 1)]
            inside = v[0] - e[0] > 0
            if op == "sqrt":
                inside, ends[0] = v[0] >= e[0], REAL[op](np.maximum(v[0] - e[0], 0))
            return np.where(inside, np.maximum(*(np.abs(end - value) for end in ends)), np.inf)
        case "abs" | "neg" | "relu":
            return e[0]
        case "min" | "max":
            low, high = (REAL[op](v[0] + sign * e[0], v[1] + sign * e[1]) for sign in (-1, 1))
            return np.maximum(value - low, high - value)
        case "lt" | "eq":
            # Either within the errors; what is compared with itself is equal but for NaN.
            if terms[0] is terms[1]:
                return np.asarray(np.isinf(e[0]), np.float64)
            error = e[0] + e[1]
            return np.asarray(~(np.abs(v[0] - v[1]) > error) & (error > 0), np.float64)
        case "select":
            either = np.maximum(*(np.abs(v[k] - value) + e[k] for k in (0, 1)))
            return np.where(e[2] > 0, either, np.where(v[2] != 0, e[0], e[1]))
    raise AssertionError(op)
