"""Lowering of ONNX graphs: node after node.

A node is computed beforehand, if it is of constants; lowered, if its operator is registered; or
taken apart, if it stands for others.  What cannot be is a refusal; the nodes after it then go on
with its outputs as inputs of the program, of the shape that they would have had.
"""

from collections.abc import Callable, Mapping

import numpy as np
from onnx import (
    FunctionProto,
    NodeProto,
    TensorProto,
    TypeProto,
    ValueInfoProto,
    helper,
    numpy_helper,
    shape_inference,
)

from compiler.errors import CompileError, Refusal
from compiler.front import honoured, learned
from compiler.front.folding import folded
from compiler.front.functions import Opsets, branch, inlined, names_in, opsets_of, standard_body
from compiler.front.honoured import Schema
from compiler.front.named import Named, array_of, host_type, shape_of
from compiler.front.onnx_graph import Graph, line_of, operator_of
from compiler.front.place import Place
from compiler.front.registry import ON_INTEGERS, ON_QUANTISED, OPERATORS

REQUANTISED = (
    "the model is quantised to integers: here its weights and activations are rounded to PAL, "
    "activations within the ranges of the integers"
)
UNSUPPORTED = "operator is not supported"
#: Nodes of a graph, with those that others are made of; functions of the model within each other.
MOST_NODES, MOST_DEPTH = 5000, 50
#: Elements of constants that shape inference is told.
MOST_TOLD = 1024


class Lowering(Named):
    """Nodes in order, with the tensors made so far."""

    def __init__(self, graph: Graph) -> None:
        super().__init__(graph.name)
        self.graph = graph
        self.refusals: list[Refusal] = []
        #: What refused nodes would have made: of a known shape, and not even that.
        self.unknown: set[str] = set()
        self.lost: set[str] = set()
        self.nodes = 0
        #: Functions of the model that are being taken apart, the innermost last.
        self.calls: list[tuple[str, str, str]] = []
        #: Of tensors, those within nodes among them.
        self.names = {*graph.inputs, *graph.initialisers, *names_in(graph.nodes)}

    def run(self) -> None:
        """Make the program and the ``refusals``; ``CompileError`` for bad inputs and constants."""
        program, graph = self.program, self.graph
        for name, kind in graph.inputs.items():
            self.types[name] = kind
            try:
                self.tensors[name] = program.inputs[name] = program.tensor(
                    shape_of(kind) or (), dtype=host_type(kind.tensor_type.elem_type)
                )
            except CompileError as error:
                raise CompileError(f"input {name!r}: {error}") from None
        used = {*names_in(graph.nodes), *(o.name for o in graph.outputs)}
        for name, tensor in graph.initialisers.items():
            if name in used:
                self._constant(name, array_of(name, tensor))
        for node in graph.nodes:
            self._node(node, graph.opsets, Place.of(node))
            program.results.update(self.tensors[o] for o in node.output if o in self.tensors)
        for value in graph.outputs:
            if value.name not in self.unknown | self.lost:
                self._output(value)

    # Nodes.

    def _node(self, node: NodeProto, opsets: Opsets, place: Place) -> None:
        """A node of the user: lowered, or a refusal."""
        before = len(self.program.steps)
        self.program.current = f"{place.operator} node {place.node!r}"
        try:
            self._lower(node, opsets, place)
        except CompileError as error:
            self.refusals.append(Refusal(place.node, place.operator, place.path + str(error)))
            del self.program.steps[before:]
            self._unknown(node, opsets)

    def _unknown(self, node: NodeProto, opsets: Opsets) -> None:
        """Outputs of a node that is refused: of the inferred shape, or lost."""
        types: Mapping[str, TypeProto] = {}
        try:
            if node.domain in ("", "ai.onnx"):
                types = self._inferred(node, honoured.schema_of(node.op_type, opsets[""]), opsets)
        except (CompileError, KeyError):
            types = {}
        for name in (o for o in node.output if o):
            shape = shape_of(types[name]) if name in types else None
            try:
                if shape is None:
                    raise CompileError("no shape")
                self.tensors[name] = self.program.inputs[name] = self.program.tensor(
                    shape, dtype=host_type(types[name].tensor_type.elem_type)
                )
                self.types[name] = types[name]
                self.unknown.add(name)
            except CompileError:
                self.lost.add(name)

    def _lower(self, node: NodeProto, opsets: Opsets, place: Place) -> None:
        self.nodes += 1
        if self.nodes > MOST_NODES:
            raise CompileError(f"the graph has more than {MOST_NODES} nodes")
        function = self.graph.functions.get((node.domain, node.op_type, node.overload))
        if function is not None:
            self._called(node, function, place)
            return
        if node.domain == learned.DOMAIN and node.op_type in learned.LEARNED:
            self._learned(node, opsets, place)
            return
        if node.domain not in ("", "ai.onnx"):
            raise CompileError(f"operators of the domain {node.domain!r} are not supported")
        opset = opsets.get("", 1)
        schema = honoured.schema_of(node.op_type, opset)
        supported = node.op_type in OPERATORS
        if supported:
            honoured.check(schema, operator_of(node, schema).attributes)
        if any(i in self.lost for i in node.input):
            if not (
                supported
                or node.op_type == "If"
                or schema.has_function
                or schema.has_context_dependent_function
            ):
                raise CompileError(UNSUPPORTED)
            self.lost.update(o for o in node.output if o)
            return
        self._given(node)
        if node.op_type == "If":
            self._branched(node, opsets, place)
            return
        if self._folded(node, schema, opset, opsets):
            return
        if supported:
            self._handled(node, schema, opsets)
            return
        full = NodeProto()
        full.CopyFrom(node)
        given = {a.name for a in node.attribute}
        full.attribute.extend(
            helper.make_attribute(name, value)
            for name, value in honoured.defaults(schema).items()
            if name not in given
        )
        body = standard_body(
            full, schema, opset, [self.types.get(i, TypeProto()) for i in node.input]
        )
        if body is None:
            raise CompileError(UNSUPPORTED)
        own = opsets_of(body.opset_import) or dict(opsets)
        for inner in inlined(full, body, self._fresh(node)):
            self._lower(inner, own, place)

    def _given(self, node: NodeProto) -> None:
        """Raise ``CompileError`` for an input that nothing makes."""
        for name in (i for i in node.input if i and i not in self.types):
            raise CompileError(f"there is no tensor {name!r}")

    def _learned(self, node: NodeProto, opsets: Opsets, place: Place) -> None:
        """Lower an operator of ``ai.onnx.ml`` by what it stands for."""
        if any(i in self.lost for i in node.input):
            self.lost.update(o for o in node.output if o)
            return
        self._given(node)
        shape = shape_of(self.types[node.input[0]]) or ()
        body = learned.stands_for(node, opsets, shape, self._fresh(node))
        for name, values in body.constants.items():
            self._constant(name, values)
        for inner in body.nodes:
            self._lower(inner, learned.OPSETS, place)
        for line in body.notes:
            self.program.note(line)

    def _called(self, node: NodeProto, function: FunctionProto, place: Place) -> None:
        """Lower a call of a function of the model."""
        name = node.domain, node.op_type, node.overload
        if name in self.calls:
            raise CompileError("the function calls itself")
        if len(self.calls) == MOST_DEPTH:
            raise CompileError(f"functions call each other more than {MOST_DEPTH} deep")
        self.calls.append(name)
        own = opsets_of(function.opset_import)
        try:
            for inner in inlined(node, function, self._fresh(node)):
                self._node(inner, own, place.inside(inner))
        finally:
            self.calls.pop()

    def _branched(self, node: NodeProto, opsets: Opsets, place: Place) -> None:
        """Lower the branch that a constant condition chooses; of another both, and what chooses."""
        chooses = self.program.tensors[self.tensor(node.input[0])]
        if chooses.size != 1:
            raise CompileError(f"its condition has {chooses.size} elements, not one")
        condition = self.constants.get(node.input[0], chooses.constant)
        if condition is not None:
            self._branch(node, "then" if condition.ravel()[0] else "else", opsets, place)
            return
        fresh, made = self._fresh(node), []
        for which in ("then", "else"):
            of_branch = NodeProto()
            of_branch.CopyFrom(node)
            of_branch.output[:] = [fresh(f"{which}/{o}") if o else "" for o in node.output]
            self._branch(of_branch, which, opsets, place)
            made.append(of_branch.output)
        one = fresh("condition")
        self._constant(fresh("scalar"), np.array([], np.int64))
        scalar = helper.make_node("Reshape", [node.input[0], next(reversed(self.constants))], [one])
        self._lower(scalar, opsets, place)
        for out, *both in zip(node.output, *made, strict=True):
            if not out:
                continue
            if self.lost.intersection(both):
                self.lost.add(out)
                continue
            shapes = [shape_of(self.types[name]) for name in both]
            if shapes[0] != shapes[1]:
                raise CompileError(
                    f"its branches make {shapes[0]} and {shapes[1]}: only a constant condition "
                    "chooses between shapes"
                )
            self._lower(helper.make_node("Where", [one, *both], [out]), opsets, place)

    def _branch(self, node: NodeProto, which: str, opsets: Opsets, place: Place) -> None:
        """Lower a branch in the place of its node."""
        graph = next(a.g for a in node.attribute if a.name == f"{which}_branch")
        constants, nodes = branch(node, graph, self._fresh(node))
        for name, tensor in constants.items():
            self._constant(name, array_of(name, tensor))
        for inner in nodes:
            self._node(inner, opsets, place.inside(inner))

    def _fresh(self, node: NodeProto) -> Callable[[str], str]:
        """Names for what is made within a node."""

        def fresh(inner: str) -> str:
            name = f"{Place.of(node).node}/{inner}"
            while name in self.names:
                name += "'"
            self.names.add(name)
            return name

        return fresh

    def _folded(self, node: NodeProto, schema: Schema, opset: int, opsets: Opsets) -> bool:
        """Compute a node of constants, or of shapes."""
        given = [i for i in node.input if i]
        feeds = {i: self.constants[i] for i in given if i in self.constants}
        if node.op_type in ("Shape", "Size", "EyeLike") and not feeds:
            # Only the shape counts, and of EyeLike the type.
            feeds = {
                i: np.broadcast_to(
                    np.zeros(
                        (), helper.tensor_dtype_to_np_dtype(self.types[i].tensor_type.elem_type)
                    ),
                    self.program.shape(self.tensors[i]),
                )
                for i in given
            }
        if len(feeds) < len(set(given)):
            return False
        types = self._inferred(node, schema, opsets)
        shapes = [shape_of(types.get(o, TypeProto())) for o in node.output if o]
        values = folded(node, opset, feeds, shapes)
        if values is None:
            return False
        for name, value in zip((o for o in node.output if o), values, strict=True):
            self._constant(name, value)
        if node.op_type == "DequantizeLinear":
            self.program.note(REQUANTISED)
        return True

    def _handled(self, node: NodeProto, schema: Schema, opsets: Opsets) -> None:
        """Lower a node by what is registered for its operator, and compare with its schema."""
        given = [i for i in node.input if i and i not in self.constants]
        handlers, quantised = OPERATORS, [i for i in dict.fromkeys(given) if i in self.quantised]
        for name in quantised if node.op_type not in ON_QUANTISED else ():
            self.round(name)
        for place, name in enumerate(node.input):
            if name and name not in self.constants:
                formal = schema.inputs[min(place, len(schema.inputs) - 1)]
                self._typed(name, f"takes {name!r}", "tensor(bool)" in formal.types)
        self._alike(given)
        if quantised and node.op_type in ON_QUANTISED:
            handlers = ON_QUANTISED
        elif not all(self.program.is_real(self.tensors[name]) for name in given):
            handlers = OPERATORS | ON_INTEGERS
        types = self._inferred(node, schema, opsets)
        try:
            with np.errstate(all="ignore"):  # infinities among constants
                made = handlers[node.op_type](self, operator_of(node, schema))
        except CompileError:
            raise
        except (
            ValueError,
            IndexError,
            KeyError,
            TypeError,
            ZeroDivisionError,
            OverflowError,
            MemoryError,
        ) as error:
            raise CompileError(line_of(error)) from None
        made = made if isinstance(made, list) else [made]
        if any(node.output[len(made) :]):
            raise CompileError(f"has only {len(made)} of its outputs here")
        for name, tensor in zip(node.output, made, strict=False):
            if not name:
                continue
            shape, wanted = self.program.shape(tensor), shape_of(types.get(name, TypeProto()))
            if wanted is not None and wanted != shape:
                raise CompileError(f"its output has the shape {wanted}, not {shape}")
            # Inference knows nothing of the oldest versions: their outputs are as their inputs.
            kind = (
                types.get(name, TypeProto()).tensor_type.elem_type
                or self.types[node.input[0]].tensor_type.elem_type
            )
            self.types[name] = helper.make_tensor_type_proto(kind, shape)
            self.tensors[name], self.makers[name] = tensor, self.program.current
            self._typed(name, f"makes {name!r}")

    def _inferred(self, node: NodeProto, schema: Schema, opsets: Opsets) -> dict[str, TypeProto]:
        """Types of the outputs."""
        data = {
            i: numpy_helper.from_array(self.constants[i], i)
            for i in node.input
            if i in self.constants and self.constants[i].size <= MOST_TOLD
        }
        try:
            return shape_inference.infer_node_outputs(
                schema,
                node,
                {i: self.types[i] for i in node.input if i in self.types},
                data,
                opset_imports=[helper.make_opsetid(d, v) for d, v in opsets.items()],
            )
        except Exception as error:  # a library's own, of any kind
            raise CompileError(f"not a valid ONNX model: {line_of(error)}") from None

    def _output(self, value: ValueInfoProto) -> None:
        name, declared = value.name, value.type.tensor_type
        try:
            if name in self.quantised:
                self.round(name)
            tensor = self.program.outputs[name] = self.tensor(name)
            self._typed(name, f"output {name!r} is")
            of_array = self.program.is_real(tensor)
            if of_array and self.types[name].tensor_type.elem_type == TensorProto.BOOL:
                self.program.truths.add(name)
            values = self.program.tensors[tensor].constant
            if values is not None and not np.isfinite(values).all():
                raise CompileError(f"output {name!r} is constant and not finite")
            shape, dims = self.program.shape(tensor), declared.shape.dim
            # Open dimensions have a name, none, or -1.
            if declared.HasField("shape") and (
                len(dims) != len(shape)
                or any(
                    d.HasField("dim_value") and d.dim_value not in (-1, n)
                    for d, n in zip(dims, shape, strict=True)
                )
            ):
                wanted = [
                    d.dim_value if d.HasField("dim_value") else d.dim_param or "?" for d in dims
                ]
                said = f"output {name!r} has the shape {list(shape)}, the model says {wanted}"
                # Exporters guess how many dimensions are open.
                if len(dims) == len(shape) or all(d.HasField("dim_value") for d in dims):
                    raise CompileError(said)
                self.program.note(said)
        except CompileError as error:
            self.refusals.append(Refusal("", "", str(error)))
