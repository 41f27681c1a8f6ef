"""A program that makes blocks of codes from PAL16 words, for products of computed tensors."""


from pal_units.formats import Format
from spu.arch import timing
from spu.arch.bitstream import Image
from spu.arch.config import SequencerRegister, Space, TileRegister
from spu.arch.context import Op, Source
from spu.arch.package.reblocking import Reblocking
from spu.arch.params import EXISTS, MATRIX_FORMATS, Architecture, Port

REGION = (0, 0)


def reblocking(arch: Architecture, fmt: Format) -> Reblocking:
    """The program: reblock units of the top row, links straight down.

    Raises ``ValueError`` for an array whose top row has no reblock unit.
    """
    columns = tuple(c for r, c in arch.memory_tiles if r == 0)
    if not columns:
        raise ValueError(f"{arch.name} has no memory tile in its top row")
    plan = Reblocking(arch, fmt, columns, Image(arch))
    image, ii, words = plan.image, plan.ii, arch.words_per_block(fmt)
    rows = SequencerRegister
    stage, slot = divmod(plan.span - 1, ii)
    image.write(Space.SEQUENCER, REGION, rows.II, {"slots_less_1": ii - 1})
    image.write(Space.SEQUENCER, REGION, rows.SPAN, {"slot": slot, "stage": stage})
    streams = [{"read": 0, "emit": 0} for _ in range(ii)]
    for column in columns:
        port = arch.inputs(0).index(Port(0, column, "north"))
        image.write(Space.SEQUENCER, REGION, rows.INPUT + port, {"predicate": EXISTS})
        out = arch.outputs(0).index(Port(arch.rows - 1, column, "south"))
        contexts = {(r, s): dict[str, int]() for r in range(arch.rows) for s in range(ii)}
        for s in range(ii):
            contexts[0, s] |= {"a": Source.NORTH.value, "op": Op.PUSH.value}
            streams[s]["read"] |= 1 << port
        # The words of a block leave while the next one comes in.
        for word in range(words):
            contexts[0, word]["pop"] = 1
            at = word + timing.REBLOCK
            for r in range(arch.rows):
                source = Source.NORTH if r else Source.REBLOCK
                contexts[r, (at + r * timing.HOP) % ii]["south"] = source.value
            streams[(at + arch.rows * timing.HOP) % ii]["emit"] |= 1 << out
        for (r, s), fields in contexts.items():
            if fields:
                image.write(Space.CONTEXT, (r, column), s, fields)
        image.write(Space.REGISTER, (0, column), TileRegister.REBLOCK,
                    {"format": MATRIX_FORMATS.index(fmt)})
    for s, fields in enumerate(streams):
        image.write(Space.STREAM, REGION, s, fields)
    return plan
