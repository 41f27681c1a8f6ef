"""Broken ONNX files: ``python -m verif.fuzz_onnx COUNT`` reads and lowers mutants of models.

Each must be refused with a ``CompileError``, or be a program, within ``LIMIT`` seconds; in other
processes, so that a crash of a library is seen as one that takes too long.
"""

import multiprocessing
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from onnx import TensorProto, helper, shape_inference

from compiler.errors import CompileError
from compiler.front.lower import lower
from compiler.front.onnx_graph import read
from verif.digits.cnn import MODEL as CNN
from verif.digits.data import MODEL

#: Seconds that a file may take.
LIMIT = 20


def seeds() -> list[bytes]:
    """Files that are mutated: small, of many operators."""
    value = helper.make_tensor_value_info
    nodes = [
        helper.make_node("Reshape", ["x", "shape"], ["r"]),
        helper.make_node("Transpose", ["r"], ["t"], perm=[1, 0]),
        helper.make_node("Softmax", ["t"], ["s"], axis=-1),
        helper.make_node("Slice", ["s", "starts", "ends"], ["c"]),
        helper.make_node("ReduceMean", ["c", "axes"], ["m"], keepdims=1),
        helper.make_node("Sub", ["c", "m"], ["y"]),
    ]
    constants = [
        helper.make_tensor(name, TensorProto.INT64, [len(v)], v)
        for name, v in {"shape": [6, 4], "starts": [0, 1], "ends": [4, 5], "axes": [1]}.items()
    ]
    graph = helper.make_graph(
        nodes,
        "seed",
        [value("x", TensorProto.FLOAT, [2, 3, 4])],
        [value("y", TensorProto.FLOAT, None)],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    model = shape_inference.infer_shapes(model)
    return [CNN.read_bytes(), MODEL.read_bytes(), model.SerializeToString()]


def mutants(count: int, seed: int = 0) -> Iterator[bytes]:
    """Files with bytes changed, removed, repeated or cut off, and with members changed."""
    rng = np.random.default_rng(seed)
    models = seeds()
    for i in range(count):
        content = bytearray(models[i % len(models)])
        if i % 2:
            yield _changed(bytes(content), rng)
            continue
        for _ in range(int(rng.integers(1, 5))):
            at = int(rng.integers(len(content)))
            # Most of a file is weights; what stands before them breaks more.
            at = at % 400 if rng.random() < 0.7 else at
            match int(rng.integers(4)):
                case 0:
                    content[at] ^= 1 << int(rng.integers(8))
                case 1:
                    del content[at : at + int(rng.integers(1, 9))]
                case 2:
                    content[at:at] = content[at : at + int(rng.integers(1, 9))]
                case 3:
                    content = content[: max(at, 1)]
        yield bytes(content)


def _changed(content: bytes, rng: np.random.Generator) -> bytes:
    """A model that still can be parsed, with something changed in it."""
    model = onnx.load_from_string(content)
    graph = model.graph
    node = graph.node[int(rng.integers(len(graph.node)))]
    match int(rng.integers(8)):
        case 0:
            node.op_type = str(
                rng.choice(
                    [
                        "Conv",
                        "Gemm",
                        "Concat",
                        "Split",
                        "Gather",
                        "Pow",
                        "Flatten",
                        "Clip",
                        "LSTM",
                        "If",
                        "Squeeze",
                        "Pad",
                    ]
                )
            )
        case 1:
            del node.input[int(rng.integers(len(node.input)))]
        case 2:
            node.input[int(rng.integers(len(node.input)))] = str(
                rng.choice(["", "nothing", *(o for n in graph.node for o in n.output)])
            )
        case 3:
            dims = graph.initializer[int(rng.integers(len(graph.initializer)))].dims
            dims[int(rng.integers(len(dims)))] = int(rng.choice([0, -1, 2, 7, 1 << 40]))
        case 4:
            for attribute in node.attribute:
                attribute.i = int(rng.choice([-9, 0, 3, 1 << 40]))
                for k in range(len(attribute.ints)):
                    attribute.ints[k] = int(rng.choice([-1, 0, 3, 1 << 33]))
        case 5:
            shape = graph.input[0].type.tensor_type.shape.dim
            shape[int(rng.integers(len(shape)))].dim_value = int(rng.choice([0, -1, 5, 1 << 30]))
        case 6:
            graph.input[0].type.tensor_type.elem_type = int(rng.integers(20))
        case 7:
            model.opset_import[0].version = int(rng.choice([0, 1, 5, 11, 13, 99]))
    return model.SerializeToString()


def attempt(path: str) -> str:
    """What becomes of a file: refused, or a program."""
    try:
        lower(read(Path(path)), "fuzz")
    except CompileError as error:
        if "\n" in str(error).strip():
            raise AssertionError(f"{path}: more than a line: {error}") from None
        return "refused"
    return "a program"


def fuzz(count: int, seed: int = 0) -> Counter[str]:
    """How many files were what; raises what a file raises that is no ``CompileError``."""
    found: Counter[str] = Counter()
    with TemporaryDirectory() as directory:
        pool = multiprocessing.get_context("fork").Pool(2, maxtasksperchild=200)
        with pool:
            waiting = []
            for i, content in enumerate(mutants(count, seed)):
                path = Path(directory) / f"{i}.onnx"
                path.write_bytes(content)
                waiting.append(pool.apply_async(attempt, (str(path),)))
            for result in waiting:
                found[result.get(LIMIT)] += 1
    return found


def main() -> None:
    """Fuzz as many files as the argument says."""
    print(dict(fuzz(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)))


if __name__ == "__main__":
    main()
