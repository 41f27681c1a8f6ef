"""Graphs whose operations fit a context: two words of which one is a constant, or three words."""

from dataclasses import replace

import networkx as nx

from compiler.ir.dataflow import MAX_OPERANDS, Dataflow, Edge, Node
from spu.arch.operations import CONSTANT, PASS


def legalise(graph: Dataflow) -> Dataflow:
    """The graph with operands numbered from 0, and without operations that are too wide.

    A constant shares its field with the register of the third operand: of two operands one may be
    a constant, of three none.  Other constants come from operations ``pass``.  An operation of
    more than three words becomes a chain: partial operations ``op.0``, ``op.1``, ... take three
    words each, and the operation itself the last ones: those of earlier iterations and, after
    them, those of its own recurrences.
    """
    legal = _Legal(graph)
    for n in graph.operations:
        edges = [replace(e, operand=i) for i, e in enumerate(graph.operands[n])]
        legal.take(n, legal.without_constants(edges))
    legal.edges += [e for e in graph.edges if e.kind == "order"]
    given = {node.op for node in graph.nodes.values()}
    parts = {node.op: False for node in legal.nodes.values() if node.op not in given}
    return replace(
        graph, nodes=legal.nodes, edges=tuple(legal.edges), declared=parts | dict(graph.declared)
    )


class _Legal:
    def __init__(self, graph: Dataflow) -> None:
        self.graph, self.nodes = graph, dict(graph.nodes)
        self.edges: list[Edge] = []
        self.passed: dict[int, int] = {}
        loops = nx.DiGraph((e.src, e.dst) for e in graph.dependences)
        loops.add_nodes_from(graph.operations)
        self.part = {
            n: i for i, part in enumerate(nx.strongly_connected_components(loops)) for n in part
        }
        self.unused = iter(
            i for i in range(2 * len(graph.nodes) + len(graph.edges)) if i not in graph.nodes
        )

    def node(self, op: str, bias: int | None = None) -> int:
        number = next(self.unused)
        self.nodes[number] = Node(number, op, bias=bias)
        return number

    def without_constants(self, edges: list[Edge]) -> list[Edge]:
        """Operands of an operation, some constants of which are made by operations."""
        kept = {e.src for e in edges if self._constant(e)}
        kept = {min(kept)} if kept and len(edges) <= 2 else set()
        out = []
        for e in edges:
            if self._constant(e) and e.src not in kept:
                if e.src not in self.passed:
                    self.passed[e.src] = self.node(PASS, self.graph.nodes[e.src].bias)
                    self.edges.append(Edge(e.src, self.passed[e.src], 0, 0, "data"))
                e = replace(e, src=self.passed[e.src], distance=0)
            out.append(e)
        return out

    def _constant(self, edge: Edge) -> bool:
        return self.graph.nodes[edge.src].op == CONSTANT

    def take(self, n: int, edges: list[Edge]) -> None:
        """Give an operation its operands, by partial operations if they are too many."""
        if len(edges) > MAX_OPERANDS:
            edges = sorted(
                edges, key=lambda e: (self.part.get(e.src) == self.part[n], e.distance > 0)
            )
        part = 0
        while len(edges) > MAX_OPERANDS:
            partial = self.node(f"{self.graph.nodes[n].op}.{part}")
            now, edges = edges[:MAX_OPERANDS], edges[MAX_OPERANDS:]
            self.edges += [replace(e, dst=partial, operand=i) for i, e in enumerate(now)]
            edges = [Edge(partial, n, 0, 0, "data"), *edges]
            part += 1
        self.edges += [replace(e, operand=i) for i, e in enumerate(edges)]
