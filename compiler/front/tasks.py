"""Hand-written dataflow in Python: functions over words of streams become kernels.

    @task
    def smoothed(x: Pal) -> Pal:
        state = carried(Pal, 0.0)
        state.becomes(state.word * 0.75 + x * 0.25)
        return state.next

A parameter is a word of an input stream each iteration, what is returned leaves in output
streams; ``carried`` is a word from the iteration before, so a loop.  A task that calls another
contains it.  ``smoothed.graph()`` is the dataflow graph, ``smoothed.map(arch)`` the program.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any, Generic, TypeVar, get_args

from compiler.errors import CompileError
from compiler.ir.dataflow import Dataflow, Edge, Node, from_json, to_json
from compiler.map.loop.mapper import Mapped, map_kernel
from spu.arch.operations import CONSTANT, IN, OUT
from spu.arch.params import Architecture

W = TypeVar("W", bound="Word")


@dataclass
class _Trace:
    """The graph of the task that is being traced."""

    nodes: dict[int, Node] = field(default_factory=dict)
    edges: list[Edge] = field(default_factory=list)
    open: list["Carried[Any]"] = field(default_factory=list)

    def node(self, op: str, operands: list["Word"], value: tuple[str, float] | None = None) -> int:
        number = len(self.nodes)
        self.nodes[number] = Node(number, op, value)
        for place, word in enumerate(operands):
            self.edges.append(Edge(word.node, number, place, word.distance, "data"))
        return number


_traces: list[_Trace] = []


def _trace() -> _Trace:
    if not _traces:
        raise CompileError("words exist only in a task that is being traced")
    return _traces[-1]


class Word:
    """A word of each iteration: ``node`` of the graph, ``distance`` iterations before."""

    kind = "word"

    def __init__(self, node: int, distance: int = 0) -> None:
        self.node, self.distance = node, distance

    def __bool__(self) -> bool:
        raise CompileError(
            "a word is no truth value: it is known only when the program runs; use "
            "select, when or unless"
        )

    def _other(self, other: Any) -> "Word":
        """An operand: a word of the same kind, or a number."""
        if isinstance(other, type(self)):
            return other
        if isinstance(other, int | float) and not isinstance(other, bool):
            return type(self)(_trace().node(CONSTANT, [], (self.kind, other)))
        raise CompileError(
            f"an operand of {type(self).__name__} must be that or a number, not "
            f"{type(other).__name__}"
        )

    def _apply(self: W, op: str, *others: Any) -> W:
        return type(self)(_trace().node(op, [self, *(self._other(o) for o in others)]))

    def _swapped(self: W, op: str, other: Any) -> W:
        return type(self)(_trace().node(op, [self._other(other), self]))

    def ago(self: W, iterations: int) -> W:
        """The word of so many iterations before; there is none in the first ones.

        Raises ``CompileError`` for a negative number.
        """
        if iterations < 0:
            raise CompileError(f"a word of {-iterations} iterations later is not known")
        return type(self)(self.node, self.distance + iterations)

    def when(self: W, condition: "Word") -> W:
        """The word, where the condition's first lane is not 0; else none."""
        return type(self)(_trace().node("when", [self, condition]))

    def unless(self: W, condition: "Word") -> W:
        """The word, where the condition's first lane is 0; else none."""
        return type(self)(_trace().node("unless", [self, condition]))

    def otherwise(self: W, other: Any) -> W:
        """The word if there is one, else the other."""
        return self._apply("merge", other)


class Mask(Word):
    """All ones or zeros in each lane."""

    kind = "int"


class Pal(Word):
    """PAL16 numbers, one in each lane."""

    kind = "pal"

    def __add__(self, other: "Pal | float") -> "Pal":
        return self._apply("add", other)

    def __sub__(self, other: "Pal | float") -> "Pal":
        return self._apply("sub", other)

    def __rsub__(self, other: float) -> "Pal":
        return self._swapped("sub", other)

    def __mul__(self, other: "Pal | float") -> "Pal":
        return self._apply("mul", other)

    def __truediv__(self, other: "Pal | float") -> "Pal":
        return self._apply("div", other)

    def __rtruediv__(self, other: float) -> "Pal":
        return self._swapped("div", other)

    __radd__, __rmul__ = __add__, __mul__

    def __neg__(self) -> "Pal":
        return self._apply("neg")

    def __abs__(self) -> "Pal":
        return self._apply("abs")

    def __lt__(self, other: "Pal | float") -> Mask:
        return Mask(self._apply("lt", other).node)

    def equals(self, other: "Pal | float") -> Mask:
        """Lanes that are equal."""
        return Mask(self._apply("eq", other).node)

    def minimum(self, other: "Pal | float") -> "Pal":
        """Lesser of both, lane by lane."""
        return self._apply("min", other)

    def maximum(self, other: "Pal | float") -> "Pal":
        """Greater of both, lane by lane."""
        return self._apply("max", other)

    def where(self, condition: Mask, other: "Pal | float") -> "Pal":
        """Lanes of this where the condition holds, else of the other."""
        return Pal(_trace().node("select", [self, self._other(other), condition]))

    def function(self, name: str) -> "Pal":
        """One of ``FUNCTIONS``; ``CompileError`` for another."""
        if name not in FUNCTIONS:
            raise CompileError(f"{name!r} is no function of words; known: {', '.join(FUNCTIONS)}")
        return self._apply(name)


#: Operations of one word of PAL16 numbers, see the reference.
FUNCTIONS = ("sqrt", "rsqrt", "recip", "exp2", "log2", "relu", "lane_sum", "lane_min", "lane_max")


class Int(Word):
    """int32 numbers, one in each lane."""

    kind = "int"

    def __add__(self, other: "Int | int") -> "Int":
        return self._apply("int_add", other)

    def __sub__(self, other: "Int | int") -> "Int":
        return self._apply("int_sub", other)

    def __and__(self, other: "Int | int") -> "Int":
        return self._apply("int_and", other)

    def __or__(self, other: "Int | int") -> "Int":
        return self._apply("int_or", other)

    def __xor__(self, other: "Int | int") -> "Int":
        return self._apply("int_xor", other)

    def __lshift__(self, other: "Int | int") -> "Int":
        return self._apply("int_shl", other)

    def __rshift__(self, other: "Int | int") -> "Int":
        return self._apply("int_shr", other)

    def __lt__(self, other: "Int | int") -> Mask:
        return Mask(self._apply("int_lt", other).node)

    def equals(self, other: "Int | int") -> Mask:
        """Lanes that are equal."""
        return Mask(self._apply("int_eq", other).node)

    def where(self, condition: Mask, other: "Int | int") -> "Int":
        """Lanes of this where the condition holds, else of the other."""
        return Int(_trace().node("int_select", [self, self._other(other), condition]))

    __radd__, __rand__, __ror__, __rxor__ = __add__, __and__, __or__, __xor__


class Carried(Generic[W]):
    """A word that an iteration hands to the next one: ``word`` now, ``next`` what it becomes."""

    def __init__(self, kind: type[W], first: float) -> None:
        trace = _trace()
        initial = trace.node(CONSTANT, [], (kind.kind, first))
        self.word: W = kind(trace.node("merge", []))
        self.next: W = self.word
        trace.edges.append(Edge(initial, self.word.node, 1, 0, "data"))
        trace.open.append(self)

    def becomes(self, word: W) -> None:
        """Say what the word is in the next iteration.

        Raises ``CompileError`` the second time, and for a word of another kind.
        """
        trace = _trace()
        if self not in trace.open:
            raise CompileError("a carried word becomes something once")
        if type(word) is not type(self.word):
            raise CompileError(
                f"a carried {type(self.word).__name__} becomes that, not {type(word).__name__}"
            )
        trace.open.remove(self)
        self.next = word
        trace.edges.append(Edge(word.node, self.word.node, 0, word.distance + 1, "data"))


def carried(kind: type[W], first: float) -> Carried[W]:
    """A loop of a task: a word with a value ``first`` in the first iteration."""
    return Carried(kind, first)


@dataclass(frozen=True)
class Task:
    """A traced function; see ``task``."""

    function: Callable[..., Any]

    @property
    def name(self) -> str:
        """Name of the function, and of its graph."""
        return self.function.__name__

    def __call__(self, *words: Word) -> Any:
        """The task within another one."""
        _trace()
        return self.function(*words)

    def graph(self, bias: int = 0) -> Dataflow:
        """The dataflow graph, with PAL words of a tensor bias in 1/8 octave.

        Raises ``CompileError`` for parameters that are not annotated, results that are no words or
        of another kind than annotated, constants beyond the tensor bias or 32 bits, and carried
        words that become nothing.
        """
        trace = _Trace()
        _traces.append(trace)
        try:
            signature = inspect.signature(self.function)
            words = [self._kind(p)(trace.node(IN, [])) for p in signature.parameters.values()]
            results = self.function(*words)
        finally:
            _traces.pop()
        if trace.open:
            raise CompileError(f"{self.name}: a carried word becomes nothing")
        returned = results if isinstance(results, tuple) else (results,)
        said = get_args(signature.return_annotation) or (signature.return_annotation,)
        for word, kind in zip_longest(returned, said[: len(returned)], fillvalue=Word):
            if not isinstance(word, Word):
                raise CompileError(f"{self.name}: returns {type(word).__name__}, not words")
            if isinstance(kind, type) and issubclass(kind, Word) and not isinstance(word, kind):
                raise CompileError(
                    f"{self.name}: returns {type(word).__name__}, annotated is {kind.__name__}"
                )
            trace.node(OUT, [word])
        made = Dataflow(self.name, trace.nodes, tuple(trace.edges), bias)
        try:  # by the rules of a file, those of constants too
            return from_json(to_json(made))
        except CompileError as error:
            raise CompileError(f"{self.name}: {error}") from None

    def _kind(self, parameter: inspect.Parameter) -> type[Word]:
        kind = parameter.annotation
        if not (isinstance(kind, type) and issubclass(kind, Word)):
            raise CompileError(
                f"{self.name}: parameter {parameter.name} must be annotated as Pal or Int"
            )
        return kind

    def map(self, arch: Architecture, bias: int = 0, seed: int = 0) -> Mapped:
        """The program for an array; see ``map_kernel``."""
        return map_kernel(self.graph(bias), arch, seed)


def task(function: Callable[..., Any]) -> Task:
    """Make a task of a function whose parameters are annotated as ``Pal`` or ``Int``."""
    return Task(function)
