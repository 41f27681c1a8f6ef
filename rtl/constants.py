"""Tables in Verilog as constants, of which Verilator makes less code than of memories.

yosys writes a table as a memory that has an initial value in each word.  For Verilator that is a
variable of each instance, filled by a statement a word: a fifth of the C++ of a tile, a third of
the time that it takes to make and compile it.
"""

import re
from collections.abc import Callable

#: A memory and its initial values as yosys writes them.
_FILLED = re.compile(
    r"^  reg (\[\d+:0\] )?(\w+) \[(\d+):0\];\n"
    r"  initial begin\n((?:    \2\[\d+\] = [^;]+;\n)+)  end\n",
    re.MULTILINE,
)
_WORD = re.compile(r"\[(\d+)\] = ([^;]+);")


def constant_tables(text: str) -> str:
    """The same Verilog (of yosys), its tables ``localparam`` arrays of SystemVerilog."""

    def array(bits: str, name: str, words: list[str]) -> str:
        return f"  localparam logic {bits}{name} [0:{len(words) - 1}] = '{{{', '.join(words)}}};\n"

    return _with_tables(text, array, "[]")


def case_tables(text: str) -> str:
    """The same Verilog (of yosys), its tables functions with a case for each word.

    So all synthesis takes them, where not all gives a memory its initial values.
    """

    def function(bits: str, name: str, words: list[str]) -> str:
        width = max((len(words) - 1).bit_length(), 1)
        zero = words[0].partition("'")[0] + "'h0"
        cases = [f"      {width}'d{i}: {name} = {word};\n" for i, word in enumerate(words)]
        return (
            f"  function {bits}{name}(input [{width - 1}:0] address);\n    case (address)\n"
            f"{''.join(cases)}      default: {name} = {zero};\n"
            "    endcase\n  endfunction\n"
        )

    return _with_tables(text, function, "()")


def _with_tables(text: str, write: Callable[[str, str, list[str]], str], ends: str) -> str:
    """Verilog with tables as ``write`` declares them by bits, name and words.

    A table is a memory all of whose words have an initial value and that is only read, as yosys
    writes it: ``assign name = table[address];``; ``ends`` take the place of the brackets.
    """

    def of_module(module: str) -> str:
        reads: dict[str, str] = {}

        def table(found: re.Match) -> str:
            bits, name, last = found[1] or "", found[2], int(found[3])
            words = {int(address): value for address, value in _WORD.findall(found[4])}
            rest = module[: found.start()] + module[found.end() :]
            lines = re.findall(rf"^.*\b{name}\b.*$", rest, re.MULTILINE)
            read = re.compile(rf"(  assign [^ ]+ +(?:\[\d+:\d+\] )?= {name})\[([^;=]*)\];")
            matches = [read.fullmatch(line) for line in lines]
            if sorted(words) != list(range(last + 1)) or not all(matches):
                return found[0]
            reads.update({m[0]: f"{m[1]}{ends[0]}{m[2]}{ends[1]};" for m in matches if m})
            return write(bits, name, [words[i] for i in range(last + 1)])

        replaced = _FILLED.sub(table, module)
        return "\n".join(reads.get(line, line) for line in replaced.split("\n"))

    return "endmodule".join(map(of_module, text.split("endmodule")))
