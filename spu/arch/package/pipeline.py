"""A chain of dense layers as one program, through which vectors follow each other."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from spu.arch import bitstream
from spu.arch.bitstream import Image
from spu.arch.package.program import Tensor
from spu.arch.package.weights import Weights
from spu.arch.params import Architecture
from spu.arch.program import executed_cycles

#: What ``report.json`` calls a model of this kind.
KIND = "pipeline"


@dataclass(frozen=True)
class Layer:
    """``weight``, a constant (1, K, N), and ``bias`` (N,), float64, of a dense layer as the model
    has them; ``blocks``: the weights as the array has them, where these are known."""

    weight: Tensor
    bias: NDArray[np.float64]
    blocks: Weights | Callable[[], Weights] | None = None


@dataclass(frozen=True)
class Pipeline:
    """A vector every ``ii`` cycles, done after ``span``.

    ``report``: of the compiler; ``io`` in it says how vectors become stream words and back,
    ``layers`` what is known of the ``layers`` beside their values, by which runs are judged.
    """

    arch: Architecture
    content: bytes
    report: dict
    layers: tuple[Layer, ...]

    @cached_property
    def image(self) -> Image:
        """What the program file configures; ``BitstreamError`` if it is damaged."""
        return bitstream.decode(self.content, self.arch).image

    def cycles(self, vectors: int) -> int:
        """Executed cycles of a run without holds."""
        return executed_cycles(vectors, int(self.report["ii"]), int(self.report["span"]))

    @property
    def input(self) -> str:
        """Name of the only input."""
        return str(self.report["io"]["input"])

    @property
    def output(self) -> str:
        """Name of the only output."""
        return str(self.report["io"]["output"])
