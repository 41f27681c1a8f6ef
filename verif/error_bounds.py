"""How far results on the array can be from real arithmetic: bounds element by element.

Forward error analysis (N. Higham, Accuracy and Stability of Numerical Algorithms, 2002, ch. 3)
with the error bounds of the units, docs/numerics.md.  A tensor is its real values and how far the
computed ones are from them at most.  Where a function is undefined within that, the bound is
infinite.  What other values in the place of masks and of small constants change is part of the
error, as far as a run does not tell it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compiler.dataflow.graph import CONSTANT
from compiler.dataflow.operations import IN
from compiler.tensors.compiled import Compiled, Work, weight_blocks
from compiler.tensors.expressions import (
    REAL,
    Expression,
    held_constant,
    least_magnitude,
    operand_bias,
)
from compiler.tensors.program import Layout, Map, Product
from compiler.tensors.values import gathered, real_values
from pal_units import model, tables
from pal_units.formats import Format
from spu.arch.params import BLOCK, MATRIX_DOT
from verif.meaning import allowed
from verif.tensors import held

#: Relative error of a result that is the nearest code, and of one within a unit of the log.
NEAREST = 2.0 ** (0.5 / 1024) - 1
FAITHFUL = 2.0 ** (1 / 1024) - 1
#: A tensor bias for truth values, which are 0 and 1 here.
TRUTH = 0
#: Operations that choose one of their operands, or change its sign.
EXACT = ("abs", "neg", "min", "max", "relu", "lt", "select")


@dataclass(frozen=True)
class Bounded:
    """Real values, and how far computed ones are from them at most."""

    value: NDArray[np.float64]
    error: NDArray[np.float64]


def error_bounds(compiled: Compiled, inputs: Mapping[str, NDArray], told: bool = False
                 ) -> dict[str, Bounded]:
    """Outputs by name: real values and bounds of the errors, inputs encoded included.

    ``told``: a run told that moved constants matter, and how much they do is part of the error.
    """
    meant, _ = real_values(compiled.meant, inputs)
    with np.errstate(all="ignore"):
        found = _Analysis(compiled).run(inputs)
        return {name: _moved(found[name], meant[i], np.inf if told else
                             allowed(meant[i], least_magnitude(compiled.bias(i))))
                for name, i in compiled.program.outputs.items()}


def _moved(found: Bounded, meant: NDArray, most: NDArray | float) -> Bounded:
    """About what the model means; both may be infinite."""
    moved = np.where(found.value == meant, 0.0, np.minimum(np.abs(found.value - meant), most))
    error = found.error + moved
    return Bounded(meant, np.where(np.isnan(error), np.inf, error))


def encoded(values: NDArray, bias: int) -> Bounded:
    """Inputs as PAL16: half of the least magnitude are those that may become zero off at most."""
    least = least_magnitude(bias)
    error = np.where(np.abs(values) < least, least / 2, NEAREST * np.abs(values))
    return _limited(values, np.where(values == 0, 0.0, error), bias)


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
    def __init__(self, compiled: Compiled) -> None:
        self.compiled = compiled

    def run(self, inputs: Mapping[str, NDArray]) -> dict[str, Bounded]:
        program = self.compiled.program
        compiled = self.compiled
        tensors = {i: encoded(held(compiled, i, np.asarray(inputs[name], np.float64)).reshape(
            program.shape(i)), compiled.bias(i)) for name, i in program.inputs.items()}
        for i in program.outputs.values():
            values = program.tensors[i].constant
            if values is not None:
                tensors[i] = constant_encoded(values, compiled.bias(i))
        for number, step in enumerate(program.steps):
            sources = [tensors[s] if values is None else constant_encoded(values, bias)
                       for s, bias in zip(step.sources, compiled.source_biases(number), strict=True)
                       for values in [program.tensors[s].constant]]
            if isinstance(step, Layout):
                fill = constant_encoded(np.array([step.fill]), compiled.bias(step.out))
                tensors[step.out] = Bounded(
                    gathered(step, [s.value for s in sources], fill.value[0]),
                    gathered(step, [s.error for s in sources], fill.error[0]))
            elif isinstance(step, Map):
                shape = program.shape(step.out)
                tensors[step.out] = self.expression(compiled.work(number), [
                    Bounded(s.value.reshape(shape), s.error.reshape(shape)) for s in sources])
            else:
                tensors[step.out] = self.step(number, step, sources)
        return {name: tensors[i] for name, i in program.outputs.items()}

    def step(self, number: int, step: Product, sources: list[Bounded]) -> Bounded:
        """A product, of all parts of its depth."""
        constant = self.compiled.program.tensors[step.b].constant
        bias, fmt = self.compiled.bias(step.out), self.compiled.formats[number]
        parts = [self.product(sources[0], sources[1], d, constant, fmt,
                              self.compiled.source_biases(number), bias)
                 for d in dict.fromkeys(p.depth for p in self.compiled.pieces[number])]
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
                terms = [constant_encoded(np.array(y.value), operand_bias(x, k, biases))
                         if y.op == CONSTANT else done[y] for k, y in enumerate(x.operands)]
                value = np.asarray(REAL[x.op](*(t.value for t in terms)), np.float64)
                error = np.asarray(_propagated(x.op, value, terms))
                # Truth values are no numbers with a top.
                bias = TRUTH if x.op == "lt" else biases[x]
                done[x] = rounded(x.op, value, np.where(np.isnan(error), np.inf, error), bias)
        return done[expression]

    def product(self, a: Bounded, b: Bounded, depth: range, constant: NDArray | None, fmt: Format,
                biases: tuple[int, ...], bias: int) -> Bounded:
        """Part of the depth of a product: blocks, products, sums, the log of the result."""
        taken = slice(depth.start, depth.stop)
        value_a, error_a, top_a = self._blocked(a.value[:, :, taken], a.error[:, :, taken], fmt,
                                                 biases[0])
        if constant is None:
            value_b, error_b, top_b = self._blocked(
                b.value.transpose(0, 2, 1)[:, :, taken], b.error.transpose(0, 2, 1)[:, :, taken],
                fmt, biases[1])
            tensor_b = top_b.max(axis=(1, 2))[:, None, None]
        else:
            value_b = constant.transpose(0, 2, 1)[:, :, taken]
            error_b, top_b, tensor_b = _known_weights(constant, taken, fmt)
        size_b = (np.abs(value_b) + error_b).transpose(0, 2, 1)
        value = value_a @ value_b.transpose(0, 2, 1)
        # Of what is multiplied, and of the products.
        error = np.abs(value_a) @ error_b.transpose(0, 2, 1) + error_a @ size_b
        error = error + 2.0 ** -(MATRIX_DOT.antilog_bits + 1) * ((np.abs(value_a) + error_a)
                                                                 @ size_b)
        error = error + BLOCK * 2.0 ** -(MATRIX_DOT.product_bits - 1) \
            * (top_a @ top_b.transpose(0, 2, 1))
        # A unit of the accumulator for each block.
        unit = 2.0 ** -float(tables.octaves_below(MATRIX_DOT)) \
            * top_a.max(axis=(1, 2))[:, None, None] * tensor_b
        error = error + top_a.shape[2] * unit
        return rounded("product", value, error, bias)

    def _blocked(self, value: NDArray, error: NDArray, fmt: Format, bias: int
                 ) -> tuple[NDArray, NDArray, NDArray]:
        """Rows in blocks: values, errors, tops of the blocks (batch, rows, blocks)."""
        short = -value.shape[2] % BLOCK
        blocks = [np.pad(x, ((0, 0), (0, 0), (0, short))).reshape(*value.shape[:2], -1, BLOCK)
                  for x in (value, error)]
        size = np.abs(blocks[0])
        tops = [2.0 ** (model.bias_for(np.maximum(amax.max(axis=-1), least_magnitude(bias))) / 8)
                for amax in (np.maximum(size - blocks[1], 0), size + blocks[1])]
        # The least bias of the format holds for smaller blocks too.
        tops = [np.maximum(t, 2.0 ** ((bias + fmt.beta_min) / 8)) for t in tops]
        lost = np.maximum(*(half_gap((size + blocks[1]) / t[..., None], fmt)
                            * t[..., None] for t in tops))
        out = (blocks[1] + lost).reshape(*value.shape[:2], -1)[:, :, :value.shape[2]]
        return value, out, tops[1]


def half_gap(size: NDArray, fmt: Format) -> NDArray[np.float64]:
    """Greatest error of rounding numbers up to ``size`` to codes of a block of top 1."""
    levels = np.sort(model.value_of(np.arange(fmt.m_max + 1), fmt))
    most = np.maximum.accumulate(np.diff(levels) / 2)
    index = np.clip(np.searchsorted(levels, size), 1, len(levels) - 1)
    return most[index - 1]


def _known_weights(constant: NDArray, taken: slice, fmt: Format
                   ) -> tuple[NDArray, NDArray, float]:
    """Errors of weights that are known, tops of their blocks, and of the tensor."""
    errors, tops, tensor = [], [], 0.0
    for matrix in constant:
        codes, beta, t_weight = weight_blocks(matrix, fmt)
        decoded = model.decode_blocks(codes, beta, t_weight, fmt)
        padded = np.pad(matrix.T, ((0, 0), (0, -matrix.shape[0] % BLOCK)))
        blocks = slice(taken.start // BLOCK, -(-taken.stop // BLOCK))
        errors.append(np.abs(decoded - padded)[:, taken])
        tops.append(2.0 ** ((beta[:, blocks].astype(np.float64) + t_weight) / 8))
        tensor = max(tensor, 2.0 ** (t_weight / 8))
    return np.array(errors), np.array(tops), tensor


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
            return np.maximum(e[0], e[1])
        case "lt":
            return np.asarray(np.abs(v[0] - v[1]) <= e[0] + e[1], np.float64)
        case "select":
            either = np.maximum(*(np.abs(v[k] - value) + e[k] for k in (0, 1)))
            return np.where(e[2] > 0, either, np.where(v[2] != 0, e[0], e[1]))
    raise AssertionError(op)
