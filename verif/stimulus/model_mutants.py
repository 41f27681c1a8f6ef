"""Models for fuzzing: small valid ones, and changes that mostly keep them valid.

Seeds are models that grow of all operators and the node tests of the onnx package; changes are of
attributes, opsets, element types, shapes, names, values, operators, and of what is constant.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import onnx
from numpy.random import Generator
from numpy.typing import NDArray
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from compiler.front.honoured import FLOATS, Schema
from compiler.front.registry import OPERATORS
from verif.node_tests import node_tests
from verif.stimulus.nodes import grown

#: Elements of the tensors of a seed.
MOST_ELEMENTS = 600
ELEMENTWISE = (
    "Relu",
    "Sigmoid",
    "Tanh",
    "Erf",
    "Exp",
    "Log",
    "Sqrt",
    "Abs",
    "Neg",
    "Reciprocal",
    "Softmax",
    "Identity",
    "Elu",
    "LeakyRelu",
    "HardSigmoid",
    "Softplus",
    "Gelu",
    "Hardmax",
    "LogSoftmax",
    "MeanVarianceNormalization",
    "Selu",
)
PAIRS = ("Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Sum", "Mean", "PRelu", "Mod")
KINDS = (
    TensorProto.FLOAT16,
    TensorProto.DOUBLE,
    TensorProto.BFLOAT16,
    TensorProto.INT32,
    TensorProto.INT64,
    TensorProto.UINT8,
    TensorProto.BOOL,
)
OPSETS = (1, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25)


@dataclass(frozen=True)
class Mutant:
    """``changes`` made to the seed ``name``, and inputs by name."""

    number: int
    name: str
    model: ModelProto
    inputs: dict[str, NDArray]
    changes: tuple[str, ...]


def mutant(number: int, seed: int = 0) -> Mutant:
    """A model that depends on both numbers alone: two of four as they were grown, one grown and
    changed, one of a test, which is changed but for every eighth."""
    rng = np.random.default_rng([seed, number])
    name, model, inputs = _test(rng) if number % 4 == 1 else grown(rng)
    changes = []
    for _ in range(0 if number % 2 == 0 or number % 32 == 1 else int(rng.integers(1, 4))):
        change = CHANGES[int(rng.integers(len(CHANGES)))]
        try:
            inputs = change(model, inputs, rng)
        except (ValueError, IndexError, KeyError, TypeError, OverflowError):
            continue  # nothing of the kind to change
        changes.append(change.__name__.strip("_"))
    return Mutant(number, name, model, inputs, tuple(changes))


def prepare_seeds() -> None:
    """Load what takes its time, before processes are forked."""
    _tests()


# Seeds.


@cache
def _tests() -> list:
    """Node tests of small tensors; those of operators that are lowered come first."""
    found = []
    for test in node_tests():
        values = [v for v in test.data_sets[0][0] if isinstance(v, np.ndarray)]
        if (
            len(values) == len(test.model.graph.input)
            and sum(v.size for v in values) <= MOST_ELEMENTS
        ):
            found.append(test)
    return sorted(found, key=lambda t: not _lowered(t.model))


def _lowered(model: ModelProto) -> bool:
    return all(n.op_type in OPERATORS for n in model.graph.node)


def _test(rng: Generator) -> tuple[str, ModelProto, dict[str, NDArray]]:
    """Three of four of operators that are lowered."""
    tests = _tests()
    split = sum(_lowered(t.model) for t in tests)
    test = tests[int(rng.integers(split if rng.random() < 0.75 else len(tests)))]
    model = ModelProto()
    model.CopyFrom(test.model)
    return (
        test.name,
        model,
        dict(zip((v.name for v in model.graph.input), test.data_sets[0][0], strict=True)),
    )


# Changes: of the model in place; they return the inputs.

Change = Callable[[ModelProto, dict[str, NDArray], Generator], dict[str, NDArray]]


def _node(model: ModelProto, rng: Generator) -> NodeProto:
    return model.graph.node[int(rng.integers(len(model.graph.node)))]


def _opset(model: ModelProto, inputs: dict, rng: Generator) -> dict:
    for entry in model.opset_import:
        if entry.domain in ("", "ai.onnx"):
            entry.version = int(rng.choice(OPSETS))
    return inputs


def _attribute(model: ModelProto, inputs: dict, rng: Generator) -> dict:
    """Changed or removed."""
    node = _node(model, rng)
    attribute = node.attribute[int(rng.integers(len(node.attribute)))]
    match attribute.type:
        case _ if rng.random() < 0.2:
            node.attribute.remove(attribute)
        case AttributeProto.INT:
            attribute.i = int(rng.choice([-2, -1, 0, 1, 2, 3, 10]))
        case AttributeProto.INTS:
            attribute.ints[int(rng.integers(len(attribute.ints)))] = int(rng.integers(-2, 5))
        case AttributeProto.FLOAT:
            attribute.f = float(rng.choice([0, -1, 0.3, 1, 3, 1e-5, 100]))
        case AttributeProto.STRING:
            attribute.s = str(
                rng.choice(
                    ["", "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID", "tanh", "none", "linear"]
                )
            ).encode()
    return inputs


def _more_attributes(model: ModelProto, inputs: dict, rng: Generator) -> dict:
    """One that some version of the operator has."""
    node = _node(model, rng)
    schemas: Sequence[Schema] = onnx.defs.get_all_schemas_with_history()
    known = {
        (name, a.type.value)
        for s in schemas
        if s.name == node.op_type and s.domain == ""
        for name, a in s.attributes.items()
    }
    name, number = sorted(known - {(a.name, a.type) for a in node.attribute})[
        int(rng.integers(len(known)))
    ]
    values = {
        "INT": int(rng.integers(-1, 4)),
        "FLOAT": float(rng.choice([0.5, -1, 2])),
        "INTS": [int(n) for n in rng.integers(-1, 4, int(rng.integers(1, 5)))],
        "STRING": "SAME_UPPER",
    }
    node.attribute.append(
        helper.make_attribute(name, values[AttributeProto.AttributeType.Name(number)])
    )
    return inputs


def _type(model: ModelProto, inputs: dict, rng: Generator) -> dict:
    """Of all floats of the model, constants and outputs included."""
    kind = int(rng.choice(KINDS))
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        if value.type.tensor_type.elem_type in FLOATS:
            value.type.tensor_type.elem_type = kind
    for tensor in model.graph.initializer:
        if tensor.data_type in FLOATS:
            with np.errstate(all="ignore"):
                values = numpy_helper.to_array(tensor).astype(dtype)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return {n: v.astype(dtype) if v.dtype.kind == "f" else v for n, v in inputs.items()}


def _shape(model: ModelProto, inputs: dict, rng: Generator) -> dict:
    """A dimension of an input, which often does not fit then; or open."""
    value = model.graph.input[int(rng.integers(len(model.graph.input)))]
    dims = value.type.tensor_type.shape.dim
    place = int(rng.integers(len(dims)))
    size = int(rng.choice([0, 1, 2, 3, -1, -2]))
    if size == -2:
        dims[place].dim_param = "n"
    else:
        dims[place].dim_value = size
    for output in model.graph.output:
        for dim in output.type.tensor_type.shape.dim:
            dim.dim_param = "m"
    new = inputs[value.name]
    shape = [*new.shape[:place], max(size, 1) if size else 0, *new.shape[place + 1 :]]
    return inputs | {value.name: np.resize(new, shape) if new.size else np.zeros(shape, new.dtype)}


def _name(model: ModelProto, inputs: dict, rng: Generator) -> dict:
    """Of a tensor or of a node."""
    new = str(
        rng.choice(
            ["file", "a b", "naïve", "x/y:0", "input", "../up", "n" * 300, "'\"", "%s", "[red]"]
        )
    )
    if rng.random() < 0.3:
        _node(model, rng).name = new
        return inputs
    graph = model.graph
    names = sorted({v.name for v in (*graph.input, *graph.output, *graph.initializer)})
    old = names[int(rng.integers(len(names)))]
    for node in graph.node:
        node.input[:] = [new if i == old else i for i in node.input]
        node.output[:] = [new if o == old else o for o in node.output]
    for member in (*graph.input, *graph.output, *graph.initializer, *graph.value_info):
        member.name = new if member.name == old else member.name
    return {new if n == old else n: v for n, v in inputs.items()}


def _constants(model: ModelProto, inputs: dict, rng: Generator) -> dict:
    """Values of a constant."""
    tensor = model.graph.initializer[int(rng.integers(len(model.graph.initializer)))]
    values = np.array(numpy_helper.to_array(tensor))
    factor = rng.choice([0, -1, 1e5, 1e-7, 3e38, 0.5, np.inf, np.nan])
    with np.errstate(all="ignore"):
        changed = (
            values * factor
            if rng.random() < 0.5
            else np.where(rng.random(values.shape) < 0.3, factor, values)
        )
        tensor.CopyFrom(numpy_helper.from_array(changed.astype(values.dtype), tensor.name))
    return inputs


def _constant_input(model: ModelProto, inputs: dict, rng: Generator) -> dict:
    """An input becomes a constant."""
    value = model.graph.input[int(rng.integers(len(model.graph.input)))]
    model.graph.initializer.append(numpy_helper.from_array(inputs[value.name], value.name))
    name = value.name
    model.graph.input.remove(value)
    return {n: v for n, v in inputs.items() if n != name}


def _input_constant(model: ModelProto, inputs: dict, rng: Generator) -> dict:
    """A constant becomes an input."""
    tensor = model.graph.initializer[int(rng.integers(len(model.graph.initializer)))]
    values = np.array(numpy_helper.to_array(tensor))
    model.graph.input.append(
        helper.make_tensor_value_info(tensor.name, tensor.data_type, values.shape)
    )
    name = tensor.name
    model.graph.initializer.remove(tensor)
    return inputs | {name: values}


def _inputs(model: ModelProto, inputs: dict, rng: Generator) -> dict:
    """Values of the inputs: small, large, whole, positive, zero."""
    kind = int(rng.integers(6))

    def changed(values: NDArray) -> NDArray:
        new = [
            values * 1e-3,
            values * 300,
            np.rint(values * 3),
            np.abs(values),
            values * 0,
            rng.normal(0, 1, values.shape),
        ][kind]
        return np.asarray(new).astype(values.dtype)

    return {n: changed(v) if v.dtype.kind == "f" else v for n, v in inputs.items()}


def _operator(model: ModelProto, inputs: dict, rng: Generator) -> dict:
    node = _node(model, rng)
    node.op_type = str(rng.choice(ELEMENTWISE if len(node.input) == 1 else PAIRS))
    return inputs


def _function(model: ModelProto, inputs: dict, rng: Generator) -> dict:
    """A node becomes the body of a function."""
    node = _node(model, rng)
    body = NodeProto()
    body.CopyFrom(node)
    formal = {n: f"f{k}" for k, n in enumerate(dict.fromkeys([*node.input, *node.output])) if n}
    body.input[:] = [formal.get(i, "") for i in node.input]
    body.output[:] = [formal.get(o, "") for o in node.output]
    given, made = ([n for n in dict.fromkeys(names) if n] for names in (node.input, node.output))
    model.functions.append(
        helper.make_function(
            "own",
            "F",
            [formal[i] for i in given],
            [formal[o] for o in made],
            [body],
            list(model.opset_import),
        )
    )
    model.opset_import.append(helper.make_opsetid("own", 1))
    node.op_type, node.domain = "F", "own"
    node.input[:], node.output[:] = given, made
    del node.attribute[:]
    return inputs


def _unused(model: ModelProto, inputs: dict, rng: Generator) -> dict:
    """A constant that nothing uses."""
    model.graph.initializer.append(
        numpy_helper.from_array(np.array([np.nan, np.inf, 1], np.float32), "unused")
    )
    return inputs


CHANGES: tuple[Change, ...] = (
    _opset,
    _opset,
    _attribute,
    _attribute,
    _more_attributes,
    _type,
    _shape,
    _name,
    _constants,
    _constant_input,
    _input_constant,
    _inputs,
    _operator,
    _function,
    _unused,
)
