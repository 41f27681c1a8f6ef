"""Matrix products."""

from math import prod
from typing import Any

import numpy as np

from compiler.errors import CompileError
from compiler.front.jax.lowering import Lowering
from compiler.front.jax.registry import Value, primitive


@primitive("dot_general")
def dot_general(low: Lowering, eqn: Any, a: Value, b: Value) -> Value:
    """Products summed along axes, stacked along others: a matrix product of each stack.

    Raises ``CompileError`` for integers.
    """
    (sum_a, sum_b), (stack_a, stack_b) = eqn.params["dimension_numbers"]
    program, x, y = low.program, low.real(a), low.real(b)
    shape_a, shape_b = program.shape(x), program.shape(y)
    if eqn.outvars[0].aval.dtype.kind in "biu":
        raise CompileError("a product of integers")
    free_a, free_b = (
        [k for k in range(len(shape)) if k not in (*summed, *stack)]
        for shape, summed, stack in ((shape_a, sum_a, stack_a), (shape_b, sum_b, stack_b))
    )
    stack = [shape_a[k] for k in stack_a]
    depth = prod(shape_a[k] for k in sum_a)
    rows, columns = prod(shape_a[k] for k in free_a), prod(shape_b[k] for k in free_b)
    left = program.layout(
        [x], lambda i: i.transpose(*stack_a, *free_a, *sum_a).reshape(*stack, rows, depth)
    )
    right = program.layout(
        [y], lambda i: i.transpose(*stack_b, *sum_b, *free_b).reshape(*stack, depth, columns)
    )
    shape = (*stack, *(shape_a[k] for k in free_a), *(shape_b[k] for k in free_b))
    return program.layout([program.product(left, right)], lambda i: np.reshape(i, shape))
