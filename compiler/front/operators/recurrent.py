"""LSTM, GRU and RNN, unrolled: one product of all inputs, then one and a few elementwise steps for
each element of the sequence."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compiler.errors import CompileError
from compiler.front.lowering import Lowering
from compiler.front.onnx_graph import Operator
from compiler.front.operators.cells import taken
from compiler.front.operators.moves import turn
from compiler.front.registry import operator
from compiler.ir.builder import Builder
from spu.arch.package.expression import Expression, apply, variable

X, Y = variable(0), variable(1)
#: Elements of sequences that are unrolled.
MOST_UNROLLED = 2048
#: Gates of each, in the order of its weights, and default activations f, g, h.
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
DEFAULTS = {"LSTM": ("Sigmoid", "Tanh", "Tanh"), "GRU": ("Sigmoid", "Tanh"), "RNN": ("Tanh",)}


@dataclass(frozen=True)
class Cell:
    """One direction: of a ``node``, what turns states and gates into the next states.

    ``weights`` (hidden, gates * hidden) of the state and its ``bias`` (gates * hidden,), if that is
    not already in the gates of the inputs; ``peepholes`` (3 * hidden,); ``activations`` of gates.
    """

    program: Builder
    node: Operator
    hidden: int
    weights: int
    bias: int | None
    peepholes: int | None
    activations: tuple[Callable[[Expression], Expression], ...]

    def gate(self, tensor: int, number: int, count: int = 1) -> int:
        """Some of the gates, the last axis cut."""
        first, last = number * self.hidden, (number + count) * self.hidden
        return self.program.layout([tensor], lambda i: i[..., first:last])

    def next(self, gates: int, states: list[int]) -> list[int]:
        """States (batch, hidden) after one more element, whose share of the gates is known."""
        match self.node.op:
            case "LSTM":
                return self._lstm(gates, *states)
            case "GRU":
                return self._gru(gates, *states)
        return self._rnn(gates, *states)

    def _rnn(self, gates: int, state: int) -> list[int]:
        own = self.program.product(state, self.weights)
        return [self.program.map(self.activations[0](X + Y), gates, own)]

    def _gru(self, gates: int, state: int) -> list[int]:
        program, (f, g) = self.program, self.activations
        split = [self.gate(self.weights, 0, 2), self.gate(self.weights, 2)]
        zr = program.map(f(X + Y), self.gate(gates, 0, 2), program.product(state, split[0]))
        z, r = self.gate(zr, 0), self.gate(zr, 1)
        if self.node.attributes.get("linear_before_reset", 0):
            own = program.product(state, split[1])
            sources = [self.gate(gates, 2), own, r]
            total = Y
            if self.bias is not None:
                sources.append(self.gate(self.bias, 2))
                total = Y + variable(3)
            h = program.map(g(X + variable(2) * total), *sources)
        else:
            own = program.product(program.map(X * Y, r, state), split[1])
            h = program.map(g(X + Y), self.gate(gates, 2), own)
        return [program.map((1.0 - X) * Y + X * variable(2), z, h, state)]

    def _lstm(self, gates: int, state: int, cell: int) -> list[int]:
        program, (f, g, h) = self.program, self.activations
        own = program.product(state, self.weights)

        def gate(number: int, peephole: int, of: int) -> int:
            sources, total = [self.gate(gates, number), self.gate(own, number)], X + Y
            if self.peepholes is not None:
                sources += [self.gate(self.peepholes, peephole), of]
                total = total + variable(2) * variable(3)
            return program.map(f(total), *sources)

        inner = program.map(g(X + Y), self.gate(gates, 3), self.gate(own, 3))
        enter = gate(0, 0, cell)
        if self.node.attributes.get("input_forget", 0):
            made = program.map((1.0 - X) * Y + X * variable(2), enter, cell, inner)
        else:
            total = X * Y + variable(2) * variable(3)
            made = program.map(total, gate(2, 2, cell), cell, enter, inner)
        return [program.map(X * h(Y), gate(1, 1, made), made), made]


@operator("LSTM", "GRU", "RNN")
def recurrent(low: Lowering, node: Operator) -> list[int]:
    """LSTM, GRU and RNN, forward, reverse or both, with initial states, constant lengths,
    peepholes, any activations of the standard, ``clip``, and both orders of axes (``layout``).

    x (sequence, batch, inputs), weights (directions, gates * hidden, inputs and hidden), bias
    (directions, 2 * gates * hidden); the result (sequence, directions, batch, hidden) and the last
    states.  Unrolled: a product and two kernels or so for each element.

    Raises
    ------
    CompileError: shapes that do not fit each other, an unknown ``direction`` or activation, lengths
        that are not between 1 and that of the sequence, a ``clip`` that is not positive, or more
        than ``MOST_UNROLLED`` elements of sequences.
    """
    program, attributes = low.program, node.attributes
    names = {"LSTM": 8, "GRU": 6, "RNN": 6}[node.op]
    given = [low.tensor(i) if i and k != 4 else None for k, i in enumerate(node.inputs)]
    x, weight, recurrence, bias, _, *initial, holes = _padded(given, names, node.op)
    assert x is not None
    assert weight is not None
    assert recurrence is not None
    swapped = bool(attributes.get("layout", 0))
    if len(program.shape(x)) != 3:
        raise CompileError(f"x must have 3 dimensions, not {len(program.shape(x))}")
    if swapped:
        x = program.layout([x], lambda i: i.swapaxes(0, 1))
    length, batch, inputs = program.shape(x)
    directions = _directions(attributes["direction"])
    if not 1 <= length * len(directions) <= MOST_UNROLLED:
        raise CompileError(
            f"{length * len(directions)} elements of sequences, which are unrolled; at most "
            f"{MOST_UNROLLED} are, and 1 at least"
        )
    gates, hidden = GATES[node.op], program.shape(recurrence)[-1]
    count = len(directions)
    states = (count, batch, hidden) if not swapped else (batch, count, hidden)
    _fits(low, "W", weight, (count, gates * hidden, inputs))
    _fits(low, "R", recurrence, (count, gates * hidden, hidden))
    _fits(low, "B", bias, (count, 2 * gates * hidden))
    _fits(low, "P", holes, (count, 3 * hidden))
    for name, tensor in zip(("initial_h", "initial_c"), initial, strict=False):
        _fits(low, name, tensor, states)
    if attributes.get("hidden_size", hidden) != hidden:
        raise CompileError(f"hidden_size {attributes['hidden_size']} is not that of R, {hidden}")
    lengths = _lengths(low, node, length, batch)
    chosen = list(_activations(node, count))
    outputs, lasts = [], []
    for d, backward in enumerate(directions):
        part = [_of(program, t, d) for t in (weight, recurrence, bias, holes)]
        own = [_state(program, t, d, swapped, (batch, hidden)) for t in initial]
        cell, entering = _cell(low, node, x, part, chosen[d], lengths if backward else None)
        y, last = _unrolled(cell, entering, own, lengths)
        if backward:
            y = program.layout([y], lambda i: turn(i, lengths))
        outputs.append(y)
        lasts.append(last)
    order = (2, 0, 1, 3) if swapped else (0, 1, 2, 3)
    made = [program.layout(outputs, lambda *p: np.stack(p, 1).transpose(order))]
    axis = 1 if swapped else 0
    return made + [
        program.layout(s, lambda *p: np.stack(p, axis)) for s in zip(*lasts, strict=True)
    ]


def _padded(given: Sequence[int | None], count: int, op: str) -> list[int | None]:
    """Inputs in the order of LSTM: initial states, then peepholes."""
    full = [*given, *[None] * (count - len(given))]
    return full if op == "LSTM" else [*full, None]


def _directions(name: str) -> list[bool]:
    """Whether each direction is backwards."""
    # The default of the first GRU is spelt so.
    found = {
        "forward": [False],
        "foward": [False],
        "reverse": [True],
        "bidirectional": [False, True],
    }
    if name not in found:
        raise CompileError(f"direction {name!r} is unknown")
    return found[name]


def _fits(low: Lowering, name: str, tensor: int | None, wanted: tuple[int, ...]) -> None:
    if tensor is not None and low.program.shape(tensor) != wanted:
        raise CompileError(f"{name} has the shape {low.program.shape(tensor)}, not {wanted}")


def _lengths(low: Lowering, node: Operator, length: int, batch: int) -> NDArray:
    """Of the sequences (batch,)."""
    lengths = low.known(node, 4)
    if lengths is None:
        return np.full(batch, length)
    if lengths.shape != (batch,) or ((lengths < 1) | (lengths > length)).any():
        raise CompileError(
            f"sequence_lens {lengths.tolist()} must be {batch} between 1 and {length}"
        )
    return lengths.astype(np.int64)


def _activations(
    node: Operator, count: int
) -> Iterator[tuple[Callable[[Expression], Expression], ...]]:
    """Functions of each direction, clipped as ``clip`` says."""
    defaults = DEFAULTS[node.op]
    names = [
        n.decode(errors="replace") if isinstance(n, bytes) else n
        for n in node.attributes.get("activations", [])
    ] or [*defaults] * count
    if node.op == "RNN" and node.attributes.get("activations") == [b"Tanh", b"Tanh"]:
        names = names[:count]  # the default, which is of two directions
    if len(names) != len(defaults) * count:
        raise CompileError(f"activations must be {len(defaults) * count}, not {len(names)}")
    values = {
        name: [float(v) for v in node.attributes.get(f"activation_{name}", [])]
        for name in ("alpha", "beta")
    }
    found = [taken(name, values) for name in names]
    if any(values.values()):
        raise CompileError("more activation_alpha or activation_beta than activations take")
    clip = node.attributes.get("clip")
    if clip is not None and not (np.isfinite(clip) and clip > 0):
        raise CompileError(f"clip must be positive, not {clip:g}")

    def clipped(function: Callable[[Expression], Expression]) -> Callable[[Expression], Expression]:
        if clip is None:
            return function
        return lambda x: function(apply("min", apply("max", x, -float(clip)), float(clip)))

    for d in range(count):
        own = found[d * len(defaults) : (d + 1) * len(defaults)]
        yield tuple(clipped(one) for one in own)


def _of(program: Builder, tensor: int | None, direction: int) -> int | None:
    """The share of a direction."""
    return None if tensor is None else program.layout([tensor], lambda i: i[direction])


def _state(
    program: Builder, tensor: int | None, direction: int, swapped: bool, shape: tuple[int, int]
) -> int:
    """The initial state of a direction: zeros where none is given."""
    if tensor is None:
        return program.constant(np.zeros(shape))
    return program.layout([tensor], lambda i: i[:, direction] if swapped else i[direction])


def _cell(
    low: Lowering,
    node: Operator,
    x: int,
    part: Sequence[int | None],
    activations: tuple[Callable[[Expression], Expression], ...],
    lengths: NDArray | None,
) -> tuple[Cell, int]:
    """A direction, and what the inputs add to the gates, (sequence, batch, gates * hidden); for
    sequences of ``lengths`` backwards."""
    program = low.program
    weight, recurrence, bias, holes = part
    assert weight is not None
    assert recurrence is not None
    gates, hidden = GATES[node.op], program.shape(recurrence)[-1]
    if lengths is not None:
        x = program.layout([x], lambda i: turn(i, lengths))
    entering = program.product(x, program.layout([weight], np.transpose))
    late = None
    if bias is not None:
        first, second = (
            program.layout([bias], lambda i, k=k: i.reshape(2, gates * hidden)[k]) for k in (0, 1)
        )
        if node.op == "GRU" and node.attributes.get("linear_before_reset", 0):
            # That of the hidden gate of the state is multiplied by the reset gate.
            late = second
            second = program.layout(
                [second], lambda i: np.where(np.arange(3 * hidden) < 2 * hidden, i, -1)
            )
        entering = program.map(X + Y, entering, program.map(X + Y, first, second))
    rows = program.layout([recurrence], np.transpose)
    return Cell(program, node, hidden, rows, late, holes, activations), entering


def _unrolled(
    cell: Cell, entering: int, initial: list[int], lengths: NDArray
) -> tuple[int, list[int]]:
    """Outputs (sequence, batch, hidden), zero after the end of each, and the last states."""
    program, states = cell.program, initial[: 2 if cell.node.op == "LSTM" else 1]
    steps = []
    for t in range(program.shape(entering)[0]):
        made = cell.next(program.layout([entering], lambda i, t=t: i[t]), states)
        going = (lengths > t)[:, None]
        if not going.all():
            made = [
                program.layout([new, old], lambda a, b, go=going: _either(go, a, b))
                for new, old in zip(made, states, strict=True)
            ]
        states = made
        steps.append(program.layout([states[0]], lambda i, go=going: np.where(go, i, -1)))
    return program.layout(steps, lambda *p: np.stack(p)), states


def _either(going: NDArray, new: NDArray, old: NDArray) -> NDArray:
    """The new state of sequences that go on, the old one of others."""
    return np.where(going, new, old)
