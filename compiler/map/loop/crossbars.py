"""Route trees as fields of contexts: what crossbars take from where, and registers."""

from collections.abc import Mapping

from compiler.map.loop.route import Hop, Place, Routes, RouteTree, Wait
from spu.arch.context import Source
from spu.arch.params import NEIGHBOURS
from spu.arch.program import Tile

#: Fields of contexts by tile and slot.
Fields = dict[tuple[Tile, int], dict[str, int]]


class Crossbars:
    """Sources of words on their routes, with every register of a slot at one of its two ports.

    ``second``: by tile and slot, the register that must be at the second port, which operand c
    reads.  Adds ``register_a`` and ``index`` to ``fields``, whose constants are there already.
    """

    def __init__(
        self, routes: Routes, ii: int, fields: Fields, second: Mapping[tuple[Tile, int], int] = {}
    ) -> None:
        self.routes, self.ii, self.fields = routes, ii, fields
        reads: dict[tuple[Tile, int], set[int]] = {}
        for tree in routes.trees:
            for place, step in tree.into.items():
                if isinstance(step, Wait):
                    reads.setdefault((place[0], place[1] % ii), set()).add(
                        routes.register[step.start]
                    )
        self.port: dict[tuple[Tile, int], dict[int, Source]] = {}
        for key, numbers in reads.items():
            last = second.get(key)
            chosen = self.port[key] = {}
            for number in sorted(numbers, key=lambda r: (r == last, r)):
                here = fields.setdefault(key, {})
                # A constant has the number of the second register.
                first = number != last and Source.REGISTER_A not in chosen.values()
                chosen[number] = Source.REGISTER_A if first else Source.REGISTER_B
                name = "register_a" if first else "index"
                assert name not in here, f"too many reads in tile and slot {key}"
                here[name] = number

    def source(self, tree: RouteTree, place: Place, own: Source) -> int:
        """Where a crossbar has the net's word at a place; ``own``: at its first."""
        step = tree.into[place]
        if step is None:
            return int(own.value)
        if isinstance(step, Hop):
            return int(Source[NEIGHBOURS[step.link][2].upper()].value)
        return int(self.port[place[0], place[1] % self.ii][self.routes.register[step.start]].value)

    def connect(self, tree: RouteTree, own: Source) -> None:
        """Links and writes of registers of a net."""
        for step in tree.into.values():
            if step is None:
                continue
            tile, time = step.start
            here = self.fields.setdefault((tile, time % self.ii), {})
            if isinstance(step, Hop):
                here[step.link] = self.source(tree, step.start, own)
            else:
                here.update(
                    register=self.source(tree, step.start, own),
                    register_write=self.routes.register[step.start],
                )
