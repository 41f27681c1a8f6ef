"""ConvTranspose: a product for each phase of the strides, whose results lie between each other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compiler.errors import CompileError
from compiler.front.lowering import Lowering
from compiler.front.onnx_graph import Operator
from compiler.front.registry import operator
from compiler.ir.builder import MOST_ELEMENTS
from spu.arch.package.expression import variable


@dataclass(frozen=True)
class Spread:
    """An axis of a transposed convolution: element ``i`` of ``size`` adds to elements
    ``i * stride + k * dilation - begin`` of ``out``, for all ``k`` of ``kernel``."""

    size: int
    kernel: int
    stride: int
    dilation: int
    begin: int
    out: int

    def phase(self, number: int) -> tuple[list[int], NDArray[np.int64]]:
        """Elements ``number + j * stride`` of the result: which ``k`` add to them, and of which
        element each takes its share, (elements, ks); -1 for none."""
        at = np.arange(number, self.out, self.stride) + self.begin
        ks = [
            k
            for k in range(self.kernel)
            if (number + self.begin - k * self.dilation) % self.stride == 0
        ]
        taken = (at[:, None] - np.array(ks, np.int64) * self.dilation) // self.stride
        return ks, np.where((taken >= 0) & (taken < self.size), taken, -1)

    @staticmethod
    def of(
        attributes: Mapping[str, Any], size: Sequence[int], kernel: Sequence[int], version: int
    ) -> list["Spread"]:
        """From attributes of ONNX, for the spatial axes.

        Where ``output_shape`` asks for more than there is, the rest at the end is zero.

        Raises
        ------
        CompileError: numbers that do not fit so many axes or are too small, an unknown
            ``auto_pad``, a result without elements, or in version 1 an odd number of elements to
            take away, of which it says two things.
        """
        rank = len(size)
        stride = [int(s) for s in attributes.get("strides", [1] * rank)]
        dilation = [int(d) for d in attributes.get("dilations", [1] * rank)]
        pads = [int(p) for p in attributes.get("pads", [0] * (2 * rank))]
        extra = [int(p) for p in attributes.get("output_padding", [0] * rank)]
        shape = attributes.get("output_shape")
        stated = [int(k) for k in attributes.get("kernel_shape", kernel)]
        if stated != list(kernel):
            raise CompileError(f"kernel_shape {stated} is not that of the weights, {list(kernel)}")
        if not len(stride) == len(dilation) == len(extra) == rank or len(pads) != 2 * rank:
            raise CompileError(f"strides, dilations, pads, output_padding must fit {rank} axes")
        if min(*stride, *dilation, *kernel, 1) < 1 or min([0, *pads, *extra]) < 0:
            raise CompileError("kernel, strides and dilations must be positive, pads at least 0")
        if shape is not None and len(shape) not in (rank, rank + 2):
            raise CompileError(f"output_shape {list(shape)} does not fit {rank} axes")
        auto = attributes.get("auto_pad", "NOTSET")
        if auto not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
            raise CompileError(f"auto_pad {auto!r} is unknown")
        made = []
        for a in range(rank):
            natural = stride[a] * (size[a] - 1) + extra[a] + (kernel[a] - 1) * dilation[a] + 1
            begin, out = 0, natural
            if auto == "NOTSET" and shape is None:
                begin, out = pads[a], natural - pads[a] - pads[rank + a]
            elif shape is not None or auto != "VALID":
                out = size[a] * stride[a] if shape is None else int(shape[len(shape) - rank + a])
                total = max(natural - out, 0)
                if total % 2 and version < 11:
                    raise CompileError(
                        f"version {version} says two things of where {total} elements are cut off; "
                        "later versions, and pads, say one"
                    )
                begin = total // 2 if auto == "SAME_UPPER" else total - total // 2
            if out < 1:
                raise CompileError(f"its output has {out} elements along spatial axis {a}")
            made.append(Spread(size[a], kernel[a], stride[a], dilation[a], begin, out))
        return made


@operator("ConvTranspose")
def conv_transpose(low: Lowering, node: Operator) -> int:
    """ConvTranspose of any number of spatial axes.

    x (n, channels, *size), weights (channels, filters / groups, *kernel), bias (filters,), which
    may be left out; the result is (n, filters, *out).  Elements of the result that are a multiple
    of the strides apart are one product of elements of x and of weights, of none that is zero
    between the strides.

    Raises ``CompileError`` for weights that do not fit the channels in so many groups.
    """
    x, weight, *bias = low.inputs(node)
    program, groups = low.program, int(node.attributes["group"])
    n, channels, *size = program.shape(x)
    depth, filters, *kernel = program.shape(weight)
    if groups < 1 or depth != channels or channels % groups or len(kernel) != len(size):
        raise CompileError(
            f"weights of shape {program.shape(weight)} do not fit {channels} channels of "
            f"{len(size)} axes in {groups} groups"
        )
    axes = Spread.of(node.attributes, size, kernel, node.version)
    out = [axis.out for axis in axes]
    if int(np.prod([n, groups, filters, *out], dtype=object)) > MOST_ELEMENTS:
        raise CompileError(f"its output has more than {MOST_ELEMENTS} elements")
    parts: list[int] = []
    index = np.full((n, groups * filters, *out), -1)
    used = 0
    for phase in product(*(range(min(axis.stride, axis.out)) for axis in axes)):
        found = [axis.phase(p) for axis, p in zip(axes, phase, strict=True)]
        if not all(ks for ks, _ in found):
            continue
        made = _phase(low, x, weight, groups, [f[0] for f in found], [f[1] for f in found])
        parts.append(made)
        count = prod(program.shape(made))
        where = tuple(slice(p, None, axis.stride) for p, axis in zip(phase, axes, strict=True))
        index[(slice(None), slice(None), *where)] = np.arange(used, used + count).reshape(
            program.shape(made)
        )
        used += count
    total = (
        program.layout(parts, lambda *_: index)
        if parts
        else program.constant(np.zeros(index.shape))
    )
    if not bias:
        return total
    wide = program.layout([bias[0]], lambda i: i.reshape(-1, *[1] * len(size)))
    return program.map(variable(0) + variable(1), total, wide)


def _phase(
    low: Lowering,
    x: int,
    weight: int,
    groups: int,
    kept: list[list[int]],
    taken: list[NDArray[np.int64]],
) -> int:
    """Elements (n, filters, *elements of the phase): of weights ``kept`` of each axis, and
    elements ``taken`` for them."""
    program = low.program
    n, channels, *size = program.shape(x)
    filters, rank, depth = program.shape(weight)[1], len(size), channels // groups
    positions, count = [len(t) for t in taken], prod(len(k) for k in kept)

    def rows(i: NDArray) -> NDArray:
        """Groups, elements of the result of all images, channels and weights."""
        padded = np.pad(i, [(0, 0), (0, 0), *[(0, 1)] * rank], constant_values=-1)
        grids: list[slice | NDArray] = [slice(None), slice(None)]
        for axis, at in enumerate(taken):
            shape = [1] * (2 * rank)
            shape[axis], shape[rank + axis] = at.shape
            grids.append(at.reshape(shape))
        windows = padded[tuple(grids)]
        windows = windows.reshape(n, groups, depth, prod(positions), count)
        return windows.transpose(1, 0, 3, 2, 4).reshape(groups, n * prod(positions), depth * count)

    def columns(i: NDArray) -> NDArray:
        every = range(channels), range(filters)
        chosen = i[np.ix_(*every, *kept)].reshape(groups, depth, filters, count)
        return chosen.transpose(0, 1, 3, 2).reshape(groups, depth * count, filters)

    out = program.product(program.layout([x], rows), program.layout([weight], columns))
    return program.layout(
        [out],
        lambda i: (
            i.reshape(groups, n, prod(positions), filters)
            .transpose(1, 0, 3, 2)
            .reshape(n, groups * filters, *positions)
        ),
    )
