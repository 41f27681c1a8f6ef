"""What PAL arithmetic makes of a tensor program: numpy, without array and without program.

Every operation in float64, its result rounded to PAL16; products by the exact accumulators of
``pal_units`` arrays.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

import pal_units as pal
from pal_units import model
from pal_units.formats import Format
from spu.arch.blocks import decode_blocks, reblock
from spu.arch.operations import CONSTANT, IN, constant_codes
from spu.arch.package.compiled import Package, Work, partial_sums
from spu.arch.package.expression import COMPARISONS, REAL, operand_bias
from spu.arch.package.program import HostStep, Layout, Map, Product, gathered
from spu.arch.params import BLOCK


def predict(compiled: Package, inputs: Mapping[str, NDArray]) -> dict[str, NDArray]:
    """Outputs by name, float64 or integers."""
    program = compiled.program

    def rounded(x: NDArray, bias: int) -> NDArray[np.float64]:
        return model.decode16(model.encode16(x, bias), bias)

    def known(x: NDArray | float, bias: int) -> NDArray[np.float64]:
        return model.decode16(constant_codes(x, bias), bias)

    def expression(work: Work, sources: list[NDArray]) -> NDArray:
        wanted, numbers = work
        biases, values = dict(zip(wanted.steps(), numbers, strict=True)), {}
        for x in wanted.steps():
            if x.op == IN:
                values[x] = sources[x.number]
            elif x.op != CONSTANT:
                terms = [
                    known(y.value, operand_bias(x, k, biases)) if y.op == CONSTANT else values[y]
                    for k, y in enumerate(x.operands)
                ]
                made = REAL[x.op](*terms)
                values[x] = made if x.op in COMPARISONS else rounded(made, biases[x])
        return values[wanted]

    def blocked(x: NDArray, fmt: Format, bias: int) -> NDArray[np.float64]:
        """Values of rows in blocks, whose biases come from their largest elements."""
        codes, beta = reblock(model.encode16(x, bias).reshape(-1, fmt.block), fmt)
        return decode_blocks(codes, beta[:, None], bias, fmt).reshape(x.shape)

    def product(number: int, step: Product, sources: list[NDArray]) -> NDArray:
        constant = program.tensors[step.b].constant
        right = sources[1] if constant is None else constant
        fmt, bias = compiled.formats[number], compiled.bias(step.out)
        weights, dot = compiled.weight_format(number), compiled.arch.dot
        biases = compiled.source_biases(number)
        depths = list(dict.fromkeys(p.depth for p in compiled.pieces[number]))
        parts = []
        for d in depths:
            short = (0, -len(d) % BLOCK)
            # Computed operands are in blocks of the array already, which are encoded as they are.
            left = blocked(np.pad(sources[0][:, :, d], ((0, 0), (0, 0), short)), fmt, biases[0])
            lower = np.pad(right[:, d], ((0, 0), short, (0, 0)))
            if constant is None:
                lower = blocked(lower.transpose(0, 2, 1), weights, biases[1]).transpose(0, 2, 1)
            own = biases[0] if compiled.ranges.fixed else None
            parts.append(
                np.array(
                    [
                        rounded(
                            pal.matmul(
                                pal.encode(x, fmt, tensor_bias=own),
                                pal.encode(y, weights, axis=0),
                                dot,
                            ),
                            bias,
                        )
                        for x, y in zip(left, lower, strict=True)
                    ]
                )
            )
        for work in partial_sums(len(parts), bias):
            taken = len(work[0].inputs)
            parts[:taken] = [expression(work, parts[:taken])]
        return parts[0]

    def entering(i: int, values: NDArray) -> NDArray:
        """Values that come from outside of the array; integers as they are."""
        return rounded(compiled.held(i, values), compiled.bias(i)) if program.is_real(i) else values

    def tensor(i: int, bias: int) -> NDArray:
        values = program.tensors[i].constant
        if values is None:
            return tensors[i]
        return known(values, bias) if program.is_real(i) else values

    tensors = {i: entering(i, program.value(i, inputs[n])) for n, i in program.inputs.items()}
    for i in program.outputs.values():
        if program.tensors[i].constant is not None:
            tensors[i] = tensor(i, compiled.bias(i) if program.is_real(i) else 0)
    with np.errstate(all="ignore"):
        for number, step in enumerate(program.steps):
            biases = compiled.source_biases(number)
            sources = [tensor(s, bias) for s, bias in zip(step.sources, biases, strict=True)]
            if isinstance(step, HostStep):
                if not program.moved(step):
                    # Constants are as they are on the host.
                    given = [program.tensors[s].constant for s in step.sources]
                    sources = [x if y is None else y for x, y in zip(sources, given, strict=True)]
                made = program.computed(step, sources)
                tensors[step.out] = made if program.moved(step) else entering(step.out, made)
            elif isinstance(step, Layout):
                real = program.is_real(step.out)
                fill = float(known(step.fill, compiled.bias(step.out)) if real else step.fill)
                tensors[step.out] = gathered(step, sources, fill)
            elif isinstance(step, Map):
                shape = program.shape(step.out)
                tensors[step.out] = expression(
                    compiled.work(number), [s.reshape(shape) for s in sources]
                )
            else:
                tensors[step.out] = product(number, step, sources)
    return {name: tensors[i] for name, i in program.outputs.items()}
