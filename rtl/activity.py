"""Simulation of a mapped netlist that counts transitions, and their energy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pal_units.compiled import compiled
from rtl.liberty import INVERTED_STATE, MAX_INPUTS
from rtl.synthesis import Netlist

#: How transitions within a cycle count: only from one settled state to the next, or every
#: one of a simulation in which each cell takes one unit of time, glitches included.
DELAYS = ("zero", "unit")


class UnknownCell(ValueError):
    """A netlist holds what the simulation has no model for."""


@dataclass(frozen=True)
class Activity:
    """What a simulation found.

    Parameters
    ----------
    outputs: values of each output port before every clock edge, as Python integers.
    toggles: transitions of each net in all cycles.
    cycles: clock cycles.
    """

    outputs: dict[str, list[int]]
    toggles: NDArray[np.int64]
    cycles: int


class Simulator:
    """Cycle-based simulation of a netlist with one clock.

    Raises ``UnknownCell`` for cells of more than six inputs or loops of gates.
    """

    def __init__(self, netlist: Netlist) -> None:
        self.netlist = netlist
        self._nets: dict[Any, int] = {"0": 0, "1": 1, "x": 0}
        self._loads: list[float] = [0.0, 0.0]
        self._energy: list[float] = [0.0, 0.0]
        gates: list[tuple[int, list[int], int]] = []
        self._flops: list[tuple[int, int, int]] = []
        self._clock_load = 0.0
        for instance in netlist.module["cells"].values():
            cell = netlist.library.cells[instance["type"]]
            pins = {pin: self._net(bits[0]) for pin, bits in instance["connections"].items()}
            for pin, capacitance in cell.inputs.items():
                if pin == cell.clock:
                    self._clock_load += capacitance
                elif pin in pins:
                    self._loads[pins[pin]] += capacitance
            for pin in cell.functions:
                if pin in pins:
                    self._energy[pins[pin]] += cell.internal_energy
            if cell.clock is None:
                if len(cell.inputs) > MAX_INPUTS:
                    raise UnknownCell(f"cell {cell.name} has more than {MAX_INPUTS} inputs")
                sources = [pins[p] for p in cell.inputs]
                gates += [
                    (pins[pin], sources, table) for pin, table in cell.tables.items() if pin in pins
                ]
            elif cell.data:
                self._flops += [
                    (pins[cell.data], pins[pin], int(function == INVERTED_STATE))
                    for pin, function in cell.functions.items()
                    if pin in pins
                ]
            else:
                raise UnknownCell(f"cell {cell.name} is no D flip-flop")
        self._gates = _ordered(gates)

    def _net(self, bit: Any) -> int:
        if bit not in self._nets:
            self._nets[bit] = len(self._loads)
            self._loads.append(0.0)
            self._energy.append(0.0)
        return self._nets[bit]

    @cached_property
    def _arrays(self) -> tuple[NDArray[Any], ...]:
        sources = np.zeros((len(self._gates), MAX_INPUTS), np.int32)
        for row, (_, inputs, _) in zip(sources, self._gates, strict=True):
            row[: len(inputs)] = inputs
        return (
            np.array([g[0] for g in self._gates], np.int32),
            sources,
            np.array([g[2] for g in self._gates], np.uint64),
            np.array(self._flops, np.int32).reshape(-1, 3),
        )

    def run(self, inputs: Mapping[str, Sequence[int]], delay: str = "zero") -> Activity:
        """Apply one value of each input port a cycle, from a state of zeros.

        Values are integers of any width, negative ones in two's complement; ports that are
        not given stay 0.  Raises ``ValueError`` for a ``delay`` that is none of ``DELAYS``.
        """
        if delay not in DELAYS:
            raise ValueError(f"delay must be one of {', '.join(DELAYS)}, not {delay!r}")
        ports = self.netlist.module["ports"]
        cycles = len(next(iter(inputs.values())))
        nets, columns = [], []
        for name, values in inputs.items():
            bits = ports[name]["bits"]
            nets += [self._net(bit) for bit in bits]
            columns.append(_bits(values, len(bits)))
        outputs = {
            name: [self._net(bit) for bit in port["bits"]]
            for name, port in ports.items()
            if port["direction"] == "output"
        }
        seen = np.array([net for group in outputs.values() for net in group], np.int32)
        found = np.zeros((cycles, len(seen)), np.uint8)
        toggles = np.zeros(len(self._loads), np.int64)
        targets, sources, tables, flops = self._arrays
        _simulate(
            targets,
            sources,
            tables,
            flops,
            np.array(nets, np.int32),
            np.concatenate(columns, axis=1),
            seen,
            found,
            toggles,
            delay == "unit",
        )
        results, at = {}, 0
        for name, group in outputs.items():
            part = found[:, at : at + len(group)]
            results[name] = [int("".join(map(str, row[::-1])), 2) for row in part.tolist()]
            at += len(group)
        return Activity(results, toggles, cycles)

    def energy(self, activity: Activity) -> float:
        """Energy of a cycle: ``C V^2 / 2`` of every transition and of the clock's two, plus
        what cells consume inside.

        In pJ with a library of a process (its capacitances in pF), otherwise in transitions
        of an inverter's input (times ``C V^2 / 2``).
        """
        library = self.netlist.library
        half = library.voltage**2 / 2
        loads, inside = np.array(self._loads), np.array(self._energy)
        total = float((activity.toggles * (half * loads + inside)).sum())
        picojoules = (
            total / activity.cycles + 2 * half * self._clock_load
        ) * library.capacitance_pf
        return picojoules / half if library.neutral else picojoules


def _ordered(gates: list[tuple[int, list[int], int]]) -> list[tuple[int, list[int], int]]:
    """Gates so that each comes after those that drive it."""
    driver = {gate[0]: i for i, gate in enumerate(gates)}
    state, order = [0] * len(gates), []
    for root in range(len(gates)):
        stack = [root]
        while stack:
            i = stack[-1]
            waiting = (
                []
                if state[i]
                else [driver[n] for n in gates[i][1] if n in driver and state[driver[n]] != 2]
            )
            if state[i] == 0:
                state[i] = 1
                if any(state[j] == 1 for j in waiting):
                    raise UnknownCell("the netlist has a loop of gates")
                stack += waiting
            else:
                stack.pop()
                if state[i] == 1:
                    state[i] = 2
                    order.append(gates[i])
    return order


def _bits(values: Sequence[int], width: int) -> NDArray[np.uint8]:
    """Values as bits, least first, shape (cycles, width)."""
    mask = (1 << width) - 1
    size = -(-width // 8)
    raw = b"".join((int(v) & mask).to_bytes(size, "little") for v in values)
    columns = np.frombuffer(raw, np.uint8).reshape(-1, size)
    return np.unpackbits(columns, axis=1, bitorder="little")[:, :width]


@compiled
def _simulate(
    targets, sources, tables, flops, input_nets, stimulus, seen, found, toggles, every_step
):
    value = np.zeros(len(toggles), np.uint8)
    value[1] = 1
    following = np.zeros(len(targets), np.uint8)
    # Settle before the first cycle, so that it counts no transitions from nowhere.
    for g in range(len(targets)):
        value[targets[g]] = _evaluate(value, sources[g], tables[g])
    state = np.zeros(len(flops), np.uint8)
    for cycle in range(len(stimulus)):
        for f in range(len(flops)):
            new = state[f] ^ flops[f, 2]
            toggles[flops[f, 1]] += new != value[flops[f, 1]]
            value[flops[f, 1]] = new
        for i in range(len(input_nets)):
            new = stimulus[cycle, i]
            toggles[input_nets[i]] += new != value[input_nets[i]]
            value[input_nets[i]] = new
        changed = True
        while changed:
            changed = False
            for g in range(len(targets)):
                new = _evaluate(value, sources[g], tables[g])
                if every_step:
                    following[g] = new
                elif new != value[targets[g]]:
                    value[targets[g]] = new
                    toggles[targets[g]] += 1
            if every_step:
                for g in range(len(targets)):
                    if following[g] != value[targets[g]]:
                        value[targets[g]] = following[g]
                        toggles[targets[g]] += 1
                        changed = True
        for i in range(len(seen)):
            found[cycle, i] = value[seen[i]]
        for f in range(len(flops)):
            state[f] = value[flops[f, 0]]


@compiled(inline="always")
def _evaluate(value, inputs, table):
    index = np.uint64(0)
    for k in range(len(inputs)):
        index |= np.uint64(value[inputs[k]]) << np.uint64(k)
    return np.uint8((table >> index) & np.uint64(1))
