"""Tables in Verilog as constants, of which Verilator makes less code than of memories.

yosys writes a table as a memory that has an initial value in each word.  For Verilator that is a
variable of each instance, filled by a statement a word: a fifth of the C++ of a tile, a third of
the time that it takes to make and compile it.
"""

import re

#: A memory and its initial values as yosys writes them.
_FILLED = re.compile(
    r"^  reg (\[\d+:0\] )?(\w+) \[(\d+):0\];\n"
    r"  initial begin\n((?:    \2\[\d+\] = [^;]+;\n)+)  end\n",
    re.MULTILINE,
)
_WORD = re.compile(r"\[(\d+)\] = ([^;]+);")


def constant_tables(text: str) -> str:
    """The same Verilog (of yosys), its tables ``localparam`` arrays of SystemVerilog.

    A table is a memory all of whose words have an initial value and that is only read, as yosys
    writes it: ``assign name = table[address];``.
    """

    def constant(module: str) -> str:
        def table(found: re.Match) -> str:
            bits, name, last = found[1] or "", found[2], int(found[3])
            words = {int(address): value for address, value in _WORD.findall(found[4])}
            rest = module[: found.start()] + module[found.end() :]
            lines = re.findall(rf"^.*\b{name}\b.*$", rest, re.MULTILINE)
            read = re.compile(rf"  assign [^ ]+ +(\[\d+:\d+\] )?= {name}\[[^;=]*\];")
            if sorted(words) != list(range(last + 1)) or not all(map(read.fullmatch, lines)):
                return found[0]
            values = ", ".join(words[i] for i in range(last + 1))
            return f"  localparam logic {bits}{name} [0:{last}] = '{{{values}}};\n"

        return _FILLED.sub(table, module)

    return "endmodule".join(map(constant, text.split("endmodule")))
