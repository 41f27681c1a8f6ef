"""Arrays in PAL formats, in the manner of numpy."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from os import PathLike
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from pal_units import model
from pal_units.formats import BIAS_PER_OCTAVE, PAL16, ZERO_BLOCK, Format, whole
from pal_units.model.adaptive import book_fields, values_in_books
from pal_units.model.codec import check_tensor_bias, code_dtype, value_under
from pal_units.model.elementwise import fields, rounded
from pal_units.shapes import indices, normal_axis, reshaped_axis

#: Functions of numpy that would store decoded values in silence.
_STORING = {
    np.save: "save",
    np.savez: "savez",
    np.savez_compressed: "savez_compressed",
    np.savetxt: "savetxt",
}


@dataclass(frozen=True, eq=False)
class PalArray:
    """Numbers in a PAL format.

    ``+ - * /`` are those of ``pal_units.functions``, ``@`` that of ``pal_units.products``.
    Functions of numpy take the decoded values, but for those that would store them.

    Parameters
    ----------
    codes: element codes, uint8 (``n <= 8``) or uint16, any shape.
    biases: block biases, int8, shape of ``codes`` with ``axis`` divided by ``fmt.block``,
        rounded up: the last block may be shorter; all 0 and not stored where a block is one
        element.  In profile A the bytes of blocks, see ``Codebooks``.
    tensor_bias: ``T``, 1/8 octave, int16.
    fmt: format.
    axis: axis along which blocks lie, not negative.

    Raises
    ------
    TypeError: parts of another type.
    ValueError: codes of more than ``fmt.n`` bits; biases whose shape does not fit, or of single
        elements that are not 0; an axis or tensor bias out of range.
    """

    codes: NDArray[Any]
    biases: NDArray[np.int8]
    tensor_bias: int
    fmt: Format
    axis: int

    def __post_init__(self) -> None:
        if not isinstance(self.fmt, Format):
            raise TypeError(f"fmt must be a Format, not {type(self.fmt).__name__}")
        for name, dtype in (("codes", code_dtype(self.fmt)), ("biases", np.int8)):
            part = getattr(self, name)
            if not isinstance(part, np.ndarray) or part.dtype != dtype:
                raise TypeError(
                    f"{name} must be an array of {dtype.__name__}, not "
                    f"{getattr(part, 'dtype', type(part).__name__)}"
                )
        most = int(self.codes.max(initial=0)) if self.fmt.n % 8 else 0
        if most >> self.fmt.n:
            raise ValueError(f"codes of {self.fmt.name} have {self.fmt.n} bits, not {most}")
        object.__setattr__(self, "axis", normal_axis(self.axis, self.ndim))
        object.__setattr__(self, "tensor_bias", whole("tensor_bias", self.tensor_bias))
        check_tensor_bias(self.tensor_bias)
        shape = list(self.shape)
        shape[self.axis] = -(-shape[self.axis] // self.fmt.block)
        if self.biases.shape != tuple(shape):
            raise ValueError(
                f"biases of codes of shape {self.shape} must have shape "
                f"{tuple(shape)}, not {self.biases.shape}"
            )
        if self.fmt.block == 1 and self.biases.any():
            raise ValueError(
                f"biases of blocks of one element must be 0, not {self.biases[self.biases != 0][0]}"
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array of numbers."""
        return self.codes.shape

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self.codes.ndim

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.codes.size

    @property
    def nbytes(self) -> int:
        """Bytes that blocks, filled up, their biases and the tensor bias take when packed."""
        blocked = self.fmt.block > 1
        codes = self.biases.size * self.fmt.block if blocked else self.size
        return -(-codes * self.fmt.n // 8) + (self.biases.size if blocked else 0) + 2

    @property
    def T(self) -> "PalArray":
        """The transposed array; blocks stay with their elements."""
        return self.transpose()

    def transpose(self, *axes: Any) -> "PalArray":
        """Axes in another order, reversed by default; blocks stay with their elements.

        Raises ``ValueError`` unless each axis is named once, ``TypeError`` for no integer.
        """
        order = axes[0] if len(axes) == 1 and not np.isscalar(axes[0]) else axes
        order = [
            normal_axis(axis, self.ndim)
            for axis in (reversed(range(self.ndim)) if order is None or not len(order) else order)
        ]
        if sorted(order) != list(range(self.ndim)):
            raise ValueError(f"transpose takes each of {self.ndim} axes once, not {order}")
        return PalArray(
            self.codes.transpose(order),
            self.biases.transpose(order),
            self.tensor_bias,
            self.fmt,
            order.index(self.axis),
        )

    def reshape(self, *shape: Any) -> "PalArray":
        """The same blocks in another shape, C order, one length may be -1.

        Raises ``ValueError`` for another number of elements, and if blocks would not lie along
        an axis, whole and in order.
        """
        wanted = shape[0] if len(shape) == 1 and not np.isscalar(shape[0]) else shape
        codes = self.codes.reshape([whole("a length", n) for n in wanted])
        if not codes.ndim:
            raise ValueError("a PalArray has at least one axis")
        axis = reshaped_axis(self.shape, self.axis, self.fmt.block, codes.shape)
        counts = list(codes.shape)
        counts[axis] = -(-counts[axis] // self.fmt.block)
        return PalArray(codes, self.biases.reshape(counts), self.tensor_bias, self.fmt, axis)

    def __getitem__(self, index: Any) -> "PalArray":
        """A part, as numpy has it; of the axis of blocks whole blocks only.

        Raises ``IndexError``, ``TypeError`` as numpy, ``ValueError`` for parts of blocks.
        """
        of_codes, of_biases, axis = indices(index, self.shape, self.axis, self.fmt.block)
        return PalArray(
            self.codes[of_codes], self.biases[of_biases], self.tensor_bias, self.fmt, axis
        )

    def __iter__(self) -> Iterator["PalArray"]:
        if self.axis == 0:
            raise TypeError("blocks lie along axis 0: iterate over .decode()")
        return (self[i] for i in range(len(self)))

    def __len__(self) -> int:
        return len(self.codes)

    def sum(self, axis: int | tuple[int, ...] | None = None, *, keepdims: bool = False) -> Any:
        """Sums of the values, float64: that of all, or along one or several axes.

        Correctly rounded sums of ``decode()``, in whatever order; NaN if one is.
        Raises ``OverflowError`` for sums beyond float64, ``ValueError`` for an axis that is not
        there or is named twice, ``TypeError`` for one that is no integer.
        """
        given = range(self.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
        summed = [normal_axis(i, self.ndim) for i in given]
        if len(set(summed)) < len(summed):
            raise ValueError(f"axis names an axis twice: {axis}")
        kept = [i for i in range(self.ndim) if i not in summed]
        values = self.decode().transpose(kept + summed)
        shape = (
            [1 if i in summed else n for i, n in enumerate(self.shape)]
            if keepdims
            else values.shape[: len(kept)]
        )
        rows = values.reshape(
            math.prod(values.shape[: len(kept)]), math.prod(values.shape[len(kept) :])
        )
        total = np.array([math.fsum(row.tolist()) for row in rows]).reshape(shape)
        return total if total.ndim else float(total)

    def decode(self) -> NDArray[np.float64]:
        """The values, float64; NaN codes give NaN.

        Raises ``OverflowError`` for values that float64 does not reach.
        """
        bias = self.tensor_bias + self._beta()
        used = bias != self.tensor_bias + ZERO_BLOCK  # all, in profile A
        with np.errstate(over="ignore"):
            values = np.where(used, self._under(np.where(used, bias, 0)), 0)
        large = np.isinf(values)
        if large.any():
            # The largest float64 is rounded to 2^1024, which is none, and comes back from it.
            with np.errstate(over="ignore"):
                half = self._under(bias - BIAS_PER_OCTAVE, large)
            if (np.abs(half) > 2.0**1023).any():
                raise OverflowError(
                    "values are beyond float64: the tensor bias is "
                    f"{self.tensor_bias}, {self.tensor_bias / 8} octaves"
                )
            values[large] = np.copysign(np.finfo(np.float64).max, half)
        return values

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("the values of a PalArray are decoded, so they are always a copy")
        return self.decode().astype(dtype or np.float64, copy=False)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if function in _STORING:
            raise TypeError(
                f"numpy.{_STORING[function]} would store decoded floats: use "
                ".save(path) and pal_units.load, or give it .decode()"
            )
        return function(*_decoded(args), **_decoded(kwargs))

    def save(self, file: str | PathLike[str] | BinaryIO) -> None:
        """Write codes and biases as they are; see ``pal_units.save``."""
        from pal_units.storage import save

        save(file, self)

    @staticmethod
    def load(file: str | PathLike[str] | BinaryIO) -> "PalArray":
        """What ``save`` wrote; see ``pal_units.load``."""
        from pal_units.storage import load

        return load(file)

    def __repr__(self) -> str:
        try:
            values = repr(self.decode())
        except OverflowError:
            values = f"shape={self.shape}, tensor_bias={self.tensor_bias}"
        return f"PalArray({values}, {self.fmt.name}, axis={self.axis})"

    def __neg__(self) -> "PalArray":
        """``-a``; exact but under codebooks that are neither symmetric nor mirrored.

        Those lack levels of the other sign: the values are encoded anew, with a tensor bias of
        their own, so that nothing saturates.  Raises ``ValueError`` for one that int16 cannot hold.
        """
        books = self.fmt.codebooks
        if books is not None and books.mirrored:
            biases = self.biases ^ np.int8(ZERO_BLOCK)  # the highest bit of the selector
            return PalArray(self.codes, biases, self.tensor_bias, self.fmt, self.axis)
        if books is not None and not books.symmetric:
            return self._anew(np.negative)
        return self._with_codes(model.neg(self.codes, self.fmt))

    def __abs__(self) -> "PalArray":
        """Magnitudes; exact but under codebooks that are not symmetric: there encoded anew.

        Those that are not mirrored lack levels of the other sign, and take a tensor bias of their
        own, so that nothing saturates.  Raises ``ValueError`` for one that int16 cannot hold.
        """
        if self.fmt.codebooks is not None and not self.fmt.codebooks.symmetric:
            return self._anew(np.abs)
        return self._with_codes(model.absolute(self.codes, self.fmt))

    def _anew(self, function: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> "PalArray":
        """A function of the values that keeps magnitudes, encoded as this array is."""
        from pal_units.encoding import encode

        assert self.fmt.codebooks is not None
        # Whole octaves are put aside, so that float64 holds the values.
        rest = self.tensor_bias % BIAS_PER_OCTAVE
        found = encode(
            function(replace(self, tensor_bias=rest).decode()),
            self.fmt,
            axis=self.axis,
            tensor_bias=rest if self.fmt.codebooks.mirrored else None,
            pad=True,
        )
        return replace(found, tensor_bias=found.tensor_bias + self.tensor_bias - rest)

    def __mul__(self, other: "PalArray") -> "PalArray":
        from pal_units import functions

        return functions.multiply(self, other)

    def __truediv__(self, other: "PalArray") -> "PalArray":
        from pal_units import functions

        return functions.divide(self, other)

    def __add__(self, other: "PalArray") -> "PalArray":
        from pal_units import functions

        return functions.add(self, other)

    def __sub__(self, other: "PalArray") -> "PalArray":
        from pal_units import functions

        return functions.subtract(self, other)

    def __matmul__(self, other: "PalArray") -> NDArray[np.float64]:
        from pal_units import products

        return products.matmul(self, other)

    def dot(self, other: "PalArray") -> Any:
        """``dot(self, other)``."""
        from pal_units import products

        return products.dot(self, other)

    def _with_codes(self, codes: NDArray[Any]) -> "PalArray":
        return PalArray(codes, self.biases, self.tensor_bias, self.fmt, self.axis)

    def codes16(self, tensor_bias: int) -> NDArray[np.uint16]:
        """PAL16 codes under a tensor bias; exact in range for ``F <= 10``."""
        if self.fmt.codebooks is None:
            lam, negative, zero, nan = fields(self.codes, self.fmt)
        else:
            lam, negative, zero, nan = book_fields(self.codes, self._selector(), self.fmt)
        beta = self._beta()
        distance = (
            lam / 2.0**self.fmt.fraction_bits
            + (tensor_bias - self.tensor_bias - beta) / BIAS_PER_OCTAVE
        )
        code = model.with_nan(np.where(zero, 0, rounded(distance, 0, negative, PAL16)), nan, PAL16)
        return np.where(beta == ZERO_BLOCK, 0, code).astype(np.uint16)

    def _beta(self) -> NDArray[np.int64]:
        """The block bias of each element."""
        books = self.fmt.codebooks
        return self._of_elements(self.biases if books is None else books.split(self.biases)[1])

    def _selector(self) -> NDArray[np.int64]:
        """The selector of each element's block, in profile A."""
        assert self.fmt.codebooks is not None
        return self._of_elements(self.fmt.codebooks.split(self.biases)[0])

    def _of_elements(self, of_blocks: NDArray[Any]) -> NDArray[np.int64]:
        """What is given for each block for each of its elements."""
        each = np.repeat(of_blocks.astype(np.int64), self.fmt.block, axis=self.axis)
        return each[(slice(None),) * self.axis + (slice(self.shape[self.axis]),)]

    def _under(self, bias: NDArray[np.int64], where: Any = ...) -> NDArray[np.float64]:
        """The values of the codes ``where`` under the biases there, of one for each code."""
        if self.fmt.codebooks is None:
            return value_under(self.codes[where], bias[where], self.fmt)
        return values_in_books(self.codes[where], self._selector()[where], bias[where], self.fmt)


def _decoded(value: Any) -> Any:
    """Arguments of a function of numpy with PAL arrays decoded, in lists too."""
    if isinstance(value, PalArray):
        return value.decode()
    if isinstance(value, dict):
        return {key: _decoded(v) for key, v in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(_decoded, value))
    return value
