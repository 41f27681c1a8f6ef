"""Run one arithmetic unit in a simulator on arrays of vectors, one vector a cycle."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from amaranth.hdl import Shape
from amaranth.lib import wiring

from rtl import emit, simulator
from verif.rtl_engine import BUILD

#: Differences that a failure shows.
KEPT = 4


def check_unit(unit: wiring.Component, inputs: dict[str, Any], expected: dict[str, Any],
               work: Path, checked: Any = None, waves: bool = False) -> int:
    """Drive ``unit`` with one value of each input a cycle; every output must be as expected.

    Values are integers; negative ones are taken in two's complement.  Inputs that are not
    given stay 0.  ``checked`` marks the vectors whose outputs count.  Returns the number
    of vectors compared; raises ``SimulationError`` with the first differences, decoded.
    """
    count = len(next(iter(inputs.values())))
    checked = np.ones(count, bool) if checked is None else np.asarray(checked, bool)
    widths = {name: Shape.cast(member.shape).width
              for name, member in unit.signature.members.items()}
    work.mkdir(parents=True, exist_ok=True)
    in_ports, out_ports = ({k: widths[k] for k in ports} for ports in (inputs, expected))
    _write(work / "stimulus.hex", inputs, in_ports)
    _write(work / "expected.hex", {**expected, "": checked}, {**out_ports, "": 1})
    depth = 1 << max(16, (count - 1).bit_length())
    text = emit.verilog({"unit": unit}) + _bench(unit, in_ports, out_ports, depth)
    build = simulator.build(text, "bench", BUILD / "sim-cache", waves=waves)
    job = {"count": count, "checked": int(checked.sum()), "inputs": in_ports,
           "outputs": out_ports, "kept": KEPT, "stimulus": str(work / "stimulus.hex"),
           "expected": str(work / "expected.hex")}
    (work / "job.json").write_text(json.dumps(job))
    build.run("verif.unit_bench", work, expected=1, plusargs=[
        f"+stimulus={work / 'stimulus.hex'}", f"+expected={work / 'expected.hex'}",
        f"+count={count}"], environment={"UNIT_JOB": str((work / "job.json").resolve())})
    return int(checked.sum())


def _write(path: Path, values: dict[str, Any], ports: dict[str, int]) -> None:
    """One hexadecimal word a vector, the first port in the least bits."""
    dtype: Any = np.uint64 if sum(ports.values()) <= 64 else object
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
    path.write_text("\n".join(map("{:x}".format, total.tolist())) + "\n")


def _bench(unit: wiring.Component, inputs: dict[str, int], outputs: dict[str, int], depth: int
           ) -> str:
    """Verilog of the module ``bench``: memories of vectors around the unit, and a comparison."""
    n_in, n_out = sum(inputs.values()), sum(outputs.values())
    connections, at = [], 0
    for name, bits in inputs.items():
        connections.append(f".{name}(vector[{at} +: {bits}])")
        at += bits
    others = [n for n, m in unit.signature.members.items()
              if m.flow is wiring.In and n not in inputs]
    connections += [f".{name}('0)" for name in others]
    at = 0
    for name, bits in outputs.items():
        connections.append(f".{name}(got[{at} +: {bits}])")
        at += bits
    if unit.latency:
        connections += [".clk(clk)", ".rst(rst)"]
    return f"""
module bench(input clk, output reg done, output reg [31:0] errors, output reg [31:0] compared,
             output reg [{32 * KEPT - 1}:0] error_index,
             output reg [{n_out * KEPT - 1}:0] error_got);
  reg [{n_in - 1}:0] stimulus [0:{depth - 1}];
  reg [{n_out}:0] expected [0:{depth - 1}];
  reg [31:0] cycle = 0, count = 0;
  reg [2:0] resetting = 4;
  reg [8*512-1:0] name;
  initial begin
    done = 0; errors = 0; compared = 0; error_index = 0; error_got = 0;
    if ($value$plusargs("stimulus=%s", name)) $readmemh(name, stimulus);
    if ($value$plusargs("expected=%s", name)) $readmemh(name, expected);
    if (!$value$plusargs("count=%d", count)) $finish;
  end
  wire rst = resetting != 0;
  wire [31:0] at = cycle - {unit.latency};
  wire [{n_in - 1}:0] vector = stimulus[cycle[{depth.bit_length() - 2}:0]];
  wire [{n_out}:0] want = expected[at[{depth.bit_length() - 2}:0]];
  wire [{n_out - 1}:0] got;
  unit unit({", ".join(connections)});
  always @(posedge clk) begin
    if (rst) resetting <= resetting - 1;
    else if (!done) begin
      cycle <= cycle + 1;
      if (at < count && want[{n_out}]) begin
        compared <= compared + 1;
        if (got !== want[{n_out - 1}:0]) begin
          errors <= errors + 1;
          if (errors < {KEPT}) begin
            error_index[errors * 32 +: 32] <= at;
            error_got[errors * {n_out} +: {n_out}] <= got;
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
