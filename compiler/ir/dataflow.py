"""Neutral dataflow graphs: a loop body as operations and the words between them."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import networkx as nx

from compiler.errors import CompileError
from compiler.ir.memory import uses_memory
from spu.arch.config import VECTOR_MODE
from spu.arch.operations import CONSTANT

#: Edges that carry a word; edges of kind ``order`` carry none.
VALUE_KINDS = ("data", "pred")
KINDS = (*VALUE_KINDS, "order")
#: Operands of a context: ``a`` and ``b`` from the crossbar, ``c`` from a register.
MAX_OPERANDS = 3
#: Numbers of nodes are data of constants; words are not kept for longer.
MOST_ID, MOST_DISTANCE = (1 << 32) - 1, 255
#: Tensor bias of a kernel, so that the offsets of all its operations fit a vector mode.
MOST_BIAS = 1 << VECTOR_MODE["bias"].width - 2
#: Members of graphs, nodes and edges in files; others mean nothing.
GRAPH_MEMBERS = ("name", "bias", "operations", "nodes", "edges")
NODE_MEMBERS = ("id", "op", "op_norm", "pal", "int")
EDGE_MEMBERS = ("src", "dst", "operand", "distance", "kind")
#: Place of an operand that a file does not number: after those that it does, in file order.
LAST_OPERAND = 1 << 30


@dataclass(frozen=True)
class Node:
    """An operation ``op``, or a constant; ``id`` is unique in its graph.

    ``value`` of a constant, if it has one: its kind and number.  ``bias``: tensor bias of its PAL
    words, if it is not that of the kernel.
    """

    id: int
    op: str
    value: tuple[str, float] | None = None
    bias: int | None = None

    def __str__(self) -> str:
        return f"node {self.id} ({self.op})"


@dataclass(frozen=True)
class Edge:
    """``dst`` takes, as ``operand``, what ``src`` made ``distance`` iterations before."""

    src: int
    dst: int
    operand: int
    distance: int
    kind: str


@dataclass(frozen=True)
class Dataflow:
    """A graph whose edges of distance 0 have no cycle; see ``from_json``.

    ``bias``: tensor bias of all PAL words of a kernel, in 1/8 octave.  ``declared``: whether
    operations of a name use a data memory, where the table of names does not say so.
    ``unread``: members of its file that mean nothing, and how often they are there.
    """

    name: str
    nodes: dict[int, Node]
    edges: tuple[Edge, ...]
    bias: int = 0
    declared: Mapping[str, bool] = field(default_factory=dict)
    unread: Mapping[str, int] = field(default_factory=dict, compare=False)

    @cached_property
    def memory(self) -> frozenset[str]:
        """Names of operations that use a data memory."""
        return frozenset(
            node.op
            for node in self.nodes.values()
            if node.op != CONSTANT and self.declared.get(node.op, uses_memory(node.op))
        )

    def bias_of(self, n: int) -> int:
        """Tensor bias of the words of a node."""
        own = self.nodes[n].bias
        return self.bias if own is None else own

    @cached_property
    def operations(self) -> tuple[int, ...]:
        """Nodes that take a slot of a tile: all but constants, which are in the contexts."""
        return tuple(n for n, node in self.nodes.items() if node.op != CONSTANT)

    @cached_property
    def words(self) -> tuple[Edge, ...]:
        """Edges by which words travel between operations."""
        return tuple(
            e for e in self.edges if e.kind != "order" and self.nodes[e.src].op != CONSTANT
        )

    @cached_property
    def dependences(self) -> tuple[Edge, ...]:
        """Edges between operations, ``order`` included."""
        return tuple(e for e in self.edges if self.nodes[e.src].op != CONSTANT)

    @cached_property
    def dependences_in_order(self) -> tuple[Edge, ...]:
        """Edges between operations, in the order of their sources."""
        place = {n: i for i, n in enumerate(self.order)}
        return tuple(sorted(self.dependences, key=lambda e: place[e.src]))

    @cached_property
    def operands(self) -> dict[int, tuple[Edge, ...]]:
        """Value edges into each operation, in the order of operands."""
        into: dict[int, list[Edge]] = {n: [] for n in self.operations}
        for edge in self.edges:
            if edge.kind != "order":
                into[edge.dst].append(edge)
        return {n: tuple(sorted(edges, key=lambda e: e.operand)) for n, edges in into.items()}

    @cached_property
    def wide(self) -> dict[int, tuple[Edge, ...]]:
        """Operations of more words than a context's first operands, and their words."""
        words = {
            n: tuple(e for e in edges if self.nodes[e.src].op != CONSTANT)
            for n, edges in self.operands.items()
        }
        return {n: edges for n, edges in words.items() if len(edges) == MAX_OPERANDS}

    @cached_property
    def stations(self) -> dict[Edge, int]:
        """Where the word of an edge last was: at its source, or at another consumer.

        A word that is taken in several iterations goes from consumer to consumer.
        """
        out: dict[Edge, int] = {}
        before: dict[int, Edge] = {}
        for edge in sorted(self.words, key=lambda e: e.distance):
            last = before.get(edge.src)
            later = last is not None and last.distance < edge.distance
            out[edge] = last.dst if last is not None and later else edge.src
            before[edge.src] = edge
        return out

    @cached_property
    def sources(self) -> tuple[int, ...]:
        """Operations that would make words in iterations that do not exist.

        All others take a word of their own iteration, without which they make none.
        """
        fed = {e.dst for e in self.words if not e.distance}
        return tuple(n for n in self.operations if n not in fed)

    @cached_property
    def order(self) -> tuple[int, ...]:
        """Operations so that words of the same iteration come from earlier ones."""
        graph = nx.DiGraph()
        graph.add_nodes_from(self.operations)
        graph.add_edges_from((e.src, e.dst) for e in self.dependences if not e.distance)
        return tuple(nx.lexicographical_topological_sort(graph))


def load(path: Path) -> Dataflow:
    """A graph from a JSON file; ``CompileError`` names what is wrong with it."""
    try:
        content = json.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        raise CompileError(f"{path}: not JSON: {error}") from None
    try:
        return from_json(content)
    except CompileError as error:
        raise CompileError(f"{path}: {error}") from None


def from_json(content: Any) -> Dataflow:
    """``{"name", "nodes": [{"id", "op" or "op_norm"}], "edges": [{"src", "dst", "operand",
    "distance", "kind"}]}``; ``distance`` (0) counts iterations, ``kind`` ("data") is one of
    ``KINDS``, constants of kernels have ``pal`` or ``int``, the graph of a kernel may have
    ``bias``, ``"operations": {name: {"memory": true or false}}`` says which operations use a data
    memory where their names do not; other members mean nothing, see ``unread``, nor do
    ``operations`` that declare no operation (a number, a list of names, a table of latencies).
    Operands of equal or no number are in file order.

    Raises
    ------
    CompileError: a member missing or of the wrong type, an edge to or from nothing, no
        operations, or a cycle whose distances are all 0, which is named.
    """
    if not isinstance(content, dict):
        raise CompileError("a graph is a JSON object")
    bias = _member(content, "bias", int, "graph", 0)
    if abs(bias) > MOST_BIAS:
        raise CompileError(f"bias must be -{MOST_BIAS} to {MOST_BIAS}, not {bias}")
    nodes: dict[int, Node] = {}
    for i, member in enumerate(_list(content, "nodes")):
        number = _member(member, "id", int, f"nodes[{i}]")
        names = [member[key] for key in ("op_norm", "op") if key in member] or [None]
        for name in names:
            if not isinstance(name, str) or not name:
                raise CompileError(f"nodes[{i}]: op must be a name, not {name!r}")
        if not 0 <= number <= MOST_ID:
            raise CompileError(f"nodes[{i}]: id must be 0 to {MOST_ID}, not {number}")
        if number in nodes:
            raise CompileError(f"nodes[{i}]: id {number} is there already")
        nodes[number] = Node(number, _text(names[0]), _value(member, f"nodes[{i}]", bias))
    edges = [
        _edge(member, f"edges[{i}]", nodes) for i, member in enumerate(_list(content, "edges"))
    ]
    return checked(
        Dataflow(
            _text(content.get("name", "graph")),
            nodes,
            tuple(edges),
            bias,
            _declared(content.get("operations", {})),
            _unread(content),
        )
    )


def to_json(graph: Dataflow) -> dict:
    """Inverse of ``from_json``."""
    return {
        "name": graph.name,
        "bias": graph.bias,
        "operations": {op: {"memory": memory} for op, memory in graph.declared.items()},
        "nodes": [
            {"id": n, "op": node.op} | ({node.value[0]: node.value[1]} if node.value else {})
            for n, node in graph.nodes.items()
        ],
        "edges": [asdict(e) for e in graph.edges],
    }


def _unread(content: dict) -> Counter[str]:
    """Members of a graph, its nodes and its edges that mean nothing."""
    found = Counter(_text(name) for name in content if name not in GRAPH_MEMBERS)
    for of, known in (("nodes", NODE_MEMBERS), ("edges", EDGE_MEMBERS)):
        found.update(
            f"{_text(name)} of {of}"
            for member in content[of]
            for name in member
            if name not in known
        )
    return found


def _declared(operations: Any) -> dict[str, bool]:
    """What a file declares about operations by name: all of them, or none."""
    if not isinstance(operations, dict) or not any(map(_declares, operations.values())):
        return {}
    declared = {}
    for name, member in operations.items():
        memory = member.get("memory") if isinstance(member, dict) else None
        if not isinstance(memory, bool):
            raise CompileError(
                f"operations[{name!r}]: memory must be true or false, not {memory!r}"
            )
        declared[_text(name)] = memory
    return declared


def _declares(member: Any) -> bool:
    """Whether this can be meant as a declaration of an operation, a malformed one included."""
    return (
        member == {}
        or isinstance(member, bool)
        or (isinstance(member, dict) and "memory" in member)
    )


def _text(value: Any) -> str:
    """A name that can be printed: half characters of JSON cannot."""
    return str(value).encode(errors="replace").decode()


def _list(content: dict, name: str) -> list:
    members = content.get(name)
    if not isinstance(members, list):
        raise CompileError(f"{name} must be a list")
    return members


def _member(member: Any, name: str, kind: type, where: str, default: Any = None) -> Any:
    value = member.get(name, default) if isinstance(member, dict) else None
    if not isinstance(value, kind) or isinstance(value, bool):
        raise CompileError(f"{where}: {name} must be {kind.__name__}, not {value!r}")
    return value


def _value(member: dict, where: str, bias: int) -> tuple[str, float] | None:
    """The value of a constant: ``pal``, a number, or ``int``, an integer of 32 bits."""
    if "pal" in member:
        number, top = member["pal"], 2.0 ** (bias / 8)
        if (
            not isinstance(number, int | float)
            or isinstance(number, bool)
            or not -top <= number <= top
        ):
            raise CompileError(
                f"{where}: pal must be a number from -{top:g} to {top:g}, not {number!r}"
            )
        return "pal", float(number)
    if "int" in member:
        number = _member(member, "int", int, where)
        if not -1 << 31 <= number < 1 << 32:
            raise CompileError(f"{where}: int must fit 32 bits, not {number}")
        return "int", number
    return None


def _edge(member: Any, where: str, nodes: dict[int, Node]) -> Edge:
    src, dst = (_member(member, end, int, where) for end in ("src", "dst"))
    for end in (src, dst):
        if end not in nodes:
            raise CompileError(f"{where}: there is no node {end}")
    distance = _member(member, "distance", int, where, 0)
    kind = _member(member, "kind", str, where, "data")
    if not 0 <= distance <= MOST_DISTANCE:
        raise CompileError(f"{where}: distance must be 0 to {MOST_DISTANCE}, not {distance}")
    if kind not in KINDS:
        raise CompileError(f"{where}: kind must be one of {', '.join(KINDS)}, not {kind!r}")
    if nodes[dst].op == CONSTANT:
        raise CompileError(f"{where}: {nodes[dst]} takes no operands")
    operand = member.get("operand")
    if operand is not None:
        _member(member, "operand", int, where)
    return Edge(src, dst, LAST_OPERAND if operand is None else operand, distance, kind)


def checked(graph: Dataflow) -> Dataflow:
    """The graph; ``CompileError`` if it has no operations, or a cycle whose distances are 0."""
    if not graph.operations:
        raise CompileError("the graph has no operations")
    loops = nx.DiGraph((e.src, e.dst) for e in graph.dependences if not e.distance)
    if not nx.is_directed_acyclic_graph(loops):
        cycle = [src for src, _ in nx.find_cycle(loops)]
        raise CompileError(f"cycle without distance: {path_text(graph, cycle)}")
    return graph


def path_text(graph: Dataflow, cycle: Iterable[int]) -> str:
    """A cycle, for people."""
    members = [str(graph.nodes[n]) for n in cycle]
    return " -> ".join([*members, members[0]])
