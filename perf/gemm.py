"""Times and energies of matrix products on GPUs, by a few physical constants of each stack.

A product of ``m x k`` by ``k x n`` is cut into tiles, which the processors take in waves; long sums
may be split among processors.  Of all tiles and splits the fastest counts, as libraries choose it::

    time      = max(host, launch + quantise + max(power, min over tiles, splits of kernel))
    kernel    = (multiply^p + move^p)^(1/p) + split
    multiply  = waves (tile + depth (matrix^p + cache^p + step^p)^(1/p))
    waves     = ceil(tiles splits / processors)
    power     = 2 m n k / (sustained peak)
    move      = bytes / (memory bandwidth)
    quantise  = m k (2 + bytes of an operand) / (memory bandwidth)

where, of a tile of ``a x b``, ``matrix`` is ``2 a b`` operations by what a processor multiplies,
``cache`` its ``a + b`` operands by what a processor reads from the cache, and ``step`` the least
time for one more element of ``depth``, that of a sum in a processor.  ``bytes`` are those of the
operands and the result, of split sums their parts written and read too; ``split`` is there for
these alone.  ``quantise`` is there for
stacks that make the operand ``m x k`` from bfloat16 before each product.  ``host`` is the time in
which the host prepares a product, for stacks that wait for it.  ``Constants`` has units.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from perf.machines import Machine

#: Bytes of an element of an operand with its share of scales: those of ``fp8_block`` are 4 bytes
#: for 128 elements, of ``nvfp4`` one byte for 16.
OPERAND_BYTES = {"bfloat16": 2, "fp8": 1, "fp8_block": 1 + 4 / 128, "nvfp4": 0.5 + 1 / 16}
#: Bytes of an element of the result, and of what is quantised: bfloat16.
RESULT_BYTES = 2
#: Bytes of a partial sum of a split product, a float32 that is written and read.
PARTIAL_BYTES = 8
#: Elements of a sum that come together; its depth is rounded up to them.
DEPTH = 64
#: The product's rows below which stacks with ``host_small_us`` take another way, and those that
#: rows are padded to: vLLM's block-scaled FP8, of which the measured times show both.
SMALL_ROWS, ALIGNED_ROWS = 32, 4
#: Rows of a table that are computed at once, which bounds the memory.
_AT_ONCE = 4096
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Constants:
    """Constants of a device with a software stack; one that is None has no part in its times.

    Parameters
    ----------
    launch_us: microseconds from one product to the next that are not the product's.
    matrix: share of the peak rate that a processor multiplies at.
    memory: share of the memory's bandwidth that is reached.
    cache: bytes/ns that a processor reads from the cache that all share.
    tile_us: microseconds of a wave before its first and after its last multiplication.
    step_ns: nanoseconds that one more element of a sum takes at least.
    overlap: exponent ``p``: 1 where parts follow each other, infinite where the longest hides all.
    sustained: share of the peak rate that the limit of power allows.
    split_us: microseconds of the kernel that adds the parts of split sums.
    host_us: microseconds of the host; ``host_small_us`` those of products of few rows,
        ``host_pad_us`` those added where rows are padded.

    Raises
    ------
    ValueError: a constant out of its range, more than eight, ``host_us`` or ``host_small_us``
        without the other.
    """

    matrix: float
    memory: float
    overlap: float
    sustained: float
    launch_us: float | None = None
    cache: float | None = None
    tile_us: float | None = None
    step_ns: float | None = None
    split_us: float | None = None
    host_us: float | None = None
    host_small_us: float | None = None
    host_pad_us: float | None = None

    def __post_init__(self) -> None:
        given = {
            f.name: value for f in fields(self) if (value := getattr(self, f.name)) is not None
        }
        if len(given) > 8:
            raise ValueError(f"{len(given)} constants, at most 8 describe a stack")
        for name, value in given.items():
            if not 0 < value < 1e6:
                raise ValueError(f"{name} must be positive, not {value}")
            if name in ("matrix", "memory", "sustained") and value > 1:
                raise ValueError(f"{name} is a share, at most 1, not {value}")
        if self.overlap < 1:
            raise ValueError(f"overlap must be at least 1, not {self.overlap}")
        if (self.host_us is None) != (self.host_small_us is None):
            raise ValueError("host_us and host_small_us come together")


@dataclass(frozen=True)
class Energy:
    """Constants of power: watts of an idle device, picojoules of an operation (half of a
    multiply-accumulate) and of a byte of memory.  ``measured``: fitted on watts of this device and
    format; else ``origin`` says where they come from."""

    idle_watts: float
    pj_per_flop: float
    pj_per_byte: float
    origin: str
    measured: bool = True


@dataclass(frozen=True)
class Stack:
    """A device with the software that ran products of one format on it.

    ``tiles``: sides of tiles that are tried; ``splits``: parts of a sum that are tried;
    ``quantises``: the operand ``m x k`` is quantised before each product; ``ranges``: least and
    largest ``m``, ``n`` and ``k`` that the constants were fitted on.
    """

    device: Machine
    framework: str
    dtype: str
    constants: Constants
    energy: Energy
    tiles: tuple[int, ...] = (64, 128, 256)
    splits: tuple[int, ...] = (1,)
    quantises: bool = False
    ranges: tuple[tuple[float, float], ...] = ((1, np.inf),) * 3

    @property
    def peak(self) -> float:
        """FLOP/s of the device on the stack's format."""
        return self.device.peak(self.dtype.removesuffix("_block"))

    def beyond(self, m: Array, n: Array, k: Array) -> NDArray[np.bool_]:
        """Whether products have a side out of ``ranges``, of shape (products,)."""
        sides = zip((m, n, k), self.ranges, strict=True)
        return np.any([(size < low) | (size > high) for size, (low, high) in sides], axis=0)


class Prediction(NamedTuple):
    """Seconds and joules of each product."""

    seconds: Array
    joules: Array


def predict(stack: Stack, m: Array, n: Array, k: Array) -> Prediction:
    """Times and energies of products ``m x k`` by ``k x n``; arrays of shape (products,)."""
    m, n, k = (np.asarray(size, float) for size in (m, n, k))
    parts = [slice(at, at + _AT_ONCE) for at in range(0, len(m), _AT_ONCE)]
    times = [seconds(stack, m[part], n[part], k[part]) for part in parts]
    found = np.concatenate(times) if times else np.zeros(0)
    return Prediction(found, watts(stack, m, n, k, found) * found)


def seconds(stack: Stack, m: Array, n: Array, k: Array) -> Array:
    """Times of products, of shape (products,); those of the module's formula."""
    c = stack.constants
    bandwidth = stack.device.bandwidth * c.memory
    operand = OPERAND_BYTES[stack.dtype]
    kernel = _least_kernel(stack, m, n, k, bandwidth)
    time = np.maximum(kernel, 2 * m * n * k / (stack.peak * c.sustained))
    if stack.quantises:
        time = time + m * k * (RESULT_BYTES + operand) / bandwidth
    time = time + (c.launch_us or 0) * 1e-6
    if c.host_us is None or c.host_small_us is None:
        return time
    padded = np.where(m % ALIGNED_ROWS, c.host_pad_us or 0, 0)
    return np.maximum(time, np.where(m < SMALL_ROWS, c.host_small_us, c.host_us + padded) * 1e-6)


def _least_kernel(stack: Stack, m: Array, n: Array, k: Array, bandwidth: float) -> Array:
    """Seconds of the fastest tiling; ``bandwidth`` in bytes/s."""
    c = stack.constants
    processors = stack.device.processors
    operand = OPERAND_BYTES[stack.dtype]
    options = np.array(list(product(stack.tiles, stack.tiles, stack.splits)), float)
    a, b, split = options.T[:, None, :]  # of shape (1, options), sizes (products, 1)
    m, n, k = m[:, None], n[:, None], k[:, None]
    waves = np.ceil(np.ceil(m / a) * np.ceil(n / b) * split / processors)
    depth = DEPTH * np.ceil(k / split / DEPTH)
    element = [2 * a * b * processors / (stack.peak * c.matrix)]
    if c.cache is not None:
        element.append((a + b) * operand / (c.cache * 1e9))
    if c.step_ns is not None:
        element.append(np.full_like(a, c.step_ns * 1e-9))
    multiply = waves * (depth * _joined(element, c.overlap) + (c.tile_us or 0) * 1e-6)
    partial = np.where(split > 1, split * PARTIAL_BYTES, 0) * m * n
    move = (moved(stack, m, n, k) + partial) / bandwidth
    added = np.where(split > 1, (c.split_us or 0) * 1e-6, 0)
    return (_joined([multiply, move], c.overlap) + added).min(axis=1)


def moved(stack: Stack, m: Array, n: Array, k: Array) -> Array:
    """Bytes of the operands and the result of products."""
    return (m * k + n * k) * OPERAND_BYTES[stack.dtype] + m * n * RESULT_BYTES


def watts(stack: Stack, m: Array, n: Array, k: Array, seconds: Array) -> Array:
    """Power of products that take ``seconds`` each, one after the other, below the device's
    limit; of shape (products,)."""
    energy = stack.energy
    work = 2 * m * n * k * energy.pj_per_flop + moved(stack, m, n, k) * energy.pj_per_byte
    return np.minimum(stack.device.watts, energy.idle_watts + work * 1e-12 / seconds)


def _joined(times: Iterable[Array], overlap: float) -> Array:
    """Norm of times that overlap, by their largest so that no power overflows."""
    parts = np.broadcast_arrays(*times)
    largest = np.maximum.reduce(parts)
    return largest * sum((part / largest) ** overlap for part in parts) ** (1 / overlap)
