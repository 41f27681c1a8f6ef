"""What PAL arithmetic makes of a tensor program, bit for bit: without array and without program."""

from collections.abc import Mapping

from numpy.typing import NDArray

from spu.arch.package.compiled import Package
from spu.model import exact


def predict(compiled: Package, inputs: Mapping[str, NDArray]) -> dict[str, NDArray]:
    """Outputs by name, float64, integers, or bool of truth values.

    Raises ``InputError`` for a product whose ratio of results to operands no run takes, and for
    what the host does not compute: an index that there is not, a division by zero.
    """
    return exact.outputs(compiled, exact.run(compiled, inputs))
