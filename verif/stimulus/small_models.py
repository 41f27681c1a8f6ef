"""Small models of the kinds that people have, with random weights, and inputs for them.

Weights are Gaussian and keep the variance of what they meet (X. Glorot and Y. Bengio,
"Understanding the difficulty of training deep feedforward neural networks", AISTATS 2010).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

Shape = Sequence[int]


@dataclass(frozen=True)
class Small:
    """A graph in the text of ``onnx.parser``; shapes of ``weights`` and of real ``inputs`` by name.

    ``kept``: constants with the values that they have.  ``indices``: inputs that are integers
    below a number, of a shape.
    """

    name: str
    text: str
    weights: Mapping[str, Shape]
    inputs: Mapping[str, Shape]
    kept: Mapping[str, NDArray] | None = None
    indices: Mapping[str, tuple[int, Shape]] | None = None

    def made(self, seed: int = 0) -> tuple[onnx.ModelProto, dict[str, NDArray]]:
        """The model and inputs by name.

        Weights of more than one axis are scaled by the root of the elements that a sum of them
        has; those named ``s...`` are scales around 1, others of one axis offsets around 0.
        """
        rng = np.random.default_rng(seed)
        model = onnx.parser.parse_model(self.text)
        constants = dict(self.kept or {})
        for name, shape in self.weights.items():
            if len(shape) == 1:
                middle = 1.0 if name.startswith("s") else 0.0
                values = rng.normal(middle, 0.1, shape)
            else:
                # (depth, outputs) of products; (outputs, depth...) of others.
                depth = shape[0] if len(shape) == 2 else int(np.prod(shape[1:]))
                values = rng.normal(0, depth**-0.5, shape)
            constants[name] = values.astype(np.float32)
        model.graph.initializer.extend(
            numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items()
        )
        given: dict[str, NDArray] = {n: rng.normal(size=shape) for n, shape in self.inputs.items()}
        for name, (count, shape) in (self.indices or {}).items():
            given[name] = rng.integers(0, count, shape)
        return model, given


_HEAD = '<ir_version: 10, opset_import: ["": 20]>'
_MASK = np.triu(np.full((12, 12), -1e9, np.float32), 1)
SMALL = (
    Small(
        "lstm",
        f"""{_HEAD} g (float[10, 4, 16] x) => (float[10, 4, 24] y) {{
            all, last, cell = LSTM <hidden_size = 32> (x, w, r, b)
            rows = Squeeze(all, axis)
            y = MatMul(rows, v)
        }}""",
        {"w": (1, 128, 16), "r": (1, 128, 32), "b": (1, 256), "v": (32, 24)},
        {"x": (10, 4, 16)},
        {"axis": np.array([1])},
    ),
    Small(
        "gru",
        f"""{_HEAD} g (float[10, 4, 16] x) => (float[4, 32] y) {{
            all, last = GRU <hidden_size = 32> (x, w, r, b)
            y = Squeeze(last, axis)
        }}""",
        {"w": (1, 96, 16), "r": (1, 96, 32), "b": (1, 192)},
        {"x": (10, 4, 16)},
        {"axis": np.array([0])},
    ),
    Small(
        "residual cnn",
        f"""{_HEAD} g (float[2, 3, 12, 12] x) => (float[2, 40] y) {{
            a = Conv <pads = [1, 1, 1, 1]> (x, w1)
            b = BatchNormalization(a, s1, o1, m1, sv1)
            c = Relu(b)
            d = Conv <pads = [1, 1, 1, 1]> (c, w2)
            e = BatchNormalization(d, s2, o2, m2, sv2)
            f = Add(e, c)
            g1 = Relu(f)
            h = GlobalAveragePool(g1)
            i = Flatten(h)
            y = Gemm(i, w3, o3)
        }}""",
        {
            "w1": (16, 3, 3, 3),
            "w2": (16, 16, 3, 3),
            "w3": (16, 40),
            "o3": (40,),
            **{f"{n}{k}": (16,) for n in ("s", "o", "m", "sv") for k in (1, 2)},
        },
        {"x": (2, 3, 12, 12)},
    ),
    Small(
        "separable cnn",
        f"""{_HEAD} g (float[1, 8, 12, 12] x) => (float[1, 16, 6, 6] y) {{
            a = Conv(x, w1)
            b = HardSwish(a)
            c = Conv <group = 24, pads = [1, 1, 1, 1], strides = [2, 2]> (b, w2)
            d = HardSwish(c)
            e = AveragePool <kernel_shape = [6, 6]> (d)
            f = Conv(e, w3)
            h = HardSigmoid(f)
            i = Mul(d, h)
            y = Conv(i, w4)
        }}""",
        {"w1": (24, 8, 1, 1), "w2": (24, 1, 3, 3), "w3": (24, 24, 1, 1), "w4": (16, 24, 1, 1)},
        {"x": (1, 8, 12, 12)},
    ),
    Small(
        "gated decoder block",
        f"""{_HEAD} g (float[1, 12, 48] x) => (float[1, 12, 48] y) {{
            x2 = Mul(x, x)
            m = ReduceMean(x2, last)
            m2 = Add(m, epsilon)
            root = Sqrt(m2)
            n = Div(x, root)
            q = MatMul(n, wq)
            k = MatMul(n, wk)
            v = MatMul(n, wv)
            kt = Transpose <perm = [0, 2, 1]> (k)
            scores = MatMul(q, kt)
            scaled = Mul(scores, factor)
            masked = Add(scaled, mask)
            p = Softmax(masked)
            mixed = MatMul(p, v)
            o = MatMul(mixed, wo)
            r = Add(x, o)
            up = MatMul(r, w1)
            gate = MatMul(r, w2)
            half = Sigmoid(gate)
            silu = Mul(gate, half)
            both = Mul(up, silu)
            down = MatMul(both, w3)
            y = Add(r, down)
        }}""",
        {**{f"w{n}": (48, 48) for n in "qkvo"}, "w1": (48, 96), "w2": (48, 96), "w3": (96, 48)},
        {"x": (1, 12, 48)},
        {
            "last": np.array([-1]),
            "epsilon": np.array(1e-5, np.float32),
            "factor": np.array(48**-0.5, np.float32),
            "mask": _MASK,
        },
    ),
    Small(
        "1-D u-net",
        f"""{_HEAD} g (float[1, 4, 64] x) => (float[1, 4, 64] y) {{
            a = Conv <pads = [1, 1]> (x, w1)
            b = LeakyRelu(a)
            c = Conv <pads = [1, 1], strides = [2]> (b, w2)
            d = Elu(c)
            e = ConvTranspose <strides = [2]> (d, w3)
            f = Concat <axis = 1> (e, b)
            y = Conv <pads = [1, 1]> (f, w4)
        }}""",
        {"w1": (12, 4, 3), "w2": (24, 12, 3), "w3": (24, 12, 2), "w4": (4, 24, 3)},
        {"x": (1, 4, 64)},
    ),
    Small(
        "16 dense layers",
        f"""{_HEAD} g (float[8, 64] x0) => (float[8, 64] y) {{
            {"".join(f"p{k} = MatMul(x{k}, w{k}) x{k + 1} = Tanh(p{k}) " for k in range(16))}
            y = Identity(x16)
        }}""",
        {f"w{k}": (64, 64) for k in range(16)},
        {"x0": (8, 64)},
    ),
    Small(
        "sentence embedding",
        f"""{_HEAD} g (int64[3, 12] ids) => (float[3, 48] y) {{
            a = Gather(table, ids)
            b = LayerNormalization(a, s1, o1)
            c = MatMul(b, w1)
            d = Gelu(c)
            e = ReduceMean <keepdims = 0> (d, axis)
            y = LpNormalization(e)
        }}""",
        {"table": (50, 64), "s1": (64,), "o1": (64,), "w1": (64, 48)},
        {},
        {"axis": np.array([1])},
        {"ids": (50, (3, 12))},
    ),
)
