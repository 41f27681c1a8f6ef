"""Front end: ONNX model to a chain of layers."""

from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import numpy_helper, shape_inference

from compiler.errors import CompileError
from compiler.graph import Layer, Network
from compiler.tensors import honoured
from compiler.tensors.functions import opsets_of
from compiler.tensors.honoured import FLOATS
from compiler.tensors.onnx_graph import operator_of

#: Operators of the ONNX standard that the front end takes.
SUPPORTED = ("Gemm", "MatMul", "Add", "Relu", "Flatten", "Identity", "Cast")


def load_network(path: Path) -> Network:
    """Read an ONNX file whose graph is a chain of dense layers.

    Raises ``CompileError`` for a file that is no valid ONNX model, an unsupported
    operator (named with its node), several inputs or outputs, branches, shapes that are
    not fixed or do not fit, and weights that are NaN or infinite.
    """
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
        model = shape_inference.infer_shapes(model, strict_mode=True)
    except OSError as error:
        raise CompileError(f"{path}: cannot be read: {error.strerror}") from None
    except (DecodeError, onnx.checker.ValidationError, shape_inference.InferenceError,
            ValueError, TypeError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else "empty message"
        raise CompileError(f"{path}: not a valid ONNX model: {first}") from None
    return _Importer(model.graph, path.stem, opsets_of(model.opset_import).get("", 1)).network()


class _Importer:
    """Walks the nodes in order and keeps the layer under construction."""

    def __init__(self, graph: onnx.GraphProto, name: str, opset: int) -> None:
        self.graph, self.name, self.opset = graph, name, opset
        used = {i for node in graph.node for i in node.input}
        self.constants = {t.name: self._constant(t.name, numpy_helper.to_array(t))
                          for t in graph.initializer if t.name in used}
        known = {t.name for t in graph.initializer}
        inputs = [i.name for i in graph.input if i.name not in known]
        if len(inputs) != 1 or len(graph.output) != 1:
            raise CompileError(f"{name}: the graph must have one input and one output, "
                               f"not {len(inputs)} and {len(graph.output)}")
        kind = next(i for i in graph.input if i.name == inputs[0]).type.tensor_type.elem_type
        if kind not in FLOATS:
            raise CompileError(f"input {inputs[0]!r} is of {onnx.TensorProto.DataType.Name(kind)}; "
                               "only floats of 16 bits and more are computed")
        self.input = self.current = inputs[0]
        self.layers: list[Layer] = []
        shapes = {v.name: v.type.tensor_type.shape
                  for v in (*graph.input, *graph.value_info, *graph.output)}
        self.features = self._features(inputs[0], shapes[inputs[0]])

    @staticmethod
    def _constant(name: str, values: NDArray) -> NDArray:
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            bad = int((~np.isfinite(values)).sum())
            raise CompileError(f"weights {name!r} hold {bad} values that are NaN or infinite")
        return values

    def _features(self, name: str, shape: onnx.TensorShapeProto) -> int:
        """Elements of one input vector: every dimension but the first, which is the batch."""
        sizes = [d.dim_value if d.HasField("dim_value") else 0 for d in shape.dim]
        if len(sizes) < 2 or not all(sizes[1:]):
            raise CompileError(f"input {name!r} must have a batch dimension and fixed sizes "
                               f"after it, its shape is {sizes}")
        return int(np.prod(sizes[1:]))

    def network(self) -> Network:
        for node in self.graph.node:
            label = f"{node.op_type} node {node.name or node.output[0]!r}"
            if node.op_type == "Constant":
                value = onnx.helper.get_attribute_value(node.attribute[0])
                if not isinstance(value, onnx.TensorProto):
                    raise CompileError(f"{label}: only tensor constants are supported")
                self.constants[node.output[0]] = self._constant(
                    node.output[0], numpy_helper.to_array(value))
                continue
            if node.op_type not in SUPPORTED or node.domain not in ("", "ai.onnx"):
                raise CompileError(f"{label}: operator is not supported; supported are "
                                   f"{', '.join(SUPPORTED)}; more in separate steps (--steps)")
            dynamic = [i for i in node.input if i and i not in self.constants]
            if dynamic != [self.current]:
                raise CompileError(f"{label}: takes {dynamic or 'only constants'}; every node "
                                   f"must take the result before it, {self.current!r}, once")
            try:
                schema = honoured.schema_of(node.op_type, self.opset)
                honoured.check(schema, operator_of(node, schema).attributes)
            except CompileError as error:
                raise CompileError(f"{label}: {error}") from None
            getattr(self, f"_{node.op_type.lower()}")(node, label)
            self.current = node.output[0]
        if self.current != self.graph.output[0].name:
            raise CompileError(f"output {self.graph.output[0].name!r} is not the last result, "
                               f"{self.current!r}")
        if not self.layers:
            raise CompileError(f"{self.name}: the graph has no Gemm or MatMul")
        return Network(self.name, tuple(self.layers), self.input)

    def _weight(self, node: onnx.NodeProto, label: str) -> NDArray[np.float64]:
        if node.input[0] != self.current:
            raise CompileError(f"{label}: the first operand must be the data, "
                               "the second the weights")
        weight = self.constants[node.input[1]].astype(np.float64)
        if weight.ndim != 2:
            raise CompileError(f"{label}: weights must have 2 dimensions, not {weight.ndim}")
        return weight

    def _push(self, label: str, name: str, weight: NDArray, bias: NDArray) -> None:
        if weight.shape[0] != self.features:
            raise CompileError(f"{label}: weights take {weight.shape[0]} elements, "
                               f"{self.current!r} has {self.features}")
        self.layers.append(Layer(name, weight, bias, relu=False))
        self.features = weight.shape[1]

    def _gemm(self, node: onnx.NodeProto, label: str) -> None:
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        if attributes.get("transA", 0):
            raise CompileError(f"{label}: transA is not supported")
        weight = self._weight(node, label) * attributes.get("alpha", 1.0)
        weight = weight.T if attributes.get("transB", 0) else weight
        bias = np.zeros(weight.shape[1])
        if len(node.input) > 2 and node.input[2]:
            bias = self._bias(self.constants[node.input[2]], weight.shape[1], label) \
                * attributes.get("beta", 1.0)
        self._push(label, node.name or node.output[0], weight, bias)

    def _matmul(self, node: onnx.NodeProto, label: str) -> None:
        weight = self._weight(node, label)
        self._push(label, node.name or node.output[0], weight, np.zeros(weight.shape[1]))

    @staticmethod
    def _bias(values: NDArray, outputs: int, label: str) -> NDArray[np.float64]:
        try:
            return np.broadcast_to(values.astype(np.float64), (1, outputs)).reshape(outputs)
        except ValueError:
            raise CompileError(f"{label}: the addend of shape {values.shape} does not fit "
                               f"{outputs} results") from None

    def _add(self, node: onnx.NodeProto, label: str) -> None:
        if not self.layers or self.layers[-1].relu:
            raise CompileError(f"{label}: an Add must directly follow a Gemm or MatMul")
        constant = next(i for i in node.input if i in self.constants)
        given = {a.name: a.i for a in node.attribute}
        if given.get("axis", 1) != 1 or (self.opset < 7 and not given.get("broadcast")):
            raise CompileError(f"{label}: before opset 7 an addend takes attributes broadcast=1, "
                               f"axis=1, not {given}")
        last = self.layers.pop()
        bias = last.bias + self._bias(self.constants[constant], len(last.bias), label)
        self.layers.append(Layer(last.name, last.weight, bias, relu=False))

    def _relu(self, node: onnx.NodeProto, label: str) -> None:
        if not self.layers:
            raise CompileError(f"{label}: a Relu must follow a Gemm or MatMul")
        last = self.layers.pop()
        self.layers.append(Layer(last.name, last.weight, last.bias, relu=True))

    def _flatten(self, node: onnx.NodeProto, label: str) -> None:
        axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
        if axis != 1:
            raise CompileError(f"{label}: axis must be 1, not {axis}")

    def _identity(self, node: onnx.NodeProto, label: str) -> None:
        """Nothing to do."""

    def _cast(self, node: onnx.NodeProto, label: str) -> None:
        to = next(a.i for a in node.attribute if a.name == "to")
        if to not in FLOATS:
            raise CompileError(f"{label}: casts to {onnx.TensorProto.DataType.Name(to)}; "
                               "only floating-point types are supported")
