"""The technology-neutral cell library: static CMOS gates counted in transistors.

Written out as a Liberty file, so that areas without a process go through the same flow as
areas with one.  One area unit is a NAND2 (4 transistors), one capacitance unit the input
of an inverter, one time unit ``tau``, the delay of an ideal inverter that drives another
one (an inverter with four loads, FO4, takes 5).  Delays are those of logical effort,
``p + g h`` (I. Sutherland, B. Sproull, D. Harris, "Logical Effort", 1999, tables 1.1 and
1.2); transistor counts are the textbook circuits' (N. Weste, D. Harris, "CMOS VLSI
Design", 4th ed., 2011, chapters 1, 9 and 11).
"""

from dataclasses import dataclass

#: Transistors of a NAND2: one gate equivalent.
NAND2 = 4
#: Delay of an inverter with four equal loads, in ``tau``.
FO4 = 5.0


@dataclass(frozen=True)
class Gate:
    """A combinational gate.

    Parameters
    ----------
    function: of each output by name, in Liberty's notation.
    transistors: of the whole gate.
    effort: ``g``, capacitance of each input in inverter inputs for the inverter's drive.
    parasitic: ``p``, delay without load in ``tau``; also what the output itself adds to the
        capacitance that it drives, in inverter inputs.
    """

    function: dict[str, str]
    transistors: int
    effort: float
    parasitic: float

    @property
    def inputs(self) -> list[str]:
        """Input names, in order."""
        return sorted({c for f in self.function.values() for c in f if c.isupper()})


#: Gates of several stages have the sum of the stages' parasitic delays and efforts.
GATES = {
    "INV": Gate({"y": "!A"}, 2, 1, 1),
    "BUF": Gate({"y": "A"}, 4, 1, 2),
    "NAND2": Gate({"y": "!(A&B)"}, 4, 4 / 3, 2),
    "NAND3": Gate({"y": "!(A&B&C)"}, 6, 5 / 3, 3),
    "NAND4": Gate({"y": "!(A&B&C&D)"}, 8, 2, 4),
    "NOR2": Gate({"y": "!(A|B)"}, 4, 5 / 3, 2),
    "NOR3": Gate({"y": "!(A|B|C)"}, 6, 7 / 3, 3),
    "NOR4": Gate({"y": "!(A|B|C|D)"}, 8, 3, 4),
    "AND2": Gate({"y": "A&B"}, 6, 4 / 3, 4),
    "OR2": Gate({"y": "A|B"}, 6, 5 / 3, 4),
    "AOI21": Gate({"y": "!((A&B)|C)"}, 6, 2, 7 / 3),
    "OAI21": Gate({"y": "!((A|B)&C)"}, 6, 2, 7 / 3),
    "AOI22": Gate({"y": "!((A&B)|(C&D))"}, 8, 2, 4),
    "OAI22": Gate({"y": "!((A|B)&(C|D))"}, 8, 2, 4),
    "XOR2": Gate({"y": "A^B"}, 10, 3, 5),
    "XNOR2": Gate({"y": "!(A^B)"}, 10, 3, 5),
    "MUX2": Gate({"y": "(A&S)|(B&!S)"}, 10, 2, 5),
}
#: Mirror full adder with its two inverters (Weste and Harris, section 11.2.1), and the half
#: adder of a NAND2, an OAI21 and an inverter.
FULL_ADDER = Gate({"s": "A^B^C", "co": "(A&B)|(A&C)|(B&C)"}, 28, 4, 7)
HALF_ADDER = Gate({"s": "A^B", "co": "A&B"}, 14, 3, 5)
ADDERS = {"FA": FULL_ADDER, "HA": HALF_ADDER}
#: Master-slave flip-flop of transmission gates.
DFF_TRANSISTORS = 24

_LOADS = (0.0, 4.0, 16.0, 64.0)
_SLEWS = (0.0, 1000.0)


def _axis(values: tuple[float, ...]) -> str:
    return ", ".join(f"{v:g}" for v in values)


def _table(kind: str, value_of_load: list[float]) -> str:
    rows = ", ".join(f'"{_axis(tuple(value_of_load))}"' for _ in _SLEWS)
    return f"{kind} (grid) {{ values({rows}); }}"


def _arc(pin: str, parasitic: float, timing_type: str = "") -> str:
    delay, slew = [parasitic + load for load in _LOADS], list(_LOADS)
    tables = [
        _table(f"cell_{edge}", delay) + " " + _table(f"{edge}_transition", slew)
        for edge in ("rise", "fall")
    ]
    return (
        f'timing () {{ related_pin : "{pin}"; timing_sense : non_unate; {timing_type}'
        f"{' '.join(tables)} }}"
    )


def _power(parasitic: float) -> str:
    """Energy of a transition inside the gate: half of ``C V^2``, at 1 V."""
    tables = " ".join(
        f'{edge}_power (scalar) {{ values("{parasitic / 2:.4f}"); }}' for edge in ("rise", "fall")
    )
    return f"internal_power () {{ {tables} }}"


def _cell(name: str, gate: Gate) -> str:
    pins = [
        f"pin({p}) {{ direction : input; capacitance : {gate.effort:.4f}; }}" for p in gate.inputs
    ]
    for output, function in gate.function.items():
        arcs = "\n   ".join(_arc(p, gate.parasitic) for p in gate.inputs)
        pins.append(
            f'pin({output}) {{ direction : output; function : "{function}"; '
            f"max_capacitance : 1000;\n   {_power(gate.parasitic)}\n   {arcs} }}"
        )
    body = "\n  ".join(pins)
    return f"cell({name}) {{ area : {gate.transistors / NAND2};\n  {body}\n }}"


def liberty() -> str:
    """The library in Liberty's syntax; "ns" stands for ``tau``, "pF" for inverter inputs."""
    cells = [_cell(name, gate) for name, gate in {**GATES, **ADDERS}.items()]
    cells.append(
        f"cell(DFF) {{ area : {DFF_TRANSISTORS / NAND2};\n"
        '  ff(IQ, IQN) { clocked_on : "CK"; next_state : "D"; }\n'
        "  pin(CK) { direction : input; clock : true; capacitance : 2; }\n"
        "  pin(D) { direction : input; capacitance : 1; }\n"
        '  pin(Q) { direction : output; function : "IQ"; max_capacitance : 1000;\n   '
        f"{_power(6)} {_arc('CK', 6, 'timing_type : rising_edge; ')} }}\n }}"
    )
    return (
        'library(neutral) {\n delay_model : table_lookup; time_unit : "1ns";\n'
        ' capacitive_load_unit(1, pf); voltage_unit : "1V"; current_unit : "1mA";\n'
        ' leakage_power_unit : "1nW"; pulling_resistance_unit : "1kohm";\n'
        " lu_table_template(grid) { variable_1 : input_net_transition; "
        "variable_2 : total_output_net_capacitance;\n"
        f'  index_1("{_axis(_SLEWS)}"); index_2("{_axis(_LOADS)}"); }}\n '
        + "\n ".join(cells)
        + "\n}\n"
    )
