"""Generators of nodes, and the models that they grow: ``grown``, ``NODES``."""

from verif.stimulus.nodes import elements, moves, sums, whole, windows
from verif.stimulus.nodes.growing import NODES, Growing, Unfit, grown

#: Modules that register generators.
MODULES = (elements, moves, sums, whole, windows)

__all__ = ["MODULES", "NODES", "Growing", "Unfit", "grown"]
