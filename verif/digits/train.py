"""Train the 64-64-32-10 digits model and write ``digits.onnx``.

Run ``python -m verif.digits.train [OUTPUT]``.  Deterministic for one version of
scikit-learn and one BLAS; the committed file is what this script wrote.
"""

import sys
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from sklearn.neural_network import MLPClassifier

from verif.digits.data import MODEL, split

HIDDEN = (64, 32)
OPSET, IR_VERSION = 17, 8


def train() -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Weights ``(K, N)`` and biases ``(N,)`` of each layer."""
    images, labels, _, _ = split()
    classifier = MLPClassifier(HIDDEN, alpha=1e-3, max_iter=400, random_state=0)
    classifier.fit(images, labels)
    return [
        (w.astype(np.float32), b.astype(np.float32))
        for w, b in zip(classifier.coefs_, classifier.intercepts_, strict=True)
    ]


def export(layers: list[tuple[NDArray[np.float32], NDArray[np.float32]]]) -> onnx.ModelProto:
    """Flatten, then MatMul + Add + Relu, Gemm + Relu, Gemm: logits of 8x8 images."""
    (w1, b1), (w2, b2), (w3, b3) = layers
    nodes = [
        helper.make_node("Flatten", ["image"], ["x"], "flatten"),
        helper.make_node("MatMul", ["x", "w1"], ["h1"], "hidden_1"),
        helper.make_node("Add", ["h1", "b1"], ["s1"], "bias_1"),
        helper.make_node("Relu", ["s1"], ["a1"], "relu_1"),
        helper.make_node("Gemm", ["a1", "w2", "b2"], ["s2"], "hidden_2", transB=1),
        helper.make_node("Relu", ["s2"], ["a2"], "relu_2"),
        helper.make_node("Gemm", ["a2", "w3", "b3"], ["logits"], "output"),
    ]
    constants = {"w1": w1, "b1": b1, "w2": np.ascontiguousarray(w2.T), "b2": b2, "w3": w3, "b3": b3}
    return classifier("digits", nodes, ["n", 8, 8], constants)


def classifier(
    name: str,
    nodes: list[onnx.NodeProto],
    shape: list[str | int],
    constants: dict[str, NDArray[np.float32]],
) -> onnx.ModelProto:
    """A checked model from ``image`` of a shape to ``logits``."""
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 10])],
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    model = helper.make_model(
        graph,
        producer_name="pal-spu",
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def write(model: onnx.ModelProto, default: Path) -> None:
    """Write a model to the file that the command line names, or to its own."""
    output = Path(sys.argv[1]) if len(sys.argv) > 1 else default
    onnx.save(model, output)
    print(f"wrote {output} ({output.stat().st_size} bytes)")


if __name__ == "__main__":
    write(export(train()), MODEL)
