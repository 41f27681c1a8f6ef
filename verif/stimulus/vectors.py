"""Run arithmetic units in a simulator on arrays of vectors, one vector a cycle."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from amaranth.hdl import Shape
from amaranth.lib import data, wiring

from rtl import emit, simulator
from spu.engine.rtl_run import BUILD

#: Differences that a failure shows.
KEPT = 4

#: What ``Vectors`` takes, in its order; the last two may be missing.
Case = tuple[Any, ...]


class Vectors:
    """A unit with the values of its inputs and what its outputs must be, one a cycle.

    Values are integers; negative ones are taken in two's complement.  Inputs that are not
    given stay 0.  ``checked`` marks the vectors whose outputs count, all by default.  ``care``
    has for an output the bits that mean something, a mask a vector; of others it is all bits.
    """

    def __init__(
        self,
        unit: wiring.Component,
        inputs: dict[str, Any],
        expected: dict[str, Any],
        checked: Any = None,
        care: Mapping[str, Any] | None = None,
    ) -> None:
        self.unit, self.inputs, self.expected = unit, inputs, expected
        self.count = len(next(iter(inputs.values())))
        self.checked = np.ones(self.count, bool) if checked is None else np.asarray(checked, bool)
        widths = {
            name: Shape.cast(member.shape).width for name, member in unit.signature.members.items()
        }
        self.in_ports, self.out_ports = (
            {k: widths[k] for k in ports} for ports in (inputs, expected)
        )
        #: Bits of a vector's outputs that count, by the outputs' names; one for all if they do.
        self.care: dict[str, Any] = {"": self.checked}
        if care is not None:
            self.care = {
                name: np.where(self.checked, np.asarray(care.get(name, (1 << bits) - 1), object), 0)
                for name, bits in self.out_ports.items()
            }

    @property
    def care_ports(self) -> dict[str, int]:
        """Bits of ``care``."""
        return {"": 1} if "" in self.care else self.out_ports


def check_units(cases: dict[str, Vectors], work: Path, waves: bool = False) -> dict[str, int]:
    """Run all vectors in one simulation; every output must be as expected.

    Returns the number of vectors compared of each case.  Raises ``SimulationError`` with
    the first differences of each, decoded.
    """
    work = work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    text = emit.verilog({f"unit_{i}": v.unit for i, v in enumerate(cases.values())}) + _top(cases)
    job, plusargs = [], []
    for i, (name, v) in enumerate(cases.items()):
        text += _bench(i, v)
        stimulus, expected = work / f"stimulus_{i}.hex", work / f"expected_{i}.hex"
        _write(stimulus, words(v.inputs, v.in_ports))
        wanted, caring = words(v.expected, v.out_ports), words(v.care, v.care_ports)
        above = sum(v.out_ports.values())
        _write(expected, [w | c << above for w, c in zip(wanted, caring, strict=True)])
        job.append(
            {
                "name": name,
                "count": v.count,
                "checked": int(v.checked.sum()),
                "inputs": v.in_ports,
                "outputs": v.out_ports,
                "kept": KEPT,
                "stimulus": str(stimulus),
                "expected": str(expected),
            }
        )
        plusargs += [
            f"+stimulus_{i}={stimulus}",
            f"+expected_{i}={expected}",
            f"+count_{i}={v.count}",
        ]
    (work / "job.json").write_text(json.dumps(job))
    build = simulator.build(text, "bench", BUILD / "sim-cache", waves=waves)
    build.run(
        "verif.benches.unit_bench",
        work,
        expected=1,
        plusargs=plusargs,
        environment={"UNIT_JOB": str(work / "job.json")},
    )
    return {name: int(v.checked.sum()) for name, v in cases.items()}


def check_unit(
    unit: wiring.Component,
    inputs: dict[str, Any],
    expected: dict[str, Any],
    work: Path,
    checked: Any = None,
    waves: bool = False,
) -> int:
    """``check_units`` of one unit; returns the number of vectors compared."""
    return check_units({"unit": Vectors(unit, inputs, expected, checked)}, work, waves)["unit"]


def words(values: Mapping[str, Any], ports: Mapping[str, int]) -> list[int]:
    """One integer a vector, the first port in the least bits."""
    dtype: Any = np.uint64 if sum(ports.values()) < 64 else object
    one = int if dtype is object else dtype
    total: Any = one(0)
    at = 0
    for name, bits in ports.items():
        column = values[name]
        if dtype is object:
            column = np.array([int(v) for v in column], object)
        elif not isinstance(column, np.ndarray) or column.dtype != np.uint64:
            column = np.asarray(column, np.int64).astype(np.uint64)
        total = total + ((column & one((1 << bits) - 1)) << one(at))
        at += bits
    found: list[int] = total.tolist()
    return found


def _write(path: Path, values: list[int]) -> None:
    path.write_text("\n".join(map("{:x}".format, values)) + "\n")


def _outputs(i: int, v: Vectors) -> str:
    """Results of a case as ports of the top: count, differences, the first of them."""
    n_out = sum(v.out_ports.values())
    return (
        f"output done_{i}, output [31:0] errors_{i}, output [31:0] compared_{i}, "
        f"output [{32 * KEPT - 1}:0] index_{i}, output [{n_out * KEPT - 1}:0] got_{i}"
    )


def _top(cases: dict[str, Vectors]) -> str:
    """Verilog of the module ``bench``: a bench for each case side by side."""
    ports = ", ".join(_outputs(i, v) for i, v in enumerate(cases.values()))
    benches = "".join(
        f"  bench_{i} bench_{i}(clk, done_{i}, errors_{i}, compared_{i}, index_{i}, got_{i});\n"
        for i in range(len(cases))
    )
    done = ", ".join(f"done_{i}" for i in range(len(cases)))
    return f"""
module bench(input clk, output done, {ports});
{benches}  assign done = &{{{done}}};
endmodule
"""


def _bench(i: int, v: Vectors) -> str:
    """Verilog of one bench: memories of vectors around the unit, and a comparison."""
    n_in, n_out = sum(v.in_ports.values()), sum(v.out_ports.values())
    n_care = sum(v.care_ports.values())
    care = f"want[{n_out} +: {n_care}]" if n_care == n_out else f"{{{n_out}{{want[{n_out}]}}}}"
    address = max(16, (v.count - 1).bit_length())
    connections, at = [], 0
    for name, bits in v.in_ports.items():
        connections.append(f".{name}(vector[{at} +: {bits}])")
        at += bits
    connections += [
        f".{name}('0)"
        for name, member in v.unit.signature.members.items()
        if member.flow is wiring.In and name not in v.in_ports
    ]
    at = 0
    for name, bits in v.out_ports.items():
        connections.append(f".{name}(out[{at} +: {bits}])")
        at += bits
    if v.unit.latency:
        connections += [".clk(clk)", ".rst(rst)"]
    return f"""
module bench_{i}(input clk, output reg done, output reg [31:0] errors, output reg [31:0] compared,
                 output reg [{32 * KEPT - 1}:0] index, output reg [{n_out * KEPT - 1}:0] got);
  reg [{n_in - 1}:0] stimulus [0:{(1 << address) - 1}];
  reg [{n_out + n_care - 1}:0] expected [0:{(1 << address) - 1}];
  reg [31:0] cycle = 0, count = 0;
  reg [2:0] resetting = 4;
  reg [8*512-1:0] name;
  initial begin
    done = 0; errors = 0; compared = 0; index = 0; got = 0;
    if ($value$plusargs("stimulus_{i}=%s", name)) $readmemh(name, stimulus);
    if ($value$plusargs("expected_{i}=%s", name)) $readmemh(name, expected);
    if (!$value$plusargs("count_{i}=%d", count)) $finish;
  end
  wire rst = resetting != 0;
  wire [31:0] at = cycle - {v.unit.latency};
  wire [{n_in - 1}:0] vector = stimulus[cycle[{address - 1}:0]];
  wire [{n_out + n_care - 1}:0] want = expected[at[{address - 1}:0]];
  wire [{n_out - 1}:0] out;
  wire [{n_out - 1}:0] care = {care};
  unit_{i} unit({", ".join(connections)});
  always @(posedge clk) begin
    if (rst) resetting <= resetting - 1;
    else if (!done) begin
      cycle <= cycle + 1;
      if (at < count && care != 0) begin
        compared <= compared + 1;
        if ((out & care) !== (want[{n_out - 1}:0] & care)) begin
          errors <= errors + 1;
          if (errors < {KEPT}) begin
            index[errors * 32 +: 32] <= at;
            got[errors * {n_out} +: {n_out}] <= out;
          end
        end
      end
      if (at == count - 1) done <= 1;
    end
  end
endmodule
"""


def join(values: np.ndarray, bits: int) -> list[int]:
    """Join the last axis into one integer each, element 0 in the least bits."""
    raw = np.asarray(values).astype(object)
    total = raw[..., 0] * 0
    for i in range(raw.shape[-1]):
        total = total + (raw[..., i] << (bits * i))
    return list(total)


def packed(layout: data.StructLayout, **fields: Any) -> np.ndarray:
    """Values of a structure from those of its fields, in two's complement; others are 0.

    What a field is too narrow for spills into the one above it: it must not go unnoticed.
    """
    total = np.zeros((), np.int64)
    for name, values in fields.items():
        field = layout[name]
        column = np.asarray(values).astype(np.int64)
        column = np.where(column < 0, column & ((1 << field.width) - 1), column)
        total = total | column << field.offset
    return total
