"""Links between chips, and the time of collectives over them.

A fabric is a tree of switches: chips in a server, servers in a rack, racks in a hall, each level
with what one chip sends through it.  A group of neighbouring chips is as slow as the slowest level
that it needs.  Costs are those of latency and bandwidth (Thakur, Rabenseifner and Gropp, 2005;
Patarasuk and Yuan, 2009 for the bound of rings), each chip sending and receiving at once.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from spu.arch.errors import UserError


class FabricError(UserError):
    """Links that are none, or a group that they do not join."""


@dataclass(frozen=True)
class Level:
    """``chips`` that a switch of this level joins; bytes/s of a chip in one direction; seconds a
    message takes from end to end."""

    name: str
    chips: int
    bandwidth: Any
    latency: Any


@dataclass(frozen=True)
class Fabric:
    """Levels, the smallest first.  Raises ``FabricError`` where one holds not the one before."""

    levels: tuple[Level, ...]

    def __post_init__(self) -> None:
        inner = 1
        for level in self.levels:
            if level.chips <= inner or level.chips % inner:
                raise FabricError(
                    f"{level.name}: joins {level.chips} chips, which must be a larger multiple of "
                    f"{inner}"
                )
            if np.min(level.bandwidth) <= 0 or np.min(level.latency) < 0:
                raise FabricError(f"{level.name}: bandwidth must be positive, latency not negative")
            inner = level.chips

    def joins(self, chips: int) -> tuple[Any, Any]:
        """Bandwidth and latency of a group of neighbours: bytes/s of a chip, seconds.

        Raises ``FabricError`` if no level joins so many.
        """
        bandwidth: Any = np.inf
        for level in self.levels:
            bandwidth = np.minimum(bandwidth, level.bandwidth)
            if chips <= level.chips:
                return bandwidth, level.latency
        most = self.levels[-1].chips if self.levels else 1
        raise FabricError(f"{chips} chips: the links join {most} at most")


def ring_all_reduce(n: int, size: Any, bandwidth: Any, latency: Any) -> Any:
    """Seconds to sum ``size`` bytes of each of ``n`` chips in a ring: 2 (n - 1) messages of 1/n."""
    return 2 * (n - 1) * (latency + size / n / bandwidth)


def tree_all_reduce(n: int, size: Any, bandwidth: Any, latency: Any) -> Any:
    """The same up and down a binary tree: 2 ceil(log2 n) messages of all bytes."""
    return 2 * (n - 1).bit_length() * (latency + size / bandwidth)


def ring_all_gather(n: int, size: Any, bandwidth: Any, latency: Any) -> Any:
    """Seconds until each has all of ``size`` bytes, of which each had 1/n."""
    return (n - 1) * (latency + size / n / bandwidth)


def all_reduce(fabric: Fabric, n: int, size: Any) -> Any:
    """Seconds of the faster of ring and tree; 0 of one chip.  Raises ``FabricError``."""
    return _over(
        fabric, n, lambda *to: np.minimum(ring_all_reduce(*to), tree_all_reduce(*to)), size
    )


def scatter(fabric: Fabric, n: int, size: Any, copies: int) -> Any:
    """Seconds until each of ``n`` chips sent ``size`` bytes to ``copies`` of them, drawn evenly.

    Several copies for a group below a switch pass that switch as one (as DeepEP sends tokens to
    experts), and messages are in flight together: a level takes its latency once.  Raises
    ``FabricError``.
    """
    time, inner = 0.0 * size, 1
    for level in fabric.levels:
        if inner >= n:
            break
        group, groups = min(level.chips, n), n / inner
        reached = groups * (1 - (1 - 1 / groups) ** copies)
        time = time + level.latency + reached * (1 - inner / group) * size / level.bandwidth
        inner = level.chips
    else:
        fabric.joins(n)
    return time


def send(fabric: Fabric, chips: int, size: Any) -> Any:
    """Seconds of a message to the neighbour ``chips`` away.  Raises ``FabricError``."""
    bandwidth, latency = fabric.joins(chips + 1)
    return latency + size / bandwidth


def _over(fabric: Fabric, n: int, cost: Callable[..., Any], size: Any) -> Any:
    return cost(n, size, *fabric.joins(n)) if n > 1 else 0.0 * size
