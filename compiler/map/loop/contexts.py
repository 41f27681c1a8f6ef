"""A mapping as a program image: contexts, constants, guards and the sequencer."""

from collections.abc import Mapping
from dataclasses import dataclass

from compiler.ir.dataflow import Edge
from compiler.ir.operations import Function, constant_data, mode_of
from compiler.map.loop.crossbars import Crossbars
from compiler.map.loop.route import Place, Routes, RouteTree, Wait
from compiler.map.loop.schedule import Placed, Request
from spu.arch import timing
from spu.arch.bitstream import Image
from spu.arch.config import Guard, Space, TileRegister
from spu.arch.context import CONTEXT, Source
from spu.arch.operations import CONSTANT, IN, OPERATIONS, OUT
from spu.arch.params import EXISTS, Architecture
from spu.arch.program import Tile, Timing, write_region

#: Operation codes that a context holds; 0 is no operation.
CODES = 1 << CONTEXT["op"].width
PORTS = ("a", "b", "c")
#: Cycles from an ``out`` to its word being emitted.
EMITTED = timing.ALU + timing.HOP


@dataclass(frozen=True)
class Assembled:
    """An image, the cycles of an iteration, and what operation codes of each tile stand for."""

    image: Image
    functions: dict[tuple[Tile, int], Function]
    span: int = 0


def assemble(
    request: Request, placed: Placed, routes: Routes, arch: Architecture, kernel: bool
) -> Assembled:
    """The image of a mapping.

    ``kernel``: operations are those of the array (``OPERATIONS``), else codes are numbered.
    """
    return _Assembler(request, placed, routes, arch, kernel).run()


class _Assembler:
    def __init__(
        self, request: Request, placed: Placed, routes: Routes, arch: Architecture, kernel: bool
    ) -> None:
        self.request, self.placed, self.routes, self.arch = request, placed, routes, arch
        self.kernel = kernel
        self.graph, self.ii = request.graph, placed.ii
        self.fields: dict[tuple[Tile, int], dict[str, int]] = {}
        self.constants: dict[Tile, list[int]] = {}
        self.modes: dict[Tile, list[dict[str, int]]] = {}
        self.codes: dict[Tile, dict[Function, int]] = {}
        self.nets = {net.source: net for net in routes.trees}

    def run(self) -> Assembled:
        ports = {n: self._ports(n) for n in self.graph.operations}
        self._constants(ports)
        self.crossbars = Crossbars(self.routes, self.ii, self.fields, self._second(ports))
        for n in self.graph.operations:
            self._operation(n, ports[n])
        for net in self.routes.trees:
            self.crossbars.connect(net, self._own(net))
        return self._image()

    def _at(self, place: Place) -> dict[str, int]:
        return self.fields.setdefault((place[0], place[1] % self.ii), {})

    def _ports(self, n: int) -> dict[Edge, str]:
        """Port of each operand: c for the one in a register, a and b for the others."""
        free, out = ["a", "b"], {}
        for edge in self.graph.operands[n]:
            out[edge] = "c" if edge in self.request.registered else free.pop(0)
        return out

    def _constants(self, ports: Mapping[int, Mapping[Edge, str]]) -> None:
        for n, edges in ports.items():
            for edge in edges:
                if self.graph.nodes[edge.src].op == CONSTANT:
                    known = self.constants.setdefault(self.placed.tile[n], [])
                    if edge.src not in known:
                        known.append(edge.src)
                    self._at(self._place(n))["index"] = known.index(edge.src)

    def _place(self, n: int) -> Place:
        return self.placed.tile[n], self.placed.time[n]

    def _second(self, ports: Mapping[int, Mapping[Edge, str]]) -> dict[tuple[Tile, int], int]:
        """Registers that operands c read."""
        second = {}
        for n, edges in ports.items():
            for edge, port in edges.items():
                if port == "c":
                    tile, time = self._place(n)
                    step = self.nets[edge.src].into[tile, time + self.ii * edge.distance]
                    assert isinstance(step, Wait)
                    second[tile, time % self.ii] = self.routes.register[step.start]
        return second

    def _own(self, net: RouteTree) -> Source:
        """Where the word of an operation appears."""
        return OPERATIONS[self.graph.nodes[net.source].op].source if self.kernel else Source.ALU

    def _operation(self, n: int, ports: Mapping[Edge, str]) -> None:
        tile, time = self._place(n)
        fields = self._at((tile, time))
        fields["op"] = self._array_op(n) if self.kernel else self._code(n, ports)
        fields["guarded"] = int(n in self.graph.sources)
        for edge, port in ports.items():
            if self.graph.nodes[edge.src].op == CONSTANT:
                fields[port] = int(Source.CONSTANT.value)
            elif port != "c":
                net = self.nets[edge.src]
                fields[port] = self.crossbars.source(
                    net, (tile, time + self.ii * edge.distance), self._own(net)
                )

    def _array_op(self, n: int) -> int:
        """An operation of the array; words come in from the north, and go out to the south."""
        op, (tile, time) = self.graph.nodes[n].op, self._place(n)
        if op == IN:
            self._at((tile, time))["a"] = int(Source.NORTH.value)
        if op == OUT:
            self._at((tile, time + timing.ALU))["south"] = int(OPERATIONS[OUT].source.value)
        array_op = OPERATIONS[op].op
        mode = mode_of(self.graph, n)
        if mode is not None:
            known = self.modes.setdefault(tile, [])
            if mode not in known:
                known.append(mode)
            self._at((tile, time))["mode"] = known.index(mode)
        return int(array_op.value)

    def _code(self, n: int, ports: Mapping[Edge, str]) -> int:
        """The number of an uninterpreted operation among those of its tile."""
        needs = tuple(
            port
            for edge, port in ports.items()
            if not edge.distance and self.graph.nodes[edge.src].op != CONSTANT
        )
        function = Function(self.graph.nodes[n].op, tuple(ports.values()), needs)
        codes = self.codes.setdefault(self.placed.tile[n], {})
        code = codes.setdefault(function, len(codes) + 1)
        assert code < CODES, f"more than {CODES - 1} different operations of a tile"
        return code

    def _image(self) -> Assembled:
        image = Image(self.arch)
        for (tile, slot), fields in sorted(self.fields.items()):
            image.write(Space.CONTEXT, tile, slot, fields)
        for tile, nodes in sorted(self.constants.items()):
            for i, node in enumerate(nodes):
                data = (
                    constant_data(self.graph.nodes[node], self.arch, self.graph.bias_of(node))
                    if self.kernel
                    else node
                )
                image.write(Space.CONSTANT, tile, i, {"data": data})
        for n in self.graph.sources:
            tile, time = self._place(n)
            image.write(
                Space.REGISTER,
                tile,
                TileRegister.GUARD + Guard.OP.value,
                {"stage": time // self.ii, "predicate": EXISTS},
            )
        for tile, modes in sorted(self.modes.items()):
            for i, mode in enumerate(modes):
                image.write(Space.REGISTER, tile, TileRegister.VECTOR_MODE + i, mode)
        reads, emits = self._streams() if self.kernel else ({}, {})
        write_region(image, Timing(self.ii, self.span), reads, emits)
        return Assembled(
            image,
            {
                (tile, code): function
                for tile, codes in self.codes.items()
                for function, code in codes.items()
            },
            self.span,
        )

    def _streams(self) -> tuple[dict[int, list[int]], dict[int, list[int]]]:
        """Cycles in which each column takes words in, and gives words out.

        All sources of a tile are in one stage.
        """
        reads: dict[int, list[int]] = {}
        emits: dict[int, list[int]] = {}
        for n in self.graph.operations:
            (_, column), time = self._place(n)
            if self.graph.nodes[n].op == IN:
                reads.setdefault(column, []).append(time)
            elif self.graph.nodes[n].op == OUT:
                emits.setdefault(column, []).append(time + EMITTED)
        return reads, emits

    @property
    def span(self) -> int:
        """Cycles of an iteration until its last operation has started, or its last word is out."""
        return 1 + max(self.placed.time.values()) + (EMITTED if self.kernel else 0)
