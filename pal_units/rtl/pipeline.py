"""Pipeline registers between the steps of a unit."""

from amaranth.hdl import Module, Signal, ValueLike


class Pipeline:
    """Puts ``stages`` rows of registers after the ``steps`` steps of a unit.

    The rows are spread evenly, the last one after the last step: with as many stages as
    steps every step is registered, with 0 the unit is combinational.  The latency of the
    unit is ``stages`` cycles, its throughput one operation a cycle.

    Raises
    ------
    ValueError: ``stages`` out of ``0..steps``.
    """

    def __init__(self, m: Module, steps: int, stages: int) -> None:
        self.m, self.steps, self.stages, self.done = m, steps, stages, 0
        check_stages(stages, steps)

    def step(self, *values: ValueLike) -> list[Signal]:
        """End a step that computed ``values``: what the next step takes as its inputs."""
        self.done += 1
        registered = (
            self.done * self.stages // self.steps > (self.done - 1) * self.stages // self.steps
        )
        following = [Signal(v.shape(), name=f"step_{self.done}_{i}") for i, v in enumerate(values)]
        domain = self.m.d.sync if registered else self.m.d.comb
        domain += [after.eq(before) for after, before in zip(following, values, strict=True)]
        return following


def check_stages(stages: int, steps: int) -> None:
    """Raise ``ValueError`` unless a unit of so many steps can have so many stages."""
    if not 0 <= stages <= steps:
        raise ValueError(f"stages must be 0 to {steps}, not {stages}")
