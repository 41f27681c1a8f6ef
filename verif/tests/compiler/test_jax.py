"""JAX functions on the array: beside JAX in float32, beside the same ONNX model in codes."""

import re
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import pytest
from jax import lax
from onnx import TensorProto, helper, numpy_helper

import palspu
from compiler.errors import CompileError, Refused
from compiler.front.jax.lower import lower
from runtime.jit import RangeWarning
from spu.arch.package.values import visit_values


def _numbers(*shapes, seed=0, scale=1.0):
    rng = np.random.default_rng(seed)
    return [(scale * rng.standard_normal(s)).astype(np.float32) for s in shapes]


def _decibels(wanted, found):
    wanted, found = (
        np.concatenate([np.ravel(v) for v in jax.tree_util.tree_leaves(t)]).astype(np.float64)
        for t in (wanted, found)
    )
    error = np.linalg.norm(found - wanted)
    return 200 if not error else 20 * np.log10(np.linalg.norm(wanted) / error)


def _mlp(x, w1, b1, w2):
    return jax.nn.relu(x @ w1 + b1) @ w2


def _attention(x, wq, wk, wv):
    q, k, v = x @ wq, x @ wk, x @ wv
    scores = q @ k.T * 0.25
    causal = jnp.tril(jnp.ones(scores.shape, bool))
    return jax.nn.softmax(jnp.where(causal, scores, -jnp.inf)) @ v


def _loss(params, x, labels):
    hidden = jnp.tanh(x @ params["w1"] + params["b1"])
    logits = jax.nn.log_softmax(hidden @ params["w2"])
    return -jnp.mean(jnp.sum(logits * jax.nn.one_hot(labels, 10), -1))


def _onnx_mlp(path, x, w1, b1, w2):
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["h"]),
        helper.make_node("Add", ["h", "b1"], ["a"]),
        helper.make_node("Relu", ["a"], ["r"]),
        helper.make_node("MatMul", ["r", "w2"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "mlp",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (len(x), w2.shape[1]))],
        [numpy_helper.from_array(v, n) for n, v in (("w1", w1), ("b1", b1), ("w2", w2))],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


@pytest.mark.parametrize("strategy", ["pipeline", "steps"])
def test_a_chain_of_layers_gives_the_codes_of_the_onnx_model(tmp_path, strategy):
    x, w1, b1, w2 = _numbers((4, 64), (64, 32), (32,), (32, 10))
    x = np.clip(x, -1, 1)
    wanted = palspu.run(
        palspu.compile(_onnx_mlp(tmp_path / "m.onnx", x, w1, b1, w2), strategy=strategy), x
    )["y"]
    own = palspu.jit(lambda x: _mlp(x, w1, b1, w2), strategy=strategy)
    found = own(x)
    np.testing.assert_array_equal(found, wanted.astype(np.float32))
    assert _decibels(_mlp(x, w1, b1, w2), found) > 30


def test_weights_may_be_arguments_and_shapes_are_compiled_once():
    arguments = _numbers((4, 64), (64, 32), (32,), (32, 10))
    own = palspu.jit(_mlp)
    found = own(*arguments)
    assert found.dtype == np.float32
    assert _decibels(_mlp(*arguments), found) > 30
    np.testing.assert_array_equal(own(*map(jnp.asarray, arguments)), found)
    assert len(own.compiled) == 1
    own(arguments[0][:2], *arguments[1:])
    assert len(own.compiled) == 2
    assert own.engine.runs > 2


def test_a_causal_attention_block():
    arguments = _numbers((8, 32), (32, 16), (32, 16), (32, 16), scale=0.5)
    assert _decibels(_attention(*arguments), palspu.jit(_attention)(*arguments)) > 28


def test_the_gradient_of_a_loss_and_its_value():
    x, w1, b1, w2 = _numbers((6, 32), (32, 16), (16,), (16, 10), scale=0.5)
    params = {"w1": w1, "b1": b1, "w2": w2}
    labels = np.arange(6, dtype=np.int32)
    own = palspu.jit(jax.value_and_grad(_loss), calibrate=[(params, x, labels)])
    with warnings.catch_warnings():
        warnings.simplefilter("error", RangeWarning)
        value, slopes = own(params, x, labels)
    wanted, exact = jax.value_and_grad(_loss)(params, x, labels)
    assert abs(value - wanted) < 0.02 * wanted
    assert set(slopes) == set(params)
    for name, slope in exact.items():
        assert _decibels(slope, slopes[name]) > 25, name


def test_every_primitive_that_cannot_be_is_told_with_its_line():
    def f(x):
        y = jnp.sort(x)
        return y @ jnp.linalg.inv(x)

    with pytest.raises(Refused) as caught:
        lower(f, [jnp.ones((3, 3))], "f", ["x"])
    told = {r.operator: r.node for r in caught.value.refusals}
    assert re.fullmatch(r"sort in test_jax\.py:\d+:\d+ \(.*\.f\)", told["sort"])
    assert {"sort", "lu"} < set(told)
    assert str(caught.value).startswith(f"sort node {told['sort']!r}: primitive is not supported")
    assert all(f"{name} node" in str(caught.value) for name in told)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: palspu.jit(jnp.sin, "huge"), "no such array"),
        (lambda: palspu.jit(jnp.sin, numbers="PAL9"), "no format 'PAL9'"),
        (lambda: palspu.jit(jnp.sin, engine="fpga"), "engine must be golden, rtl or an Engine"),
        (lambda: palspu.jit(jnp.tanh, calibrate=[np.ones(4)])(np.ones(4)), "calibrate must be"),
        (lambda: palspu.jit(jnp.tanh, calibrate=np.ones(4))(np.ones(4)), "calibrate must be"),
        (lambda: palspu.jit(jnp.sin)("text"), "arguments must be arrays of numbers"),
        (lambda: palspu.jit(jnp.fft.fft)(np.ones(4)), r"values of complex64.* fft node"),
        (lambda: palspu.jit(_mlp)(*_numbers((2, 3), (4, 5), (5,), (5, 1))), "JAX cannot trace it"),
        (lambda: jax.grad(palspu.jit(jnp.sin))(1.0), r"palspu.jit\(jax.grad\(f\)\)"),
    ],
)
def test_wrong_arguments_are_named_in_one_line(call, message):
    with pytest.raises(palspu.UserError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, CompileError | palspu.UserError)


def test_what_needs_no_run_needs_no_array():
    own = palspu.jit(lambda x: (x, jnp.arange(3), x.shape[0]))
    same, numbers, size = own(np.ones((2, 3), np.float32))
    np.testing.assert_array_equal(same, np.ones((2, 3)))
    assert numbers.tolist() == [0, 1, 2]
    assert (int(size), own.engine.runs) == (2, 0)


def _meant(function, *arguments):
    """What the tensor program of a function is, in float64: what the array rounds."""
    names = [f"a{k}" for k in range(len(arguments))]
    made = lower(function, arguments, "f", names)
    given = dict(zip(names, arguments, strict=True))
    values = visit_values(made.program, given, lambda what, value: None)
    return [values[made.program.outputs[name]] for name in made.outputs]


X = np.linspace(-1.9, 2.1, 12, dtype=np.float32).reshape(3, 4)
ROWS = np.array([2, 0], np.int32)


@pytest.mark.parametrize(
    "function",
    [
        lambda x, i: jnp.abs(x) ** 1.5 + jax.nn.gelu(x) * jnp.sign(x) - jnp.floor(x) / 3,
        lambda x, i: jnp.expm1(x) + jnp.log1p(x * x) + jnp.cos(x) + lax.rsqrt(x * x + 1),
        lambda x, i: jnp.where((x > 0) & ~(x > 1), x, -x) + jnp.clip(x, -1, 0.5) + jnp.round(x),
        lambda x, i: jax.nn.softmax(x, 0) + lax.erf(x) + jax.nn.softplus(x) + 2.0**x,
        lambda x, i: jnp.pad(x[::-1, 1:], ((1, 0), (0, 2)), constant_values=3).T,
        lambda x, i: jnp.concatenate([x, jnp.ones((1, 4))]).sum(0) / x.max(1, keepdims=True),
        lambda x, i: x[i] * (i + 1)[:, None].astype(jnp.float32),
        lambda x, i: x[jnp.array([[1, 2], [0, 0]])] + x[0, 1],
        lambda x, i: jnp.take(x, i, axis=1),
        lambda x, i: lax.dynamic_slice(x, (i[0], i[1] + 7), (2, 2)),
        lambda x, i: jnp.argmax(x, 1) + jnp.where(i[0] > 1, i[0], 7),
        lambda x, i: jnp.einsum("ab,cb,db->dac", x, x, x),
        lambda x, i: lax.scan(lambda c, r: (c * 0.5 + r, c), jnp.zeros(4), x, reverse=True),
        lambda x, i: lax.fori_loop(0, 3, lambda k, c: c * 0.5 + k, x),
        lambda x, i: lax.cond(i[0] > 1, lambda v: v * 2, lambda v: v - 1, x),
        lambda x, i: jax.vmap(lambda r: jnp.prod(r) + jnp.any(r > 2))(x),
        lambda x, i: jax.jacobian(lambda v: jax.checkpoint(jnp.tanh)(v).sum(1))(x),
    ],
)
def test_programs_mean_what_jax_computes(function):
    wanted = jax.tree_util.tree_leaves(function(jnp.asarray(X), jnp.asarray(ROWS)))
    for found, own in zip(_meant(function, X, ROWS), wanted, strict=True):
        assert found.shape == own.shape
        np.testing.assert_allclose(found, own, rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x, i: lax.while_loop(lambda c: c.sum() < 9, lambda c: c + 1, x), "how many rounds"),
        (lambda x, i: x.astype(jnp.int32), "real numbers to int32"),
        (lambda x, i: x**x, "one constant exponent"),
        (lambda x, i: i & 1, "of bits of int32"),
        (lambda x, i: x[i, i], "rows of one axis"),
        (
            lambda x, i: x.at[jnp.array([0, 99])].get(mode="fill", fill_value=1.0),
            "a constant index beyond its axis",
        ),
        (lambda x, i: x * jnp.array([jnp.nan]), "a constant with 1 NaN"),
    ],
)
def test_what_a_primitive_does_not_take_is_told(function, message):
    with pytest.raises(Refused, match=message):
        lower(function, [X, ROWS], "f", ["x", "i"])
