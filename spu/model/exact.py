"""What the array makes of a tensor program, bit for bit: its arithmetic, without its cycles.

Operands and results are PAL16 codes.  Where an operand is float64, it stands for itself without
rounding: each operation that takes it is computed in float64 and its result rounded to PAL16, and
products encode it first.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pal_units import model
from pal_units.array import PalArray
from pal_units.dot_params import DotParams
from pal_units.formats import ZERO_BLOCK, Format
from pal_units.products import accumulate
from spu.arch.blocks import lifted, reblock
from spu.arch.context import Op
from spu.arch.errors import InputError, UserError
from spu.arch.operations import CONSTANT, IN, OPERATIONS, constant_codes, vector_mode
from spu.arch.package.compiled import Package, Work, partial_sums
from spu.arch.package.expression import COMPARISONS, REAL, Expression, operand_bias
from spu.arch.package.product import MOST_OFFSET, weight_blocks
from spu.arch.package.program import HostStep, Layout, Map, Product, gathered
from spu.arch.params import BLOCK
from spu.model import words as w
from spu.model.operations import apply
from spu.model.units import beyond, outside
from spu.model.words import Words

Codes = NDArray[np.uint16]
#: Codes, or float64.
Operand = NDArray[Any]
#: What a comparison gives where it holds.
TRUE = 0xFFFF
#: Is shown a subexpression, its operation, the words of its operands, its mode and its result.
Look = Callable[[Expression, Op, list[Words], dict[str, int] | None, Words], None]


def is_real(operand: Operand) -> bool:
    """Whether an operand is float64."""
    return operand.dtype == np.float64


def decoded(operand: Operand, bias: int) -> NDArray[np.float64]:
    """Values of codes; float64 as it is."""
    return operand if is_real(operand) else model.decode16(operand, bias)


def encoded(operand: Operand, bias: int) -> Codes:
    """Codes of float64; codes as they are."""
    return model.encode16(operand, bias) if is_real(operand) else operand


def operands(package: Package, i: int, tensors: Mapping[int, Operand]) -> list[Operand]:
    """Of a step, constants among them as they are held; as they are where no code is taken."""
    program = package.program
    as_codes = _takes_codes(package, i)
    return [
        tensors[s]
        if values is None
        else constant_codes(values, bias)
        if as_codes and program.is_real(s)
        else values
        for s, bias in zip(program.steps[i].sources, package.source_biases(i), strict=True)
        for values in [program.tensors[s].constant]
    ]


def _takes_codes(package: Package, i: int) -> bool:
    """Whether a step takes codes of its constants: not weights, nor tables of which rows are
    looked up, both large."""
    step, tensors = package.program.steps[i], package.program.tensors
    if isinstance(step, HostStep):
        return any(tensors[s].constant is None for s in package.program.moved(step))
    return not isinstance(step, Product) or tensors[step.b].constant is None


def made(package: Package, i: int, sources: Sequence[Operand]) -> Operand:
    """What a step makes of its operands: codes, float64 of what moves some, integers.

    Raises ``InputError`` for a product whose ratio of results to operands no run takes, and for
    what the host does not compute.
    """
    step = package.program.steps[i]
    shape = package.program.shape(step.out)
    if isinstance(step, HostStep):
        return _on_host(package, i, step, sources)
    if isinstance(step, Layout):
        if not package.program.is_real(step.out):
            return gathered(step, list(sources), step.fill)
        bias = package.ranges.tensors[step.out]
        fill = constant_codes(step.fill, bias)
        if not any(map(is_real, sources)):
            return gathered(step, list(sources), int(fill))
        real = [decoded(s, bias) for s in sources]
        return gathered(step, real, float(model.decode16(fill, bias)))
    if isinstance(step, Map):
        flat = [s.ravel() for s in sources]
        return expression(package.work(i), flat)[step.expression].reshape(shape)
    if isinstance(step, Product):
        (a, b), (bias_a, bias_b) = sources, package.source_biases(i)
        if package.program.tensors[step.b].constant is None:
            b = encoded(b, bias_b)
        return _product(package, i, step, encoded(a, bias_a), b)
    raise TypeError(f"no step of the array: {type(step).__name__}")


def _on_host(package: Package, i: int, step: HostStep, sources: Sequence[Operand]) -> Operand:
    """As the host computes: of values, but elements are moved as codes."""
    program = package.program
    moved = program.moved(step)
    known = [program.tensors[s].constant for s in step.sources]
    codes = [
        x
        for s, x in zip(step.sources, sources, strict=True)
        if s in moved and _takes_codes(package, i)
    ]
    if codes and not any(map(is_real, codes)):
        return program.computed(step, list(sources))
    biases = package.source_biases(i)
    values = [
        constant if constant is not None else decoded(x, bias) if program.is_real(s) else x
        for s, x, constant, bias in zip(step.sources, sources, known, biases, strict=True)
    ]
    result = program.computed(step, values)
    if not program.is_real(step.out) or any(map(is_real, codes)):
        return result
    bias = package.bias(step.out)
    if moved:
        return constant_codes(result, bias)
    return model.encode16(package.held(step.out, result), bias)


def run(package: Package, inputs: Mapping[str, NDArray]) -> dict[int, Operand]:
    """Codes of all tensors that inputs and steps make, integers as they are.

    ``inputs``: of the program's shapes, by name.
    """
    program = package.program
    tensors: dict[int, Operand] = {}
    for name, i in program.inputs.items():
        given = program.value(i, inputs[name])
        real = program.is_real(i)
        tensors[i] = model.encode16(package.held(i, given), package.bias(i)) if real else given
    for i, step in enumerate(program.steps):
        tensors[step.out] = made(package, i, operands(package, i, tensors))
    return tensors


def outputs(package: Package, tensors: Mapping[int, Operand]) -> dict[str, NDArray]:
    """Values of the outputs by name."""
    found, program = dict[str, NDArray](), package.program
    for name, i in program.outputs.items():
        values = program.tensors[i].constant
        if not program.is_real(i):
            found[name] = tensors[i] if values is None else values
            continue
        bias = package.bias(i)
        held = tensors[i] if values is None else constant_codes(values, bias)
        found[name] = decoded(held, bias).reshape(program.shape(i))
    return found


def expression(
    work: Work, sources: Sequence[Operand], look: Look = lambda *_: None
) -> dict[Expression, Operand]:
    """What a kernel makes of each subexpression, (elements,) for sources (elements,)."""
    wanted, numbers = work
    biases = dict(zip(wanted.steps(), numbers, strict=True))
    found: dict[Expression, Operand] = {}
    for x in wanted.steps():
        if x.op == IN:
            found[x] = sources[x.number]
        elif x.op != CONSTANT:
            own = [operand_bias(x, k, biases) for k in range(len(x.operands))]
            terms = [
                np.full(sources[0].shape, constant_codes(y.value, bias), np.uint16)
                if y.op == CONSTANT
                else found[y]
                for y, bias in zip(x.operands, own, strict=True)
            ]
            if any(map(is_real, terms)):
                real = [decoded(term, bias) for term, bias in zip(terms, own, strict=True)]
                found[x] = _rounded(x, real, biases[x])
                continue
            op = OPERATIONS[x.op].op
            mode, words = vector_mode(op, own, biases[x]), [_word(t) for t in terms]
            words += [_word(np.zeros_like(terms[0]))] * (3 - len(terms))
            result = apply(op, words, mode)
            look(x, op, words, mode, result)
            found[x] = w.lanes(result)[..., 0]
    return found


def _word(codes: Codes) -> Words:
    """Each element as a word of one lane."""
    return w.build(codes[:, None], 0, np.ones(codes.shape, bool))


def _rounded(x: Expression, terms: list[NDArray[np.float64]], bias: int) -> Codes:
    with np.errstate(all="ignore"):
        result = REAL[x.op](*terms)
    if x.op in COMPARISONS:
        return np.where(result != 0, TRUE, 0).astype(np.uint16)
    return model.encode16(result, bias)


def _product(package: Package, i: int, step: Product, a: Codes, b: Codes) -> Codes:
    """Of ``a`` (batch, rows, depth) and ``b`` (batch, depth, columns); of constant weights the
    values."""
    fmt, weights, dot = package.formats[i], package.weight_format(i), package.arch.dot
    bias_a, bias_b, out = package.bias(step.a), package.bias(step.b), package.bias(step.out)
    constant = package.program.tensors[step.b].constant
    pieces = package.pieces.get(i) or ()  # of a layer of a pipeline, which is not divided
    depths = list(dict.fromkeys(p.depth for p in pieces)) or [range(a.shape[2])]
    parts = np.zeros((len(depths), *package.program.shape(step.out)), np.uint16)
    for batch, rows in enumerate(a):
        codes, beta = _blocks(rows, fmt)
        t_a, t_b = bias_a, bias_b
        try:
            if constant is not None:
                columns, column_beta, t_b = weight_blocks(constant[batch], weights)
            else:
                columns, column_beta = _blocks(b[batch].T, weights)
                column_beta, t_b = lifted(column_beta, t_b, weights)
            if not package.ranges.fixed:
                beta, t_a = lifted(beta, t_a, fmt, out - t_b - MOST_OFFSET)
        except UserError as error:
            raise InputError(f"{package.program.label(step)}: {error}") from None
        for part, depth in zip(parts, depths, strict=True):
            blocks = slice(depth.start // BLOCK, -(-depth.stop // BLOCK))
            taken = slice(blocks.start * BLOCK, blocks.stop * BLOCK)
            x = _array(codes[:, taken], beta[:, blocks], fmt, dot)
            y = _array(columns[:, taken], column_beta[:, blocks], weights, dot)
            part[batch] = _encoded(x, y, out - t_a - t_b, dot)
    left = [part.ravel() for part in parts]
    for work in partial_sums(len(left), out):
        first = len(work[0].inputs)
        left[:first] = [expression(work, left[:first])[work[0]]]
    return left[0].reshape(parts.shape[1:])


def _blocks(codes: Codes, fmt: Format) -> tuple[NDArray, NDArray]:
    """Blocks along the last of two axes as reblock units make them: codes and biases."""
    padded = np.pad(codes, ((0, 0), (0, -codes.shape[1] % BLOCK)))
    found, beta = reblock(padded.reshape(len(codes), -1, BLOCK), fmt)
    return found.reshape(padded.shape), beta


def _array(codes: NDArray, beta: NDArray, fmt: Format, dot: DotParams) -> PalArray:
    """Rows of blocks, biases of profiles T and U as the edge takes them: at most 0, in steps."""
    if fmt.codebooks is None:
        step = dot.bias_step
        down = np.maximum(-beta.astype(np.int64), 0) // step * step
        beta = np.where(beta == ZERO_BLOCK, ZERO_BLOCK, -down)
    return PalArray(codes.astype(np.uint8), beta.astype(np.int8), 0, fmt, 1)


def _encoded(x: PalArray, y: PalArray, offset: int, dot: DotParams) -> Codes:
    """Results (rows, columns) of rows of both, the top of those whose sum was out of range."""
    y = y.T
    if x.biases.shape[1] <= dot.max_blocks(BLOCK):
        return model.encode_accumulator(*accumulate(x, y, dot), offset, dot)
    total = np.zeros((len(x), y.shape[1]), np.int64)
    side, nan = total.astype(np.int8), total.astype(bool)
    for each, other in _each_block(x, y):
        term, no_number = accumulate(each, other, dot)
        total, nan = total + term, nan | no_number
        side = np.where(side != 0, side, outside(total, dot.accumulator_bits))
    codes = model.encode_accumulator(np.where(side, 0, total), nan, offset, dot)
    return beyond(codes, side, nan)


def _each_block(x: PalArray, y: PalArray) -> Iterator[tuple[PalArray, PalArray]]:
    for first in range(0, x.shape[1], BLOCK):
        yield x[:, first : first + BLOCK], y[first : first + BLOCK]
