"""Real operands for energy: what flows through a dot unit, cycle by cycle."""

from collections.abc import Callable

import numpy as np
import onnx
from amaranth.hdl import Value
from amaranth.lib import wiring
from numpy.typing import NDArray
from onnx import numpy_helper

from verif.area.operands import Array, Operands
from verif.area.units import Unit
from verif.digits.data import MODEL, split
from verif.numerics import minilm
from verif.numerics.distributions import data
from verif.stimulus.vectors import join

#: Dot products of a stream: rows of inputs times rows of weights.
INPUTS, WEIGHTS = 6, 6
#: Layer of the sentence encoder whose operands are taken.
MINILM_LAYER = "encoder.layer.3.intermediate.dense"
_LENGTH = 256


def gaussian() -> tuple[Array, Array]:
    """Standard normal numbers."""
    return (data("gaussian", (INPUTS, _LENGTH), 6), data("gaussian", (WEIGHTS, _LENGTH), 7))


def digits() -> tuple[Array, Array]:
    """Inputs of the digits model's second layer, after its ReLU, and the weights."""
    known = {
        t.name: numpy_helper.to_array(t).astype(np.float64)
        for t in onnx.load(MODEL).graph.initializer
    }
    x = np.maximum(split()[2].astype(np.float64) @ known["w1"] + known["b1"], 0)
    step = len(x) // (4 * INPUTS)
    return x[::step][: 4 * INPUTS], known["w2"][:WEIGHTS].copy()


def sentences() -> tuple[Array, Array]:
    """Inputs and weights of a linear layer of all-MiniLM-L6-v2.  Raises ``MissingPackage``."""
    x, w = minilm.operands(MINILM_LAYER)
    rows = np.linspace(0, len(x) - 1, INPUTS).astype(int)
    return x[rows, :_LENGTH].astype(np.float64), w[:: len(w) // WEIGHTS][:WEIGHTS, :_LENGTH].astype(
        np.float64
    )


#: Streams by name.
STREAMS: dict[str, Callable[[], tuple[Array, Array]]] = {
    "gaussian": gaussian,
    "digits": digits,
    "minilm": sentences,
}


def port_values(
    unit: Unit, component: wiring.Component, a: Array, b: Array
) -> dict[str, list[int]]:
    """Values of the ports in each cycle: every row of ``a`` with every row of ``b``."""
    x, w = unit.encode(a), unit.encode(b)
    slices = a.shape[1] // unit.lanes
    i, j = (v.ravel() for v in np.indices((len(a), len(b))))
    first = np.tile(np.arange(slices) == 0, len(i))
    bits = len(Value.cast(component.a[0]))
    values = unit.port_value or (lambda codes: codes)
    ports = {
        "a": join(values(x.codes[i]).reshape(-1, unit.lanes), bits),
        "b": join(values(w.codes[j]).reshape(-1, unit.lanes), bits),
        "first": first.tolist(),
    }
    if unit.blocked:
        ports["beta_a"] = _per_slice(x, i, slices, unit.lanes)
        ports["beta_b"] = _per_slice(w, j, slices, unit.lanes)
    return ports


def _per_slice(operands: Operands, rows: NDArray[np.int64], slices: int, lanes: int) -> list[int]:
    repeated = np.repeat(operands.biases, operands.block // lanes, axis=1)[:, :slices]
    return repeated[rows].ravel().tolist()
