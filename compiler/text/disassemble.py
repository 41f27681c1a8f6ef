"""Program image to readable text: what every tile does in every slot."""

from collections.abc import Iterator, Mapping
from typing import Any

from spu.arch.bitstream import Image
from spu.arch.config import ADDRESS_WORDS, Compare, Guard, Space, TileRegister, words_per_row
from spu.arch.context import SINKS, Close, Op, Source
from spu.arch.params import ALWAYS, EXISTS, LOOPS, REGISTERS, Port
from spu.arch.program import read_generator, read_input_guard, read_predicates, read_timing

_FLAGS = ("guarded", "drain", "pop", "read")
_GENERATORS = {
    TileRegister.WEIGHT: "weight",
    TileRegister.READ: "read",
    TileRegister.WRITE: "write",
}


def context_text(context: Mapping[str, int]) -> str:
    """One context word: ``sink<-source`` for each sink in use, the operation, the flags."""
    parts = []
    numbers = {
        Source.REGISTER_A: context["register_a"],
        Source.CONSTANT: context["index"],
        Source.REGISTER_B: context["index"] % REGISTERS,
    }
    for sink in SINKS:
        source = Source(context[sink])
        if source is not Source.NONE:
            register = f".{numbers[source]}" if source in numbers else ""
            name = f"r{context['register_write']}" if sink == "register" else sink
            parts.append(f"{name}<-{source.name.lower()}{register}")
    if context["op"] != Op.NOP.value:
        parts.append(Op(context["op"]).name.lower())
    if context["mac"]:
        parts.append(
            f"mac slice={context['slice']} mode={context['mode']} "
            f"close={Close(context['close']).name.lower()}"
        )
    parts += [flag for flag in _FLAGS if context[flag]]
    return "  ".join(parts) or "nop"


def guard_text(guard: Mapping[str, int]) -> str:
    """A GUARD: the predicate, and the stage and slot of the iteration it is taken from."""
    names = {ALWAYS: "always", EXISTS: "exists"}
    name = names.get(guard["predicate"], f"p{guard['predicate']}")
    return f"{name} stage {guard['stage']} slot {guard['slot']}"


def disassemble(image: Image) -> Iterator[str]:
    """Lines of text for all that a program writes."""
    arch = image.arch
    yield f"architecture {arch.name} {arch.hash:#010x}, {arch.rows}x{arch.cols} tiles"
    for region in range(arch.region_count):
        yield from _region(image, region)
    for tile in arch.tiles:
        yield f"tile {tile[0]},{tile[1]}"
        yield from _registers(image, tile)
        ii = read_timing(image, arch.region(*tile)).ii
        for slot in range(ii):
            text = context_text(image.read(Space.CONTEXT, tile, slot))
            if text != "nop":
                yield f"  slot {slot:3}: {text}"
        for space in (Space.CONSTANT, Space.MEMORY):
            for number in sorted(image.rows.get((space, *tile), {})):
                word = image.read(space, tile, number)
                yield (
                    f"  {space.name.lower()} {number}: data "
                    f"{word['data']:0{arch.data_bits // 4}x} bias {word['bias']:02x}"
                )
        for row in sorted(image.rows.get((Space.WEIGHT, *tile), {})):
            bits = image.rows[Space.WEIGHT, *tile][row]
            yield f"  weight row {row:3}: {bits:0{8 * words_per_row(Space.WEIGHT, arch)}x}"


def _region(image: Image, region: int) -> Iterator[str]:
    """Sequencer and streams of a region."""
    arch, timing = image.arch, read_timing(image, region)
    loops = (*timing.counts, *(1,) * (LOOPS - 1))[: LOOPS - 1]
    yield (
        f"region {region}: ii {timing.ii}, span {timing.span} cycles, "
        f"loops {' x '.join(map(str, loops))} x iterations"
    )
    for number, row in read_predicates(image, region).items():
        if any(row.values()):
            yield f"  p{number}: {_predicate_text(row)}"
    inputs, outputs = arch.inputs(region), arch.outputs(region)
    for i, port in enumerate(inputs):
        guard = read_input_guard(image, i, region)
        if any(guard.values()):
            yield f"  input {_port_text(port)}: {guard_text(guard)}"
    for slot in range(timing.ii):
        stream = image.read(Space.STREAM, (region, 0), slot)
        used = [
            f"{name} {_port_text(port)}"
            for name, ports in (("read", inputs), ("emit", outputs))
            for i, port in enumerate(ports)
            if stream[name] >> i & 1
        ]
        if used:
            yield f"  slot {slot:3}: streams {', '.join(used)}"


def _port_text(port: Port) -> str:
    return f"{port.row},{port.col}.{port.link}"


def _predicate_text(row: Mapping[str, Any]) -> str:
    terms = [
        f"{name} of loop {i}"
        for name in ("first", "last")
        for i in range(LOOPS)
        if row[name] >> i & 1
    ]
    compare = Compare(row["compare"])
    if compare is not Compare.NONE:
        sign = {Compare.LESS: "<", Compare.NOT_LESS: ">=", Compare.EQUAL: "="}[compare]
        terms.append(f"loop {row['loop']} {sign} {row['value']}")
    return " and ".join(terms) or "exists"


def _format(image: Image, number: int) -> str:
    """Name of a format of data; units take numbers of none for the last one."""
    return image.arch.formats[min(number, len(image.arch.formats) - 1)]


def _registers(image: Image, tile: tuple[int, int]) -> Iterator[str]:
    written = image.rows.get((Space.REGISTER, *tile), {})
    shown = {row for row, bits in written.items() if bits}
    # Rows of 0 mean something where what they belong to is used.
    shown |= {
        first for first in _GENERATORS if any(first < row < first + ADDRESS_WORDS for row in shown)
    }
    ii = read_timing(image, image.arch.region(*tile)).ii
    if any(image.read(Space.CONTEXT, tile, slot)["pop"] for slot in range(ii)):
        shown.add(TileRegister.REBLOCK)
    for row in sorted(shown):
        value = image.read(Space.REGISTER, tile, row)
        if row < TileRegister.VECTOR_MODE:
            data = _format(image, value["x_format"])
            text = f"  mode {row}: offset {value['offset']} data {data}"
            if "w_format" in value:
                text += f" weights {_format(image, value['w_format'])}"
            yield text
        elif row < TileRegister.GUARD:
            yield (
                f"  vector mode {row - TileRegister.VECTOR_MODE}: offset {value['offset']} "
                f"bias {value['bias']}"
            )
        elif row < TileRegister.REBLOCK:
            name = Guard(row - TileRegister.GUARD).name.lower()
            yield f"  guard {name}: {guard_text(value)}"
        elif row == TileRegister.REBLOCK:
            yield f"  reblock {_format(image, value['format'])}"
        elif row in _GENERATORS:
            generator = read_generator(image, tile, row)
            text = " ".join(f"{count}x{stride:+}" for count, stride in generator.loops)
            yield (
                f"  {_GENERATORS[row]} address: base {generator.base} "
                f"{guard_text(generator.guard)} loops {text}"
            )
