"""Models that grow node by node: typed tensors of known shapes, from which each node takes its own.

A generator of a node (``NODES``) asks for tensors that fit, existing ones or new ones, which are
inputs of the model or constants, and adds its node; the types of its outputs are those of the
standard's shape inference.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray
from onnx import ModelProto, NodeProto, TensorProto, TypeProto, helper, numpy_helper
from onnx.shape_inference import infer_node_outputs

from compiler.errors import CompileError
from compiler.front.functions import names_in
from compiler.front.honoured import HONOURED, schema_of

FLOAT, INT64, INT32, BOOL = (
    TensorProto.FLOAT,
    TensorProto.INT64,
    TensorProto.INT32,
    TensorProto.BOOL,
)
UINT8, INT8 = TensorProto.UINT8, TensorProto.INT8
Shape = tuple[int, ...]
Fits = Callable[[Shape], bool]
#: Elements of a tensor, nodes of a model, attempts to add one that fits.
MOST_ELEMENTS, MOST_NODES, ATTEMPTS = 300, 8, 40
#: Operators whose first output is as their first input, which inference does not know.
LIKE_FIRST = ("GroupNormalization", "MeanVarianceNormalization")
#: Sizes of axes; opsets of models, newer ones as often again.
SIZES = (1, 1, 2, 3, 4, 5)
OPSETS = (*range(7, 26), *range(17, 26))


class Unfit(Exception):
    """A node that cannot be made here: of this opset, or of these tensors."""


class Growing:
    """A model so far; its methods give names of tensors.

    ``values`` are of inputs and constants, ``kinds`` and ``shapes`` of all tensors.
    """

    def __init__(self, rng: Generator, opset: int) -> None:
        self.rng, self.opset = rng, opset
        self.nodes: list[NodeProto] = []
        self.values: dict[str, NDArray] = {}
        self.inputs: list[str] = []
        self.kinds: dict[str, int] = {}
        self.shapes: dict[str, Shape] = {}

    # Chance.

    def coin(self, chance: float = 0.5) -> bool:
        return bool(self.rng.random() < chance)

    def one(self, choices: Sequence) -> Any:
        return choices[int(self.rng.integers(len(choices)))]

    def number(self, least: int, most: int) -> int:
        return int(self.rng.integers(least, most + 1))

    def dims(self, rank: int) -> Shape:
        return tuple(int(n) for n in self.rng.choice(SIZES, rank))

    def axis(self, shape: Shape, least: int = 0) -> int:
        """An axis from ``least`` on, counted from either end."""
        if len(shape) <= least:
            raise Unfit(f"no axis of {shape}")
        axis = self.number(least, len(shape) - 1)
        return axis - len(shape) if self.coin(0.3) else axis

    # Tensors.

    def constant(self, values: ArrayLike, kind: int = FLOAT) -> str:
        """An initialiser, shared with equal ones."""
        made = np.asarray(values, helper.tensor_dtype_to_np_dtype(kind))
        for name, old in self.values.items():
            same = old.dtype == made.dtype and np.array_equal(old, made)
            if name not in self.inputs and same and old.shape == made.shape:
                return name
        return self._named(made, "c")

    def ints(self, values: ArrayLike) -> str:
        return self.constant(values, INT64)

    def new(self, shape: Shape, kind: int = FLOAT, fed: bool | None = None) -> str:
        """A tensor of random values: an input of the model if ``fed``, by chance if None."""
        if int(np.prod(shape)) > MOST_ELEMENTS:
            raise Unfit(f"more than {MOST_ELEMENTS} elements")
        values = np.asarray(self._random(shape, kind), helper.tensor_dtype_to_np_dtype(kind))
        if self.coin(0.6) if fed is None else fed:
            name = self._named(values, "x")
            self.inputs.append(name)
            return name
        return self._named(values, "c")

    def take(
        self, fits: Fits = lambda shape: True, shape: Shape | None = None, kind: int = FLOAT
    ) -> str:
        """A tensor that exists and ``fits``, else a new one of ``shape``; None: of any."""
        computed = {o for node in self.nodes for o in node.output}
        found = [n for n in self.shapes if self.kinds[n] == kind and fits(self.shapes[n])]
        fresh = [n for n in found if n in computed]
        if found and self.coin(0.85):
            return str(self.one(fresh if fresh and self.coin(0.8) else found))
        if shape is None:
            shape = self.dims(self.number(0, 4))
            if not fits(shape):
                raise Unfit(f"no tensor fits but of another shape than {shape}")
        return self.new(shape, kind)

    def ranked(self, least: int, most: int = 4, kind: int = FLOAT) -> str:
        """A tensor of so many axes."""
        return self.take(
            lambda s: least <= len(s) <= most and 0 not in s,
            self.dims(self.number(least, most)),
            kind,
        )

    def shaped(self, *shape: int, kind: int = FLOAT) -> str:
        """A tensor of this shape."""
        return self.take(lambda s: s == shape, shape, kind)

    def beside(self, shape: Shape, kind: int = FLOAT) -> str:
        """A tensor that can be broadcast to a shape, by older opsets too."""
        rank = self.number(0, len(shape))
        own = tuple(1 if self.coin(0.3) else n for n in shape[len(shape) - rank :])
        return self.take(lambda s: _broadcast(s, shape), own, kind)

    def _random(self, shape: Shape, kind: int) -> NDArray:
        rng = self.rng
        if kind == BOOL:
            return rng.random(shape) < 0.5
        if kind in (UINT8, INT8):
            return rng.integers(0, 256, shape) - (128 if kind == INT8 else 0)
        if kind != FLOAT:
            return rng.integers(-3, 6, shape)
        match self.number(0, 7):
            case 0:  # ties, halves
                return rng.integers(-4, 5, shape) / 2
            case 1:
                return np.abs(rng.normal(0, 1, shape)) + 0.1
            case 2:
                return rng.normal(0, 8, shape)
        return rng.normal(0, 1, shape)

    def _named(self, values: NDArray, prefix: str) -> str:
        name = f"{prefix}{len(self.values)}"
        self.values[name] = values
        self.shapes[name] = values.shape
        self.kinds[name] = helper.np_dtype_to_tensor_dtype(values.dtype)
        return name

    # Nodes.

    def version(self, op: str) -> int:
        """Of an operator in the model's opset; ``Unfit`` if it is none that is honoured."""
        try:
            version = int(schema_of(op, self.opset).since_version)
        except CompileError as error:
            raise Unfit(str(error)) from None
        if op in HONOURED and version not in HONOURED[op].versions:
            raise Unfit(f"version {version} of {op} is not honoured")
        return version

    def add(self, op: str, *inputs: str, outputs: int = 1, **attributes: Any) -> str:
        """Add a node, whose first output's name is returned; attributes of None are not given.

        Raises ``Unfit`` if the standard knows no shape of an output, or the node is refused by it.
        """
        self.version(op)
        number = len(self.nodes)
        names = [f"t{number}" if k == 0 else f"t{number}_{k}" for k in range(outputs)]
        given = {n: v for n, v in attributes.items() if v is not None}
        while inputs and not inputs[-1]:
            inputs = inputs[:-1]
        node = helper.make_node(op, list(inputs), names, name=f"n{number}", **given)
        types = {
            i: helper.make_tensor_type_proto(self.kinds[i], self.shapes[i]) for i in inputs if i
        }
        data = {
            i: numpy_helper.from_array(self.values[i], i)
            for i in inputs
            if i in self.values and i not in self.inputs
        }
        try:
            found = infer_node_outputs(
                schema_of(op, self.opset),
                node,
                types,
                data,
                opset_imports=[helper.make_opsetid("", self.opset)],
                ir_version=8,
            )
        except Exception as error:  # of the checker, of any kind
            raise Unfit(str(error)) from None
        if op in LIKE_FIRST:
            found = {names[0]: types[inputs[0]]}
        for name in names:
            self._typed(name, found.get(name, TypeProto()))
        self.nodes.append(node)
        return names[0]

    def _typed(self, name: str, kind: TypeProto) -> None:
        tensor = kind.tensor_type
        dims = [d.dim_value if d.HasField("dim_value") else -1 for d in tensor.shape.dim]
        if not tensor.elem_type or not tensor.HasField("shape") or -1 in dims:
            raise Unfit(f"shape of {name} is unknown")
        if int(np.prod(dims)) > MOST_ELEMENTS:
            raise Unfit(f"more than {MOST_ELEMENTS} elements")
        self.kinds[name], self.shapes[name] = tensor.elem_type, tuple(dims)

    # Models.

    def model(self) -> tuple[ModelProto, dict[str, NDArray]]:
        """The model, whose outputs are what nothing takes and some of the rest; its inputs."""
        taken = set(names_in(self.nodes))
        made = [o for node in self.nodes for o in node.output]
        used = {i for node in self.nodes for i in node.input}
        outputs = [o for o in made if o not in used or self.coin(0.15)]
        inputs = [n for n in self.inputs if n in taken]

        def declared(name: str) -> onnx.ValueInfoProto:
            return helper.make_tensor_value_info(name, self.kinds[name], self.shapes[name])

        graph = helper.make_graph(
            self.nodes,
            "grown",
            [declared(n) for n in inputs],
            [declared(n) for n in outputs],
            [
                numpy_helper.from_array(v, n)
                for n, v in self.values.items()
                if n in taken and n not in inputs
            ],
        )
        model = helper.make_model(
            graph, ir_version=8, opset_imports=[helper.make_opsetid("", self.opset)]
        )
        return model, {n: self.values[n] for n in inputs}


def _broadcast(shape: Shape, to: Shape) -> bool:
    return len(shape) <= len(to) and all(
        m in (1, n) for m, n in zip(shape[::-1], to[::-1], strict=False)
    )


Generate = Callable[[Growing, str], str | None]
#: What adds a node, by operator.
NODES: dict[str, Generate] = {}


def node(*names: str) -> Callable[[Generate], Generate]:
    """A generator of nodes of these operators."""

    def register(generate: Generate) -> Generate:
        NODES.update(dict.fromkeys(names, generate))
        return generate

    return register


def grown(rng: Generator) -> tuple[str, ModelProto, dict[str, NDArray]]:
    """A model of one to ``MOST_NODES`` nodes, every operator as often; its operators as a name."""
    growing = Growing(rng, int(rng.choice(OPSETS)))
    names, wanted = sorted(NODES), int(rng.integers(1, MOST_NODES + 1))
    for _ in range(ATTEMPTS):
        op = names[int(rng.integers(len(names)))]
        try:
            NODES[op](growing, op)
        except Unfit:
            continue
        if len(growing.nodes) >= wanted:
            break
    return (f"opset {growing.opset} {' '.join(n.op_type for n in growing.nodes)}", *growing.model())
