"""Factors of a claim: one thing is changed after the other, from an H100 to an array."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from perf.constants import Number
from perf.llm.decoder import Decoder
from perf.sizing.chips import h100, spu
from perf.sizing.service import rate

#: Names of the steps; the first three keep area, power and memory, the others do not.
STEPS = ("bits", "compute at equal area and power", "overlap", "newer memory", "newer process")
#: Of ``STEPS``, those at equal area, power, memory and process.
EQUAL = 3


def factors(c: Mapping[str, Number], decoder: Decoder, fmt: str) -> dict[str, Any]:
    """Tokens a second over those of the step before, from an H100 in bfloat16 to an array in
    ``fmt``, full batches; raises ``SplitError`` where the model does not fit."""
    base, goal = h100(c, "bf16"), spu(c, fmt)
    bits = replace(base, weight_bits=goal.weight_bits, cache_bits=goal.cache_bits)
    compute = replace(bits, flop_rate=goal.flop_rate)
    overlap = replace(compute, exposed=goal.exposed, fused=goal.fused)
    memory = replace(overlap, bandwidth=overlap.bandwidth * c["newer_memory"])
    process = replace(memory, flop_rate=memory.flop_rate * c["newer_process"])
    chips = (base, bits, compute, overlap, memory, process)
    rates = [rate(c, decoder, each) for each in chips]
    with np.errstate(divide="ignore", invalid="ignore"):  # where the first has no room for a query
        return {
            name: after / before
            for name, before, after in zip(STEPS, rates[:-1], rates[1:], strict=True)
        }
