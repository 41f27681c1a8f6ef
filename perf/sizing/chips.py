"""Chips by sustained rates: an H100, and an array of the same area, power and memory.

Nothing of the array was made in silicon.  Its rates are an H100's times ratios: of netlists that
this project measured, and of assumptions (``perf/constants.toml``), each with a range.
"""

from collections.abc import Mapping

import numpy as np

from perf.cluster.links import Fabric, Level
from perf.cluster.steady import Chip
from perf.constants import Number
from perf.machines import machine
from spu.arch.errors import UserError

#: What sizing compares: the chip of the name in the format.
CHIPS = ("h100-bf16", "h100-fp8", "spu-pal8", "spu-pal4")
#: Servers that the links between them join.
_SERVERS = 16384


class ChipError(UserError):
    """A chip that sizing does not know."""


def chip(c: Mapping[str, Number], name: str) -> Chip:
    """One of ``CHIPS``; raises ``ChipError``."""
    if name not in CHIPS:
        raise ChipError(f"no chip {name!r}; there are {', '.join(CHIPS)}")
    kind, fmt = name.split("-")
    return h100(c, fmt) if kind == "h100" else spu(c, fmt)


def h100(c: Mapping[str, Number], fmt: str) -> Chip:
    """An H100 in ``bf16`` or ``fp8``; computes as fast as matrices and the limit of power allow."""
    made = machine("h100")
    peak = made.peak("bfloat16" if fmt == "bf16" else fmt)
    rate = np.minimum(
        peak * c[f"gpu_efficiency_{fmt}"], made.watts / c[f"gpu_joules_per_flop_{fmt}"]
    )
    bits = 16.0 if fmt == "bf16" else 8.0
    return Chip(
        rate,
        made.bandwidth * c["memory_efficiency"],
        made.number("memory", "bytes"),
        c["gpu_exposed"],
        fabric(c),
        bits,
        bits,
    )


def spu(c: Mapping[str, Number], fmt: str) -> Chip:
    """An array in ``pal8`` (PAL8T) or ``pal4`` (PAL4A) with an H100's area, power, memory, links.

    By area: the H100's peak in FP8 over the area of a multiply-accumulate against E4M3's.  By
    power: its joules an operation in FP8, of which the arithmetic changes as the netlists do, and
    the rest with the bits that move.
    """
    made, bits = machine("h100"), c[f"bits_{fmt}"]
    by_area = made.peak("fp8") * c["arithmetic_density"] / c[f"area_{fmt}"]
    share = c["arithmetic_energy_share"]
    joules = c["gpu_joules_per_flop_fp8"] * (
        share * c[f"energy_{fmt}"] + (1 - share) * c["movement_energy"] * bits / 8
    )
    rate = np.minimum(by_area * c["spu_matrix_efficiency"], made.watts / joules)
    return Chip(
        rate,
        made.bandwidth * c["memory_efficiency"],
        made.number("memory", "bytes"),
        c["spu_exposed"],
        fabric(c),
        bits,
        bits,
        fused=True,
    )


def fabric(c: Mapping[str, Number]) -> Fabric:
    """Links of servers of H100: NVLink within, a network between."""
    server = int(c["server_chips"])
    return Fabric(
        (
            Level("server", server, machine("h100").number("links", "nvlink"), c["server_latency"]),
            Level("hall", server * _SERVERS, c["link_bandwidth"], c["hall_latency"]),
        )
    )
