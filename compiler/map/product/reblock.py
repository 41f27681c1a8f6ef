"""A program that makes blocks of codes from PAL16 words, for products of computed tensors."""

from compiler.check.reblock import check_reblocking
from pal_units.formats import Format
from spu.arch import timing
from spu.arch.bitstream import Image
from spu.arch.config import Space, TileRegister
from spu.arch.context import Op, Source
from spu.arch.package.reblocking import Reblocking
from spu.arch.params import Architecture
from spu.arch.program import write_region


def reblocking(arch: Architecture, fmt: Format) -> Reblocking:
    """The program, checked: reblock units of the top row, links straight down.

    Raises ``ValueError`` for an array whose top row has no reblock unit.
    """
    columns = tuple(c for r, c in arch.memory_tiles if r == 0)
    if not columns:
        raise ValueError(f"{arch.name} has no memory tile in its top row")
    plan = Reblocking(arch, fmt, columns, Image(arch))
    image, ii = plan.image, plan.ii
    # The words of a block leave while the next one comes in.
    popped = [word + timing.REBLOCK for word in range(arch.words_per_block(fmt))]
    for column in columns:
        contexts = {(r, s): dict[str, int]() for r in range(arch.rows) for s in range(ii)}
        for s in range(ii):
            contexts[0, s] |= {"a": Source.NORTH.value, "op": Op.PUSH.value}
        for at in popped:
            contexts[0, at - timing.REBLOCK]["pop"] = 1
            for r in range(arch.rows):
                source = Source.NORTH if r else Source.REBLOCK
                contexts[r, (at + r * timing.HOP) % ii]["south"] = source.value
        for (r, s), fields in contexts.items():
            if fields:
                image.write(Space.CONTEXT, (r, column), s, fields)
        image.write(
            Space.REGISTER, (0, column), TileRegister.REBLOCK, {"format": arch.format_number(fmt)}
        )
    left = [ii + at + arch.rows * timing.HOP for at in popped]
    write_region(
        image, plan.timing, dict.fromkeys(columns, range(ii)), dict.fromkeys(columns, left)
    )
    check_reblocking(plan)
    return plan
