"""Models in float, by something that is not of this project."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from verif.zoo.entry import Inputs

Float = Callable[[Inputs], dict[str, NDArray]]


def reference(model: onnx.ModelProto) -> Float:
    """The model in float by ONNX Runtime, or by the standard's reference where that is missing."""
    names = [value.name for value in model.graph.output]
    try:
        import onnxruntime
    except ImportError:
        from onnx.reference import ReferenceEvaluator

        evaluator = ReferenceEvaluator(model)
        return lambda inputs: _arrays(names, evaluator.run(names, inputs))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    # A fused operator is not what the file says.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return lambda inputs: _arrays(names, session.run(names, inputs))


def _arrays(names: Sequence[str], values: Iterable[Any]) -> dict[str, NDArray]:
    """Outputs by name; of a sequence of maps the values of each, in the order of the keys."""
    return {
        name: np.array([[x for _, x in sorted(each.items())] for each in value], np.float32)
        if isinstance(value, list)
        else np.asarray(value)
        for name, value in zip(names, values, strict=True)
    }
