"""Real numbers for energy: what flows through a unit."""

from collections.abc import Callable

import numpy as np
import onnx
from onnx import numpy_helper

from verif.area.datapaths import Array
from verif.digits.data import MODEL, split
from verif.numerics import minilm
from verif.numerics.distributions import data

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
