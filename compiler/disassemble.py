"""Program image to readable text: what every tile does in every slot."""

from collections.abc import Iterator

from spu.arch.bitstream import Image
from spu.arch.config import SequencerRegister, Space, TileRegister, words_per_row
from spu.arch.context import SINKS, Op, Source
from spu.arch.params import PROFILES

_FLAGS = ("block_last", "last", "drain", "pop", "read")


def context_text(context: dict) -> str:
    """One context word: ``sink<-source`` for each sink in use, the operation, the flags."""
    parts = []
    for sink in SINKS:
        source = Source(context[sink])
        if source is not Source.NONE:
            register = f".{context[source.name.lower()]}" if source in (
                Source.REGISTER_A, Source.REGISTER_B, Source.CONSTANT) else ""
            name = f"r{context['register_write']}" if sink == "register" else sink
            parts.append(f"{name}<-{source.name.lower()}{register}")
    if context["op"] != Op.NOP.value:
        parts.append(Op(context["op"]).name.lower())
    if context["mac"]:
        parts.append(f"mac slice={context['slice']} mode={context['mode']}")
    parts += [flag for flag in _FLAGS if context[flag]]
    return "  ".join(parts) or "nop"


def disassemble(image: Image) -> Iterator[str]:
    """Lines of text for all that a program writes."""
    arch = image.arch
    ii = image.read(Space.SEQUENCER, (0, 0), SequencerRegister.II)["slots_less_1"] + 1
    span = image.read(Space.SEQUENCER, (0, 0), SequencerRegister.SPAN)
    yield f"architecture {arch.name} {arch.hash:#010x}, {arch.rows}x{arch.cols} tiles"
    yield f"ii {ii}, span {span['stage'] * ii + span['slot'] + 1} cycles"
    for slot in range(ii):
        stream = image.read(Space.STREAM, (0, 0), slot)
        used = [f"{name} {c}" for name in ("read", "emit")
                for c in range(arch.cols) if stream[name] >> c & 1]
        if used:
            yield f"  slot {slot:3}: streams {', '.join(used)}"
    for tile in arch.tiles:
        yield f"tile {tile[0]},{tile[1]}"
        yield from _registers(image, tile)
        for slot in range(ii):
            text = context_text(image.read(Space.CONTEXT, tile, slot))
            if text != "nop":
                yield f"  slot {slot:3}: {text}"
        for number in sorted(image.rows.get((Space.CONSTANT, *tile), {})):
            constant = image.read(Space.CONSTANT, tile, number)
            yield f"  constant {number}: data {constant['data']:016x} bias {constant['bias']:02x}"
        for row in sorted(image.rows.get((Space.WEIGHT, *tile), {})):
            bits = image.rows[Space.WEIGHT, *tile][row]
            yield f"  weight row {row:3}: {bits:0{8 * words_per_row(Space.WEIGHT, arch)}x}"


def _registers(image: Image, tile: tuple[int, int]) -> Iterator[str]:
    written = image.rows.get((Space.REGISTER, *tile), {})
    for row in sorted(written):
        value = image.read(Space.REGISTER, tile, row)
        if row < TileRegister.REBLOCK_PROFILE:
            data, weights = (PROFILES[value[name]].name for name in ("x_profile", "w_profile"))
            yield f"  mode {row}: offset {value['offset']} data {data} weights {weights}"
        elif row == TileRegister.REBLOCK_PROFILE:
            yield f"  reblock {PROFILES[value['profile']].name}"
        elif row in (TileRegister.READ, TileRegister.WRITE):
            name = "read" if row == TileRegister.READ else "write"
            loops = [image.read(Space.REGISTER, tile, row + 1 + i) for i in range(4)]
            text = " ".join(f"{loop['count_less_1'] + 1}x{loop['stride']:+}" for loop in loops)
            yield f"  {name} address: base {value['base']} stage {value['stage']} " \
                  f"slot {value['slot']} loops {text}"
