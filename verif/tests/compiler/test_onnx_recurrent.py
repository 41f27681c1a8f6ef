"""LSTM, GRU and RNN against their equations, in every variant; attention against its own."""

import numpy as np
import pytest
from onnx import TensorProto

from compiler.front.lower import lower
from compiler.map.steps import compile_program
from spu.arch.params import CONFIGS
from spu.engine.array import GoldenEngine
from spu.engine.host import run
from verif.expected.error_bounds import error_bounds
from verif.tests.onnx_models import create, faults, results

RNG = np.random.default_rng(11)
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
LENGTH, BATCH, INPUTS, HIDDEN = 5, 3, 4, 2
FUNCTIONS = {
    "Sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "Tanh": np.tanh,
    "Relu": lambda x: np.maximum(x, 0),
    "LeakyRelu": lambda x, a=0.01: np.where(x < 0, a * x, x),
    "ThresholdedRelu": lambda x, a=1.0: np.where(x >= a, x, 0),
    "Elu": lambda x, a=1.0: np.where(x < 0, a * (np.exp(x) - 1), x),
    "HardSigmoid": lambda x, a=0.2, b=0.5: np.clip(a * x + b, 0, 1),
    "Affine": lambda x, a, b: a * x + b,
    "ScaledTanh": lambda x, a, b: a * np.tanh(b * x),
    "Softsign": lambda x: x / (1 + np.abs(x)),
    "Softplus": lambda x: np.log(1 + np.exp(x)),
}


def _step(op, x, states, w, r, b, p, f, attributes):
    """States after one more element: the equations of the standard, gate by gate."""
    h = states[0]
    wb, rb = np.split(b, 2)
    gate = [slice(k * HIDDEN, (k + 1) * HIDDEN) for k in range(GATES[op])]

    def of(k, state, more=0.0):
        return x @ w[gate[k]].T + state @ r[gate[k]].T + wb[gate[k]] + rb[gate[k]] + more

    if op == "RNN":
        return [f[0](of(0, h))]
    if op == "GRU":
        z, reset = f[0](of(0, h)), f[0](of(1, h))
        if attributes.get("linear_before_reset"):
            inner = x @ w[gate[2]].T + wb[gate[2]] + reset * (h @ r[gate[2]].T + rb[gate[2]])
        else:
            inner = of(2, reset * h)
        return [(1 - z) * f[1](inner) + z * h]
    c = states[1]
    i = f[0](of(0, h, p[:HIDDEN] * c))
    keep = 1 - i if attributes.get("input_forget") else f[0](of(2, h, p[2 * HIDDEN :] * c))
    cell = keep * c + i * f[1](of(3, h))
    return [f[0](of(1, h, p[HIDDEN : 2 * HIDDEN] * cell)) * f[2](cell), cell]


def _wanted(op, given, lengths, attributes, functions):
    """Y and last states, sequence by sequence."""
    x, w, r, b, p, *initial = given
    directions = {"forward": [0], "reverse": [1], "bidirectional": [0, 1]}[
        attributes.get("direction", "forward")
    ]
    y = np.zeros((LENGTH, len(directions), BATCH, HIDDEN))
    last = [np.zeros((len(directions), BATCH, HIDDEN)) for _ in initial]
    for d, backward in enumerate(directions):
        f = functions[d * len(functions) // len(directions) :]
        for n in range(BATCH):
            states = [s[d, n] for s in initial]
            order = range(lengths[n])
            for t in reversed(order) if backward else order:
                states = _step(op, x[t, n], states, w[d], r[d], b[d], p[d], f, attributes)
                y[t, d, n] = states[0]
            for k, state in enumerate(states):
                last[k][d, n] = state
    return y, last


def _model(op, constants, attributes, opset=22, outputs=("y", "h", "c")):
    """A node of inputs ``x`` and ``s`` (initial states); what is not there is left out."""
    order = ["x", "w", "r", "b", "n", "h0"] + (["c0", "p"] if op == "LSTM" else [])
    shape = [LENGTH, BATCH, INPUTS]
    if attributes.get("layout"):
        shape = [BATCH, LENGTH, INPUTS]
    names = [n if n in {*constants, "x"} else "" for n in order]
    while not names[-1]:
        names.pop()
    attributes = {"hidden_size": HIDDEN} | attributes
    count = 3 if op == "LSTM" else 2
    return create(
        [(op, names, outputs[:count], attributes)],
        {"x": shape},
        {n: np.asarray(v, np.int32 if n == "n" else np.float32) for n, v in constants.items()},
        opset,
        outputs[:count],
    )


def _found(model, x):
    from spu.arch.package.values import real_values

    program = lower(model, "model")
    values, _ = real_values(program, {"x": x})
    return [values[program.outputs[o.name]] for o in model.graph.output]


VARIANTS = [
    {},
    {"direction": "reverse"},
    {"direction": "bidirectional"},
    {"direction": "bidirectional", "layout": 1},
    {"layout": 1},
    {"clip": 0.3},
    {"clip": 0.3, "direction": "bidirectional"},
    {"linear_before_reset": 1},
    {"linear_before_reset": 1, "direction": "bidirectional", "clip": 0.2},
    {"input_forget": 1},
]


@pytest.mark.parametrize("lengths", [None, [5, 1, 3]])
@pytest.mark.parametrize("attributes", VARIANTS, ids=str)
@pytest.mark.parametrize("op", ["LSTM", "GRU", "RNN"])
def test_cells_are_their_equations(op, attributes, lengths):
    if ("linear_before_reset" in attributes and op != "GRU") or (
        "input_forget" in attributes and op != "LSTM"
    ):
        pytest.skip("an attribute of another cell")
    count = 2 if attributes.get("direction") == "bidirectional" else 1
    rows = GATES[op] * HIDDEN
    f32 = lambda *shape: RNG.normal(size=shape).astype(np.float32).astype(float)  # noqa: E731
    x, w, r = f32(LENGTH, BATCH, INPUTS), f32(count, rows, INPUTS), f32(count, rows, HIDDEN)
    b, p = f32(count, 2 * rows), f32(count, 3 * HIDDEN)
    initial = [f32(count, BATCH, HIDDEN) for _ in range(2 if op == "LSTM" else 1)]
    constants = {"w": w, "r": r, "b": b}
    swap = attributes.get("layout", 0)
    for name, state in zip(("h0", "c0"), initial, strict=False):
        constants[name] = state.swapaxes(0, 1) if swap else state
    if op == "LSTM":
        constants["p"] = p
    if lengths:
        constants["n"] = lengths
    names = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}[op]
    clip = attributes.get("clip", np.inf)
    functions = [lambda v, g=FUNCTIONS[n]: g(np.clip(v, -clip, clip)) for n in names] * count
    y, last = _wanted(op, (x, w, r, b, p, *initial), lengths or [5] * 3, attributes, functions)
    got = _found(_model(op, constants, attributes), x.swapaxes(0, 1) if swap else x)
    if swap:
        y, last = y.transpose(2, 0, 1, 3), [s.swapaxes(0, 1) for s in last]
    for found, wanted in zip(got, [y, *last], strict=True):
        assert found.shape == wanted.shape
        assert np.allclose(found, wanted, atol=1e-6)


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_cells_take_every_activation(name):
    """Values of alpha and beta are those of the functions that take them, in order."""
    w, r = RNG.normal(size=(1, HIDDEN, INPUTS)), RNG.normal(size=(1, HIDDEN, HIDDEN))
    w, r = w.astype(np.float32).astype(float), r.astype(np.float32).astype(float)
    x = RNG.normal(size=(LENGTH, BATCH, INPUTS))
    alone = {"Affine": (0.5, 0.25), "ScaledTanh": (0.5, 0.25), "HardSigmoid": (0.5, 0.25)}
    values = alone.get(name, (0.5,) if name in ("LeakyRelu", "ThresholdedRelu", "Elu") else ())
    attributes = {"activations": [name]} | {
        f"activation_{k}": [v] for k, v in zip(("alpha", "beta"), values, strict=False)
    }
    function = [lambda v: FUNCTIONS[name](v, *values)]
    zeros = np.zeros((1, 2 * HIDDEN)), np.zeros((1, 3 * HIDDEN)), np.zeros((1, BATCH, HIDDEN))
    y, last = _wanted("RNN", (x, w, r, *zeros), [5] * 3, {}, function)
    got = _found(_model("RNN", {"w": w, "r": r}, attributes), x)
    assert np.allclose(got[0], y, atol=1e-6)
    assert np.allclose(got[1], last[0], atol=1e-6)


def test_values_of_activations_go_to_those_that_take_them():
    x = RNG.normal(size=(LENGTH, BATCH, INPUTS))
    w, r = np.ones((1, 8, INPUTS)) / 4, np.ones((1, 8, HIDDEN)) / 4
    names = {"activations": ["Tanh", "LeakyRelu", "Elu"], "activation_alpha": [0.5, 0.25]}
    functions = [
        np.tanh,
        lambda v: FUNCTIONS["LeakyRelu"](v, 0.5),
        lambda v: FUNCTIONS["Elu"](v, 0.25),
    ]
    zeros = np.zeros((1, 16)), np.zeros((1, 6)), *np.zeros((2, 1, BATCH, HIDDEN))
    y, _ = _wanted("LSTM", (x, w, r, *zeros), [5] * 3, {}, functions)
    assert np.allclose(_found(_model("LSTM", {"w": w, "r": r}, names), x)[0], y, atol=1e-6)


@pytest.mark.parametrize("op", ["LSTM", "GRU", "RNN"])
def test_cells_of_constants_are_those_of_others(op):
    """An evaluator that leaves out lengths or activations must not compute them beforehand."""
    rows = GATES[op] * HIDDEN
    x = RNG.normal(size=(LENGTH, BATCH, INPUTS)).astype(np.float32)
    constants = {
        "w": RNG.normal(size=(1, rows, INPUTS)),
        "r": RNG.normal(size=(1, rows, HIDDEN)),
        "n": [5, 2, 3],
    }
    attributes = {"activations": ["Softsign"] * {"LSTM": 3, "GRU": 2, "RNN": 1}[op], "clip": 0.5}
    wanted = _found(_model(op, constants, attributes), x)[0]
    model = _model(op, constants | {"k": x}, attributes, outputs=("q", "h", "c"))
    model.graph.node[0].input[0] = "k"
    model.graph.node.extend(
        create(
            [
                ("Neg", ["q"], ["m"], {}),
                ("ReduceSum", ["x"], ["s"], {"keepdims": 0}),
                ("Mul", ["s", "zero"], ["t"], {}),
                ("Sub", ["t", "m"], ["y"], {}),
            ],
            {"x": [1]},
        ).graph.node
    )
    model.graph.initializer.extend(
        create([("Neg", ["x"], ["y"], {})], {"x": [1]}, {"zero": np.float32(0)}).graph.initializer
    )
    del model.graph.output[:]
    model.graph.output.extend(
        create([("Neg", ["x"], ["y"], {})], {"x": list(wanted.shape)}).graph.output
    )
    assert np.allclose(results(model, x=x), wanted, atol=1e-6)


@pytest.mark.parametrize(
    ("op", "change", "attributes", "rule"),
    [
        ("LSTM", {"w": np.ones((1, 7, 4))}, {}, "W has the shape (1, 7, 4), not (1, 8, 4)"),
        ("LSTM", {"p": np.ones((1, 4))}, {}, "P has the shape (1, 4), not (1, 6)"),
        ("GRU", {"b": np.ones((1, 6))}, {}, "B has the shape (1, 6), not (1, 12)"),
        ("RNN", {"h0": np.ones((1, 2, 2))}, {}, "initial_h has the shape (1, 2, 2)"),
        ("RNN", {"n": [5, 0, 1]}, {}, "sequence_lens [5, 0, 1] must be 3 between 1 and 5"),
        ("RNN", {"n": [5, 6, 1]}, {}, "must be 3 between 1 and 5"),
        ("RNN", {}, {"direction": "sideways"}, "direction 'sideways' is unknown"),
        ("RNN", {}, {"activations": ["Swish"]}, "activation 'Swish' is unknown"),
        ("GRU", {}, {"activations": ["Tanh"]}, "activations must be 2, not 1"),
        ("RNN", {}, {"activations": ["Affine"]}, "activation Affine must have activation_alpha"),
        ("RNN", {}, {"activation_alpha": [1.0]}, "more activation_alpha"),
        ("RNN", {}, {"clip": -1.0}, "clip must be positive, not -1"),
        ("RNN", {}, {"hidden_size": 3}, "hidden_size 3 is not that of R, 2"),
        ("RNN", {}, {"direction": "bidirectional"}, "W has the shape"),
    ],
)
def test_cells_that_do_not_fit_are_refused(op, change, attributes, rule):
    rows = GATES[op] * HIDDEN
    constants = {"w": np.ones((1, rows, INPUTS)), "r": np.ones((1, rows, HIDDEN))} | change
    refusal = faults(_model(op, constants, attributes))[0]
    assert (refusal.node, refusal.operator) == ("y", op)
    assert rule in refusal.rule or "not a valid ONNX model" in refusal.rule


def test_long_sequences_are_refused():
    model = create(
        [("RNN", ["x", "w", "r"], ["y"], {})],
        {"x": [4096, 1, 1]},
        {"w": np.float32([[[1]]]), "r": np.float32([[[1]]])},
    )
    assert "4096 elements of sequences" in faults(model)[0].rule


def test_a_long_cell_stays_within_its_bound_on_the_array():
    """Errors of states are carried on, and do not grow beyond use."""
    w, r = RNG.normal(size=(1, 8, INPUTS)) / 2, RNG.normal(size=(1, 8, HIDDEN)) / 2
    x = RNG.normal(size=(LENGTH, BATCH, INPUTS))
    program = lower(_model("LSTM", {"w": w, "r": r}, {}), "cell")
    compiled = compile_program(program, CONFIGS["basic"])
    got = run(compiled, GoldenEngine(CONFIGS["basic"]), {"x": x})
    for name, bound in error_bounds(compiled, {"x": x}).items():
        error = np.abs(got[name] - bound.value)
        assert (error <= bound.error + program.error).all()
        assert error.max() < 0.02


# Attention.


def _softmax(scores, allowed):
    powers = np.where(allowed, np.exp(scores - scores.max(-1, keepdims=True)), 0)
    total = powers.sum(-1, keepdims=True)
    return powers / np.where(total == 0, 1, total)


def _attention(constants, attributes, opset=25, heads=(4, 2), sizes=(3, 5)):
    names = ["x", "k", "v", "mask", "pk", "pv", "n"]
    given = ["k", "v", *constants]
    order = [n if n in ("x", *given) else "" for n in names]
    while not order[-1]:
        order.pop()
    return create(
        [("Attention", order, ["y"], attributes)],
        {
            "x": [2, heads[0], sizes[0], 4],
            "k": [2, heads[1], sizes[1], 4],
            "v": [2, heads[1], sizes[1], 6],
        },
        constants,
        opset,
    )


@pytest.mark.parametrize(
    ("attributes", "allowed"),
    [
        ({}, lambda i, j: i == i),
        ({"is_causal": 1}, lambda i, j: j <= i),
        ({"left_window_size": 1, "right_window_size": 0}, lambda i, j: (i - 1 <= j) & (j <= i)),
        ({"softcap": 0.5, "scale": 2.0}, lambda i, j: i == i),
    ],
)
def test_attention_is_its_equation(attributes, allowed):
    q, k, v = (RNG.normal(size=s) for s in ((2, 4, 3, 4), (2, 2, 5, 4), (2, 2, 5, 6)))
    mask = RNG.normal(size=(3, 5)).astype(np.float32)
    mask[2, 1] = -np.inf
    mask[1] = -np.inf  # no key at all: zeros
    scores = q @ k.repeat(2, 1).swapaxes(2, 3) * attributes.get("scale", 0.5)
    if "softcap" in attributes:
        scores = np.tanh(scores / 0.5) * 0.5
    kept = allowed(np.arange(3)[:, None], np.arange(5)) & (mask != -np.inf)
    weights = _softmax(
        scores + np.where(np.isinf(mask), 0, mask), np.broadcast_to(kept, (2, 4, 3, 5))
    )
    got = results(_attention({"mask": mask}, attributes), x=q, k=k, v=v)
    assert np.allclose(got, weights @ v.repeat(2, 1))
    assert (got[:, :, 1] == 0).all()


def test_lengths_of_keys_are_counted_from_the_end():
    q, k, v = (RNG.normal(size=s) for s in ((2, 4, 3, 4), (2, 2, 5, 4), (2, 2, 5, 6)))
    i, j = np.arange(3)[:, None], np.arange(5)
    kept = np.stack([(j <= i + n - 3) & (j < n) for n in (5, 2)])[:, None]
    weights = _softmax(q @ k.repeat(2, 1).swapaxes(2, 3) / 2, np.broadcast_to(kept, (2, 4, 3, 5)))
    model = _attention({"n": np.array([5, 2])}, {"is_causal": 1})
    assert np.allclose(results(model, x=q, k=k, v=v), weights @ v.repeat(2, 1))


@pytest.mark.parametrize(
    ("constants", "attributes", "heads", "rule"),
    [
        ({}, {}, (3, 2), "3 heads of queries are no multiple of 2"),
        ({}, {"scale": -1.0}, (4, 2), "scale must be positive, not -1"),
        ({}, {"softcap": -1.0}, (4, 2), "softcap must not be below 0"),
        ({}, {"left_window_size": -2}, (4, 2), "left_window_size must be at least -1"),
        ({"mask": np.ones((3, 1), np.float32)}, {}, (4, 2), "the standard says both"),
        ({"n": np.array([5])}, {}, (4, 2), "nonpad_kv_seqlen has the shape (1,), not (2,)"),
        ({"pk": np.ones((2, 2, 1, 4), np.float32)}, {}, (4, 2), "go together"),
    ],
)
def test_attention_that_does_not_fit_is_refused(constants, attributes, heads, rule):
    refusal = faults(_attention(constants, attributes, heads=heads))[0]
    assert refusal.operator == "Attention"
    assert rule in refusal.rule or "not a valid ONNX model" in refusal.rule


def test_computed_masks_of_truth_values_are_refused():
    model = create(
        [("Attention", ["x", "x", "x", "m"], ["y"], {})],
        {"x": [1, 1, 3, 4], "m": (TensorProto.BOOL, [3, 3])},
        opset=24,
    )
    assert "m" in faults(model)[0].rule
