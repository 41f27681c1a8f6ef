"""A testbench of a unit in plain Verilog, and its vectors, for any simulator and no Python.

Vectors are those of ``verif.stimulus``, whose results the golden model computes: a hexadecimal word
a cycle, the inputs in its least bits, above them what the outputs must be ``latency`` cycles later,
and above these the bits of the outputs that count.
"""

from typing import Any

import numpy as np
from amaranth.hdl import Shape
from amaranth.lib import wiring

from verif.stimulus.vectors import Case, Vectors, words

#: Most vectors of units without a memory, of which any will do.
MOST = 1 << 16
#: Most cycles of a stream, of which the first are taken.
CYCLES = 1 << 14


def vectors_of(case: Case) -> Vectors:
    """Vectors of a case, few enough for a file.

    Of too many the first of each result is kept, up to half of them, and others by chance; of a
    stream, whose results count in marked cycles, the beginning.
    """
    unit, inputs, expected, checked, care = (*case, None, None)[:5]
    count = len(next(iter(inputs.values())))
    if checked is not None:
        kept = np.arange(min(count, CYCLES))
    elif count <= MOST:
        kept = np.arange(count)
    else:
        first = np.unique(np.asarray(next(iter(expected.values()))), return_index=True)[1]
        rng = np.random.default_rng(36)
        first = rng.permutation(first)[: MOST // 2]
        others = np.setdiff1d(np.arange(count), first)
        kept = np.sort(np.append(first, rng.choice(others, MOST - len(first), replace=False)))

    def thin(values: dict[str, Any]) -> dict[str, Any]:
        return {name: _chosen(v, kept) for name, v in values.items()}

    return Vectors(
        unit,
        thin(inputs),
        thin(expected),
        None if checked is None else _chosen(checked, kept),
        None if care is None else thin(care),
    )


def _chosen(values: Any, kept: np.ndarray) -> Any:
    if isinstance(values, np.ndarray):
        return values[kept]
    return [values[i] for i in kept]


def memory(v: Vectors) -> str:
    """The file of the vectors."""
    n_in, n_out = sum(v.in_ports.values()), sum(v.out_ports.values())
    masks = words(v.care, v.care_ports)
    if v.care_ports != v.out_ports:
        masks = [mask * ((1 << n_out) - 1) for mask in masks]
    digits = -(-(n_in + 2 * n_out) // 4)
    rows = zip(words(v.inputs, v.in_ports), words(v.expected, v.out_ports), masks, strict=True)
    return "".join(
        f"{care << n_in + n_out | want << n_in | given:0{digits}x}\n" for given, want, care in rows
    )


def compared(v: Vectors) -> int:
    """How many vectors have results that count."""
    return sum(map(bool, words(v.care, v.care_ports)))


def testbench(v: Vectors, module: str) -> str:
    """Verilog of ``tb_MODULE``, which reads ``MODULE.hex``."""
    n_in, n_out = sum(v.in_ports.values()), sum(v.out_ports.values())
    clocked = v.unit.latency > 0
    members = v.unit.signature.members
    connections = [".clk(clk)", ".rst(rst)"] if clocked else []
    connections += [f".{n}({_part('fed', v.in_ports, n)})" for n in v.in_ports]
    connections += [
        f".{name}({_bits(member)}'b0)"
        for name, member in members.items()
        if member.flow is wiring.In and name not in v.in_ports
    ]
    connections += [f".{n}({_part('got', v.out_ports, n)})" for n in v.out_ports]
    shown = [(f"{n}=%h", _part("at", v.in_ports, n)) for n in v.in_ports]
    for n in v.out_ports:
        want, care = (_part("at", v.out_ports, n, base) for base in (n_in, n_in + n_out))
        got = _part("got", v.out_ports, n)
        shown += [(f"{n}=%h", got), ("must be %h", want), ("in the bits %h", care)]
    message, values = " ".join(text for text, _ in shown), ", ".join(value for _, value in shown)
    join = ",\n    "
    return f"""// Testbench of {module}: the vectors of {module}.hex, one a cycle; see {module}.md.
module tb_{module};
  parameter VECTORS = "{module}.hex";
  localparam integer COUNT = {v.count}, COMPARED = {compared(v)}, LATENCY = {v.unit.latency};

  reg clk{", rst" if clocked else ""};
  // What is fed to the unit, what it must have made of an earlier word, and what it made.
  reg [{n_in - 1}:0] fed;
  reg [{n_in + 2 * n_out - 1}:0] vectors [0:COUNT-1];
  reg [{n_in + 2 * n_out - 1}:0] at;
  wire [{n_out - 1}:0] got;
  integer cycle, compared;

  {module} dut (
    {join.join(connections)}
  );

  initial begin
    clk = 1'b0;
    forever #5 clk = ~clk;
  end

  initial begin
    $readmemh(VECTORS, vectors);
    compared = 0;
    fed = {n_in}'b0;
{"    rst = 1'b1;" if clocked else "    // Combinational: the clock is the testbench's own."}
    repeat (4) @(negedge clk);
{"    rst = 1'b0;" if clocked else ""}
    for (cycle = 0; cycle < COUNT + LATENCY; cycle = cycle + 1) begin
      if (cycle < COUNT) begin
        at = vectors[cycle];
        fed = at[{n_in - 1}:0];
      end
      #4;  // a little before the rising edge
      if (cycle >= LATENCY) begin
        at = vectors[cycle-LATENCY];
        if (((got ^ at[{n_in} +: {n_out}]) & at[{n_in + n_out} +: {n_out}]) !== {n_out}'b0) begin
          $display("FAIL {module}: vector %0d: {message}",
                   cycle - LATENCY, {values});
          $fatal(1, "a result differs from the golden model's");
        end
        if (at[{n_in + n_out} +: {n_out}] != {n_out}'b0) compared = compared + 1;
      end
      @(negedge clk);
    end
    if (compared != COMPARED) begin
      $display("FAIL {module}: %0d of %0d vectors were compared: is %0s complete?",
               compared, COMPARED, VECTORS);
      $fatal(1, "not every vector was compared");
    end
    $display("PASS {module}: %0d vectors", compared);
    $finish;
  end
endmodule
"""


def _bits(member: wiring.Member) -> int:
    return Shape.cast(member.shape).width


def _part(word: str, ports: dict[str, int], name: str, base: int = 0) -> str:
    """The bits of a port in a word of several."""
    first = base
    for other, bits in ports.items():
        if other == name:
            return f"{word}[{first} +: {bits}]"
        first += bits
    raise KeyError(name)
