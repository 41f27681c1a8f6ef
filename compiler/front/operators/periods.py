"""Rounding to whole numbers, and functions of a period: what digits of a number are taken from."""

from compiler.front.lowering import Lowering
from compiler.front.onnx_graph import Operator
from compiler.front.operators.elementwise import approximates
from compiler.front.registry import operator
from compiler.ir import expressions as ex
from spu.arch.package.expression import apply, variable

X = variable(0)
ROUNDINGS = {"Floor": ex.floor(X), "Ceil": ex.ceil(X), "Round": ex.rint(X)}
WAVES = {"Sin": ex.sin(X), "Cos": ex.cos(X)}


@operator(*ROUNDINGS)
def whole(low: Lowering, node: Operator) -> int:
    """Floor, Ceil, Round (halves to even) of each element, as far as PAL16 tells them.

    A number within 2^-10 of itself of a whole one, or for Round of a half, is taken as that, as
    most of these have no code of their own, so that the result may be the next one there.  It has
    the rounding of PAL16, too; from 2^11 on, where that is more than 1, it is the number itself.
    """
    return low.program.map(ROUNDINGS[node.op], *low.inputs(node))


@operator(*WAVES)
def wave(low: Lowering, node: Operator) -> int:
    """Sin and Cos of magnitudes up to ``ex.MOST_ANGLE`` (48.7), to ``ex.SINE_ERROR`` and the
    rounding of the angle, which is 2^-10 of itself: 0.05 at 48.

    What is beyond, of which nothing would be left, is refused in each run.
    """
    approximates(low, ex.SINE_ERROR)
    (x,) = low.inputs(node)
    most = ex.MOST_ANGLE
    room = low.program.map(most - apply("abs", X), x)
    low.program.nonnegative[room] = (
        f"{most:.5g} less the magnitude of what {node.op} takes, {node.inputs[0]!r}"
    )
    return low.program.map(WAVES[node.op], x)
