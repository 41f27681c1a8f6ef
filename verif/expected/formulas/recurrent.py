"""Of LSTM, GRU and RNN: the equations of the standard, sequence by sequence."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from verif.expected.formulas.registry import OWN, Formula, Given

ACTIVATIONS: dict[str, Callable[[NDArray], NDArray]] = {
    "Sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "Tanh": np.tanh,
    "Relu": lambda x: np.maximum(x, 0),
}
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
DEFAULTS = {"LSTM": ("Sigmoid", "Tanh", "Tanh"), "GRU": ("Sigmoid", "Tanh"), "RNN": ("Tanh",)}


def _recurrent(op: str) -> Formula:
    states = 2 if op == "LSTM" else 1

    def made(version: int, given: Given, *inputs: NDArray | None) -> list[NDArray]:
        """The evaluator takes neither lengths nor activations nor clip nor two directions."""
        more: list[NDArray | None] = [None] * (8 - len(inputs))
        x, w, r, b, lengths, *rest = [*inputs, *more]
        assert x is not None
        assert w is not None
        assert r is not None
        batched = bool(given.get("layout", 0))
        if batched:
            x = x.swapaxes(0, 1)
        length, batch, _ = x.shape
        ways, hidden = r.shape[0], r.shape[2]
        names = [
            n.decode() if isinstance(n, bytes) else n
            for n in given.get("activations") or DEFAULTS[op] * ways
        ]
        each = len(names) // ways
        if lengths is None:
            lengths = np.full(batch, length)
        y = np.zeros((length, ways, batch, hidden))
        last = np.zeros((states, ways, batch, hidden))
        peepholes = rest[states] if op == "LSTM" else None
        for way in range(ways):
            back = given.get("direction", "forward") == "reverse" or way == 1
            f = [ACTIVATIONS[n] for n in names[way * each : (way + 1) * each]]
            own = (
                w[way],
                r[way],
                np.zeros(2 * GATES[op] * hidden) if b is None else b[way],
                np.zeros(3 * hidden) if peepholes is None else peepholes[way],
            )
            for k in range(batch):
                state = []
                for s in range(states):
                    initial = rest[s]
                    if initial is None:
                        state.append(np.zeros(hidden))
                    else:
                        state.append(initial[k, way] if batched else initial[way, k])
                steps = range(int(lengths[k]))
                for t in reversed(steps) if back else steps:
                    state = _step(op, x[t, k], state, own, f, given)
                    y[t, way, k] = state[0]
                last[:, way, k] = state
        if batched:
            return [y.transpose(2, 0, 1, 3), *(s.swapaxes(0, 1) for s in last)]
        return [y, *last]

    return made


def _step(
    op: str,
    x: NDArray,
    state: list[NDArray],
    own: tuple[NDArray, ...],
    f: list[Callable[[NDArray], NDArray]],
    given: Given,
) -> list[NDArray]:
    """States after one more element: the equations of the standard, gate by gate."""
    w, r, b, p = own
    h, n = state[0], r.shape[1]
    wb, rb = np.split(b, 2)
    most = given.get("clip")

    def within(v: NDArray) -> NDArray:
        return v if most is None else np.clip(v, -most, most)

    def of(k: int, now: NDArray, more: NDArray | float = 0.0) -> NDArray:
        g = slice(k * n, (k + 1) * n)
        return within(w[g] @ x + r[g] @ now + wb[g] + rb[g] + more)

    if op == "RNN":
        return [f[0](of(0, h))]
    if op == "GRU":
        z, reset = f[0](of(0, h)), f[0](of(1, h))
        g = slice(2 * n, 3 * n)
        if given.get("linear_before_reset"):
            inner = within(w[g] @ x + wb[g] + reset * (r[g] @ h + rb[g]))
        else:
            inner = of(2, reset * h)
        return [(1 - z) * f[1](inner) + z * h]
    c = state[1]
    i = f[0](of(0, h, p[:n] * c))
    keep = 1 - i if given.get("input_forget") else f[0](of(2, h, p[2 * n :] * c))
    cell = keep * c + i * f[1](of(3, h))
    return [f[0](of(1, h, p[n : 2 * n] * cell)) * f[2](within(cell)), cell]


OWN.update((op, _recurrent(op)) for op in GATES)
