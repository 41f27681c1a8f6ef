"""Real tensors for the accuracy study: weights and activations of two networks, cut.

* all-MiniLM-L6-v2 (float32 weights): the weights of its 36 linear layers, and what comes into
  them for 32 sentences, padding left out; query, key and value of a layer have one input,
  which is taken once, so 24.  The products inside its attention are left out: heads of 32
  and sentences of any length are no multiples of 64, which some formats have for a block.
* SmolLM2-135M-Instruct (weights of 4 bits, see ``verif.numerics.smollm2``): the weights of its
  210 matrices, their 120 distinct inputs, and 120 queries, keys, values and attention
  probabilities, for the first 384 tokens of the same sentences.

That is every operand of every other product of their layers; embeddings, norms and biases, which
are no operands of such products, are left out.  The last axis is the one that is summed.  Of
each tensor come at most ``MOST`` values, whole rows: which, a seed and the tensor's name decide.
So where a format has a scale for a tensor, it is that of these rows, not of the tensor.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from verif.numerics import minilm, smollm2

#: Most values of a tensor.
MOST = 1 << 15
SEED = 8


@dataclass(frozen=True)
class Tensor:
    """Rows of a named tensor ``(rows, K)``; ``kind`` is ``weight`` or ``activation``."""

    source: str
    model: str
    kind: str
    values: NDArray[np.float64]


def cut(values: NDArray, source: str, most: int = MOST, seed: int = SEED) -> NDArray[np.float64]:
    """At most so many values as whole rows, in the tensor's order; one row at least."""
    rows = values.reshape(-1, values.shape[-1])
    rng = np.random.default_rng([seed, int.from_bytes(source.encode(), "little")])
    taken = rng.permutation(len(rows))[: max(1, most // rows.shape[1])]
    return rows[np.sort(taken)].astype(np.float64)


def require() -> None:
    """Raise ``MissingPackage`` if a network cannot be read."""
    minilm.require()
    smollm2.require()


def tensors(progress: Callable[[str, float], None] = lambda *_: None) -> list[Tensor]:
    """All of them, some 130 MB.  Raises ``MissingPackage``."""
    found: list[Tensor] = []

    def add(model: str, source: str, kind: str, values: NDArray) -> None:
        found.append(Tensor(source, model, kind, cut(values, source)))

    progress(f"tensors of {minilm.NAME}", 0.0)
    for layer, (inputs, weights) in minilm.layers().items():
        add(minilm.NAME, f"{layer}.weight", "weight", weights)
        if not layer.endswith((".key", ".value")):
            add(minilm.NAME, f"{layer}.input", "activation", inputs)
    progress(f"tensors of {smollm2.NAME}", 0.5)
    smollm2.operands(lambda source, kind, x: add(smollm2.NAME, source, kind, x))
    return found
