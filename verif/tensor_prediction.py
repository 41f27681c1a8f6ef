"""What PAL arithmetic makes of a tensor program: numpy, without array and without program.

Every operation in float64, its result rounded to PAL16; products by the exact accumulators of
``pal_units`` arrays.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

import pal_units as pal
from compiler.dataflow.graph import CONSTANT
from compiler.dataflow.operations import IN
from compiler.tensors.compiled import Compiled
from compiler.tensors.expressions import REAL, Expression, tree, variable
from compiler.tensors.program import Layout, Map, Product
from compiler.tensors.values import gathered
from pal_units import model
from pal_units.formats import Format
from spu.arch.params import BLOCK


def predict(compiled: Compiled, inputs: Mapping[str, NDArray]) -> dict[str, NDArray[np.float64]]:
    """Outputs by name."""
    program, bias = compiled.program, compiled.bias

    def rounded(x: NDArray) -> NDArray[np.float64]:
        return model.decode16(model.encode16(x, bias), bias)

    def expression(wanted: Expression, sources: list[NDArray]) -> NDArray:
        values: dict[Expression, NDArray] = {}
        for x in wanted.steps():
            values[x] = sources[x.number] if x.op == IN else rounded(np.array(x.value)) \
                if x.op == CONSTANT else rounded(REAL[x.op](*(values[y] for y in x.operands)))
        return values[wanted]

    def blocked(x: NDArray, fmt: Format) -> NDArray[np.float64]:
        """Values of rows in blocks, whose biases come from their largest elements."""
        codes, beta = model.reblock(model.encode16(x, bias).reshape(-1, fmt.block), fmt)
        return model.decode_blocks(codes, beta[:, None], bias, fmt).reshape(x.shape)

    def product(number: int, step: Product) -> NDArray:
        constant = program.tensors[step.b].constant
        right = tensors[step.b] if constant is None else constant
        fmt = compiled.formats[number]
        depths = list(dict.fromkeys(p.depth for p in compiled.pieces[number]))
        parts = []
        for d in depths:
            short = (0, -len(d) % BLOCK)
            # Computed operands are in blocks of the array already, which are encoded as they are.
            left = blocked(np.pad(tensors[step.a][:, :, d], ((0, 0), (0, 0), short)), fmt)
            lower = np.pad(right[:, d], ((0, 0), short, (0, 0)))
            if constant is None:
                lower = blocked(lower.transpose(0, 2, 1), fmt).transpose(0, 2, 1)
            parts.append(np.array([rounded(pal.encode(x, fmt) @ pal.encode(y, fmt, axis=0))
                                   for x, y in zip(left, lower, strict=True)]))
        return expression(tree("add", [variable(k) for k in range(len(parts))]), parts)

    tensors = {i: rounded(t.constant) for i, t in enumerate(program.tensors)
               if t.constant is not None}
    for name, i in program.inputs.items():
        tensors[i] = rounded(np.asarray(inputs[name], np.float64).reshape(program.shape(i)))
    with np.errstate(all="ignore"):
        for number, step in enumerate(program.steps):
            sources = [tensors[s] for s in step.sources]
            if isinstance(step, Layout):
                tensors[step.out] = gathered(step, sources, step.fill)
            elif isinstance(step, Map):
                shape = program.shape(step.out)
                tensors[step.out] = expression(step.expression,
                                               [s.reshape(shape) for s in sources])
            else:
                tensors[step.out] = product(number, step)
    return {name: tensors[i] for name, i in program.outputs.items()}
