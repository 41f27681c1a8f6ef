"""A loop body as a Python function, mapped to an array and run on its golden model."""

from compiler.front.tasks import Pal, carried, task
from compiler.map.loop import kernels
from spu.arch.params import CONFIGS


@task
def smoothed(x: Pal) -> Pal:
    """A quarter of each word, three quarters of what was before."""
    state = carried(Pal, 0.0)
    state.becomes(state.word * 0.75 + x * 0.25)
    return state.next


mapped = smoothed.map(CONFIGS["tiny"])
cycles = kernels.check(mapped, iterations=50).cycles
print(
    f"II {mapped.placed.ii}, the bound is {mapped.bounds.mii}; {cycles} cycles for 50 "
    "iterations, every word as the function has it"
)
