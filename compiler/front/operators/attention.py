"""Attention: products of queries and keys, softmax, a product with the values.

What constants forbid (causal, windows, lengths, truth values, -inf) never enters a softmax: another
score of the row stands in its place, and its weight is 0.
"""

from math import sqrt

import numpy as np
from numpy.typing import NDArray

from compiler.errors import CompileError
from compiler.front.honoured import FLOATS
from compiler.front.lowering import Lowering
from compiler.front.onnx_graph import Operator
from compiler.front.registry import operator
from compiler.ir import expressions as ex
from compiler.ir.builder import Builder
from spu.arch.package.expression import variable

X, Y = variable(0), variable(1)


@operator("Attention")
def attention(low: Lowering, node: Operator) -> list[int]:
    """Attention: multi-head, grouped or multi-query; of 3 or 4 axes; causal, with windows, a mask
    of constant truth values or of floats, past keys and values, constant lengths, softcap.

    All four outputs; the last after the product, the softcap, the mask or the softmax, as
    ``qk_matmul_output_mode`` says.  Rows in which constants forbid all are 0.

    Raises
    ------
    CompileError: shapes or heads that do not fit, a scale that is not positive, a softcap below 0,
        a mask that is computed and not of floats, or one of a single key, which may be broadcast or
        too short, past keys without values or beside lengths, or scores with a mask of -inf as an
        output.
    """
    program, attributes = low.program, node.attributes
    given: list[int | None] = [
        low.tensor(i) if i and n != 6 else None for n, i in enumerate(node.inputs)
    ]
    given += [None] * (7 - len(given))
    q, k, v, mask, past_key, past_value, _ = given
    assert q is not None
    assert k is not None
    assert v is not None
    flat = len(program.shape(q)) == 3
    q = _heads(low, q, "q_num_heads", node)
    k, v = (_heads(low, t, "kv_num_heads", node) for t in (k, v))
    if (past_key is None) != (past_value is None):
        raise CompileError("past_key and past_value go together")
    nonpad = low.known(node, 6)
    before = 0
    if past_key is not None and past_value is not None:
        if nonpad is not None:
            raise CompileError("nonpad_kv_seqlen does not go with past_key")
        before = program.shape(past_key)[2]
        k, v = (
            program.layout(pair, lambda a, b: np.concatenate([a, b], 2))
            for pair in ((past_key, k), (past_value, v))
        )
    present = [k, v]
    batch, heads, queries, size = program.shape(q)
    groups = program.shape(k)[1]
    keys = program.shape(k)[2]
    if program.shape(k) != (batch, groups, keys, size) or program.shape(v)[:3] != (
        *(batch, groups, keys),
    ):
        raise CompileError(
            f"queries {program.shape(q)}, keys {program.shape(k)} and values {program.shape(v)} "
            "do not fit"
        )
    if not groups or heads % groups:
        raise CompileError(f"{heads} heads of queries are no multiple of {groups} of keys")
    if nonpad is not None and nonpad.shape != (batch,):
        raise CompileError(f"nonpad_kv_seqlen has the shape {nonpad.shape}, not {(batch,)}")
    scores = _scores(low, node, q, k)
    shape = (batch, heads, queries, keys)
    stages = [scores]
    cap = float(attributes.get("softcap", 0.0))
    if cap < 0:
        raise CompileError(f"softcap must not be below 0, but {cap:g}")
    if cap:
        scores = program.map(ex.tanh(X * (1 / cap)) * cap, scores)
    stages.append(scores)
    allowed = _allowed(node, shape, before, nonpad)
    if mask is not None:
        scores, more = _masked(low, node, scores, mask, shape)
        allowed = allowed & more
    stages.append(scores)
    weights = _softmax(program, scores, np.broadcast_to(allowed, shape))
    stages.append(weights)
    wide = program.layout([v], lambda i: i.repeat(heads // groups, 1))
    out = program.product(weights, wide)
    if flat:
        out = program.layout([out], lambda i: i.swapaxes(1, 2).reshape(batch, queries, -1))
    made = [out, *present]
    if len(node.outputs) > 3 and node.outputs[3]:
        mode = int(attributes.get("qk_matmul_output_mode", 0))
        if not 0 <= mode <= 3:
            raise CompileError(f"qk_matmul_output_mode {mode} is unknown")
        if mode == 2 and not allowed.all():
            raise CompileError("its scores with a mask of -inf are not finite")
        made.append(stages[mode])
    return made


def _heads(low: Lowering, tensor: int, attribute: str, node: Operator) -> int:
    """(batch, heads, sequence, size) of a tensor, or of (batch, sequence, heads * size)."""
    shape = low.program.shape(tensor)
    if len(shape) == 4:
        return tensor
    count = int(node.attributes.get(attribute, 0))
    if len(shape) != 3 or count < 1 or shape[2] % count:
        raise CompileError(f"a shape of {shape} with {attribute} {count}")
    return low.program.layout(
        [tensor], lambda i: i.reshape(*shape[:2], count, shape[2] // count).swapaxes(1, 2)
    )


def _scores(low: Lowering, node: Operator, q: int, k: int) -> int:
    """Scaled products of queries and keys (batch, heads, queries, keys)."""
    program = low.program
    heads, size = program.shape(q)[1], program.shape(q)[3]
    scale = float(node.attributes.get("scale", 1 / sqrt(size) if size else 1.0))
    if not (np.isfinite(scale) and scale > 0):
        raise CompileError(f"scale must be positive, not {scale:g}")
    turned = program.layout([k], lambda i: i.repeat(heads // program.shape(k)[1], 1).swapaxes(2, 3))
    return program.map(X * scale, program.product(q, turned))


def _allowed(
    node: Operator, shape: tuple[int, int, int, int], before: int, nonpad: NDArray | None
) -> NDArray[np.bool_]:
    """Which keys queries may attend, but for the mask: broadcasts to ``shape``."""
    batch, _, queries, keys = shape
    key = np.arange(keys)
    ends = np.full((batch, 1, 1, 1), before) if nonpad is None else _column(nonpad) - queries
    # Places of queries among the keys.
    at = ends + np.arange(queries)[:, None]
    allowed = np.ones((1, 1, queries, keys), bool)
    if node.attributes.get("is_causal", 0):
        allowed = allowed & (key <= at)
    for side, name in ((-1, "left_window_size"), (1, "right_window_size")):
        width = int(node.attributes.get(name, -1))
        if width < -1:
            raise CompileError(f"{name} must be at least -1, not {width}")
        if width >= 0:
            allowed = allowed & (side * (key - at) <= width)
    return allowed if nonpad is None else allowed & (key < _column(nonpad))


def _column(numbers: NDArray) -> NDArray:
    return numbers.astype(np.int64).reshape(-1, 1, 1, 1)


def _masked(
    low: Lowering, node: Operator, scores: int, mask: int, shape: tuple[int, ...]
) -> tuple[int, NDArray[np.bool_]]:
    """Scores with a mask of floats added, and what the mask allows: all that is not -inf, or that
    is true; what lies beyond a mask that is too short is forbidden."""
    program, name = low.program, node.inputs[3]
    kind = low.types[name].tensor_type.elem_type
    constant, given = program.tensors[mask].constant, program.shape(mask)
    if not given or given[-1] > shape[-1]:
        raise CompileError(f"a mask of shape {given} does not fit {shape}")
    if given[-1] == 1 < shape[-1]:
        raise CompileError(
            f"a mask of shape {given} is broadcast, or of one key: the standard says both"
        )
    short = [(0, 0)] * (len(given) - 1) + [(0, shape[-1] - given[-1])]
    allowed = np.ones(given, bool)
    if kind not in FLOATS:
        if constant is None:
            raise CompileError(f"its mask {name!r} of truth values must be constant")
        allowed = constant != 0
    elif constant is not None:
        allowed = constant != -np.inf
        mask = program.constant(np.where(allowed, constant, 0.0))
    padded = program.layout([mask], lambda i: np.pad(i, short, constant_values=-1))
    values = program.tensors[padded].constant
    if kind in FLOATS and (values is None or values.any()):
        scores = program.map(X + Y, scores, program.broadcast(padded, shape))
    return scores, np.broadcast_to(np.pad(allowed, short), shape)


def _softmax(program: Builder, scores: int, allowed: NDArray[np.bool_]) -> int:
    """Softmax of the last axis over what is allowed; 0 elsewhere."""
    first = allowed.argmax(axis=-1)[..., None]
    kept = program.layout(
        [scores], lambda i: np.where(allowed, i, np.take_along_axis(i, first, -1))
    )
    powers = program.map(ex.exp(X - Y), kept, program.reduce("max", kept, (-1,)))
    powers = program.layout([powers], lambda i: np.where(allowed, i, -1))
    total = program.reduce("add", powers, (-1,))
    # Of a row without keys the sum is 0: 1 in its place, the weights are 0.
    some = allowed.any(axis=-1, keepdims=True)
    total = program.layout([total], lambda i: np.where(some, i, -1), 1.0)
    return program.map(X / Y, powers, total)
