"""Windows of convolutions and pools: which elements lie in each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compiler.errors import CompileError


@dataclass(frozen=True)
class Windows:
    """Windows along spatial axes of lengths ``size``; ``begin`` and ``end`` are padding.

    Window ``i`` of an axis begins at element ``i * stride - begin`` and takes ``kernel``
    elements, ``dilation`` apart; there are ``out`` of them.
    """

    size: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    begin: tuple[int, ...]
    end: tuple[int, ...]
    out: tuple[int, ...]

    @classmethod
    def of(
        cls, attributes: Mapping[str, Any], size: Sequence[int], kernel: Sequence[int]
    ) -> "Windows":
        """From attributes of ONNX: strides, dilations, pads or auto_pad, ceil_mode.

        ``size`` and ``kernel`` are lengths along the spatial axes.

        Raises
        ------
        CompileError: numbers that do not fit so many axes or are too small, an unknown
            ``auto_pad``, or a kernel that reaches over more than size and padding.
        """
        rank = len(size)
        stride = [int(s) for s in attributes.get("strides", [1] * rank)]
        dilation = [int(d) for d in attributes.get("dilations", [1] * rank)]
        pads = [int(p) for p in attributes.get("pads", [0] * (2 * rank))]
        if not len(kernel) == len(stride) == len(dilation) == rank or len(pads) != 2 * rank:
            raise CompileError(f"kernel, strides, dilations and pads must fit {rank} axes")
        if min(*kernel, *stride, *dilation, 1) < 1 or min([0, *pads]) < 0:
            raise CompileError("kernel, strides and dilations must be positive, pads at least 0")
        begin, end = pads[:rank], pads[rank:]
        reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
        auto = attributes.get("auto_pad", "NOTSET")
        if auto in ("SAME_UPPER", "SAME_LOWER"):
            for a in range(rank):
                total = max((-(-size[a] // stride[a]) - 1) * stride[a] + reach[a] - size[a], 0)
                less, more = total // 2, total - total // 2
                begin[a], end[a] = (less, more) if auto == "SAME_UPPER" else (more, less)
        elif auto == "VALID":
            begin, end = [0] * rank, [0] * rank
        elif auto != "NOTSET":
            raise CompileError(f"auto_pad {auto!r} is unknown")
        out = []
        for a in range(rank):
            room = size[a] + begin[a] + end[a] - reach[a]
            count = (
                -(-room // stride[a]) if attributes.get("ceil_mode", 0) else room // stride[a]
            ) + 1
            if attributes.get("ceil_mode", 0) and (count - 1) * stride[a] >= size[a] + begin[a]:
                count -= 1  # a window must not begin in the padding behind
            if count < 1:
                raise CompileError(
                    f"a kernel that reaches over {reach[a]} elements does not fit "
                    f"{size[a]} with padding {begin[a]} and {end[a]}"
                )
            out.append(count)
        return cls(
            tuple(size),
            tuple(kernel),
            tuple(stride),
            tuple(dilation),
            tuple(begin),
            tuple(end),
            tuple(out),
        )

    def _positions(self, axis: int) -> NDArray[np.int64]:
        """Element of every window and place in it along an axis, -1 in the padding or beyond."""
        at = (
            np.arange(self.out[axis])[:, None] * self.stride[axis]
            - self.begin[axis]
            + np.arange(self.kernel[axis]) * self.dilation[axis]
        )
        return np.where((at >= 0) & (at < self.size[axis]), at, -1)

    def taken(self, index: NDArray[np.int64]) -> NDArray[np.int64]:
        """Elements (n, channels, *out, kernel elements) of ``index`` (n, channels, *size)."""
        padded = np.pad(index, [(0, 0), (0, 0), *[(0, 1)] * len(self.size)], constant_values=-1)
        rank = len(self.size)
        grids: list[slice | NDArray] = [slice(None), slice(None)]
        for axis in range(rank):
            at = self._positions(axis)
            shape = [1] * (2 * rank)
            shape[axis], shape[rank + axis] = at.shape
            grids.append(at.reshape(shape))
        out = padded[tuple(grids)]
        return out.reshape(*index.shape[:2], *self.out, prod(self.kernel))

    def count(self, padding: bool) -> NDArray[np.float64]:
        """Elements of each window (*out), with padding or without; never what lies beyond it."""
        total = np.ones((1,) * len(self.size))
        for axis in range(len(self.size)):
            at = (
                np.arange(self.out[axis])[:, None] * self.stride[axis]
                + np.arange(self.kernel[axis]) * self.dilation[axis]
            )
            low, high = (
                (0, self.size[axis] + self.begin[axis] + self.end[axis])
                if padding
                else (self.begin[axis], self.begin[axis] + self.size[axis])
            )
            inside = ((at >= low) & (at < high)).sum(axis=1)
            shape = [1] * len(self.size)
            shape[axis] = -1
            total = total * inside.reshape(shape)
        return total
