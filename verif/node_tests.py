"""The operator tests of the onnx package: which of them apply, and why others do not."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from compiler.errors import CompileError
from compiler.tensors.lower import FLOATS, OPERATORS, lower
from compiler.tensors.program import Program

#: Operators that tests may have beside those that are lowered: they are computed beforehand.
FOLDED = ("Constant",)
#: Reasons why a test does not apply, by a part of what the compiler says of it.
REASONS = {
    "casts to": "a cast to integers or to floats below 16 bits: the array has no such numbers",
    "training_mode": "training of BatchNormalization",
    "of its outputs": "positions of maxima: the second output is integers",
    "is infinite": "the greatest of no elements is infinite, which PAL has not",
    "holds": "a constant of infinities or NaN, which the array does not compute with",
}
INTEGERS = "data of integers or truth values: not float semantics"
NARROW = "data of floats below 16 bits"
INFINITE = "infinities or NaN among inputs or expected outputs"


@dataclass(frozen=True)
class Case:
    """A test: its program, or the ``reason`` why it does not apply."""

    name: str
    operators: tuple[str, ...]
    program: Program | None
    inputs: dict[str, NDArray]
    outputs: dict[str, NDArray]
    reason: str = ""


def cases() -> Iterator[Case]:
    """All tests made of operators that are supported."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.loader import load_model_tests
        tests = load_model_tests(kind="node")
    for test in tests:
        operators = tuple(dict.fromkeys(n.op_type for n in test.model.graph.node))
        if set(operators) <= {*OPERATORS, *FOLDED}:
            yield _case(test, operators)


def _array(value: object) -> NDArray:
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) \
        else np.asarray(value)


def _case(test: object, operators: tuple[str, ...]) -> Case:
    """A test; inputs of integers (axes, shapes, indices) and bounds of Clip become constants."""
    model = onnx.ModelProto()
    model.CopyFrom(test.model)  # type: ignore[attr-defined]
    given, expected = test.data_sets[0]  # type: ignore[attr-defined]
    inputs: dict[str, NDArray] = {}
    for value, array in zip(list(model.graph.input), map(_array, given), strict=True):
        first = value.name == test.model.graph.input[0].name  # type: ignore[attr-defined]
        bound = operators == ("Clip",) and not first
        if value.type.tensor_type.elem_type not in FLOATS and not first or bound:
            model.graph.initializer.append(numpy_helper.from_array(array, value.name))
            model.graph.input.remove(value)
        else:
            inputs[value.name] = array
    outputs = dict(zip((o.name for o in model.graph.output), map(_array, expected), strict=True))
    types = [v.type.tensor_type.elem_type for v in (*model.graph.input, *model.graph.output)]
    name = test.name  # type: ignore[attr-defined]

    def skipped(reason: str) -> Case:
        return Case(name, operators, None, inputs, outputs, reason)
    for kind in types:
        if kind not in FLOATS:
            narrow = onnx.TensorProto.DataType.Name(kind).startswith("FLOAT")
            return skipped(NARROW if narrow else INTEGERS)
    try:
        program = lower(model, name)
    except CompileError as error:
        for part, reason in REASONS.items():
            if part in str(error):
                return skipped(reason)
        raise
    for array in (*inputs.values(), *outputs.values()):
        if not np.isfinite(array.astype(np.float64)).all():
            return skipped(INFINITE)
    return Case(name, operators, program, inputs, outputs)
