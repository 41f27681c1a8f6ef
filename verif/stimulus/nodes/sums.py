"""Nodes of sums: reductions, softmaxes, normalisations, products, attention, recurrent cells."""

from typing import Any

from verif.stimulus.nodes.growing import FLOAT, INT64, Growing, Unfit, node


@node(
    *("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1"),
    *("ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare"),
)
def reduction(g: Growing, op: str) -> None:
    """Along some axes, all, or by ``noop_with_empty_axes`` none."""
    whole = op in ("ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd") and g.coin(0.15)
    x = g.take(lambda s: 0 not in s, kind=INT64 if whole else FLOAT)
    if op == "ReduceLogSum" and g.coin(0.9):
        x = g.add("Abs", x)
    rank, version = len(g.shapes[x]), g.version(op)
    axes = sorted(int(a) for a in g.rng.permutation(rank)[: g.number(0, rank)])
    if g.coin(0.3) and version >= 11:
        axes = [a - rank for a in axes]
    given: dict[str, Any] = {"keepdims": g.one([0, 1, None])}
    if version >= (13 if op == "ReduceSum" else 18):
        if not axes:
            given["noop_with_empty_axes"] = g.one([0, 1, None])
        g.add(op, x, g.ints(axes) if axes or g.coin() else "", **given)
    else:
        g.add(op, x, axes=axes or None, **given)


@node("Softmax", "LogSoftmax", "Hardmax")
def normalised(g: Growing, op: str) -> None:
    x = g.ranked(1)
    axis = g.axis(g.shapes[x])
    g.add(op, x, axis=axis if g.opset >= 11 else axis % len(g.shapes[x]))


@node("LayerNormalization")
def layer(g: Growing, op: str) -> None:
    x = g.ranked(1)
    axis = g.axis(g.shapes[x])
    shape = g.shapes[x][axis:]
    bias = [g.shaped(*shape)] if g.coin() else []
    count = g.one([1, 1, 3])
    g.add(op, x, g.shaped(*shape), *bias, axis=axis, epsilon=g.one([None, 0.1]), outputs=count)


@node("RMSNormalization")
def root_mean_square(g: Growing, op: str) -> None:
    x = g.ranked(1)
    axis = g.axis(g.shapes[x])
    g.add(op, x, g.shaped(*g.shapes[x][axis:]), axis=axis, epsilon=g.one([None, 0.1]))


@node("LpNormalization")
def norm(g: Growing, op: str) -> None:
    x = g.ranked(1)
    g.add(op, x, axis=g.axis(g.shapes[x]), p=g.one([1, 2, None]))


@node("MeanVarianceNormalization")
def mean_variance(g: Growing, op: str) -> None:
    x = g.take(lambda s: len(s) == 4 and 0 not in s, g.dims(4))
    axes = sorted(int(a) for a in g.rng.permutation(4)[: g.number(1, 4)])
    g.add(op, x, axes=g.one([None, axes]))


@node("MatMul")
def product(g: Growing, op: str) -> None:
    x = g.ranked(1)
    depth = g.shapes[x][-1]
    if g.coin(0.15):
        g.add(op, x, g.shaped(depth))
        return
    y = g.take(lambda s: len(s) == 2 and s[0] == depth and 0 not in s, (depth, g.number(1, 5)))
    g.add(op, x, y)


@node("Gemm")
def gemm(g: Growing, op: str) -> None:
    x = g.ranked(2, 2)
    left, right = g.coin(), g.coin()
    rows, depth = g.shapes[x][::-1] if left else g.shapes[x]
    columns = g.number(1, 5)
    y = g.shaped(*((columns, depth) if right else (depth, columns)))
    c = [] if g.version(op) >= 11 and g.coin(0.3) else [g.beside((rows, columns))]
    factors: dict[str, Any] = {"alpha": 0.5, "beta": 2.0} if g.coin(0.4) else {}
    g.add(op, x, y, *c, transA=int(left), transB=int(right), **factors)


@node("Einsum")
def einsum(g: Growing, op: str) -> None:
    """Of letters with sizes: products, diagonals, sums, transposes, an ellipsis."""
    match g.number(0, 3):
        case 0:
            x = g.ranked(2, 3)
            letters = "abc"[: len(g.shapes[x])]
            keep = "".join(c for c in g.rng.permutation(list(letters)) if g.coin(0.7))
            g.add(op, x, equation=f"{letters} -> {keep}" if g.coin() else letters[::-1])
        case 1:
            n = g.number(1, 4)
            g.add(op, g.shaped(n, n), equation=g.one(["ii->i", "ii", "ii->"]))
        case 2:
            x = g.ranked(2, 2)
            y = g.shaped(g.shapes[x][1], g.number(1, 4))
            g.add(op, x, y, equation=g.one(["ij,jk->ik", "ij,jk", "ij,jk->ki", "ij,jk->k"]))
        case _:
            x = g.ranked(2, 4)
            y = g.shaped(g.shapes[x][-1], g.number(1, 4))
            g.add(op, x, y, equation=g.one(["...i,ij->...j", "...i,ij->j..."]))


@node("Attention")
def attention(g: Growing, op: str) -> None:
    """Of 3 or 4 axes, grouped heads, causal, masks, a softcap, past keys and values."""
    batch, queries, keys, size = g.number(1, 2), g.number(1, 4), g.number(1, 4), g.number(1, 4)
    heads, shared = g.one([(1, 1), (2, 2), (2, 1), (4, 2)])
    given: dict[str, Any] = {}
    if g.coin():
        q, k, v = (
            g.shaped(batch, h, n, size)
            for h, n in ((heads, queries), (shared, keys), (shared, keys))
        )
    else:
        given |= {"q_num_heads": heads, "kv_num_heads": shared}
        q, k, v = (
            g.shaped(batch, n, h * size)
            for h, n in ((heads, queries), (shared, keys), (shared, keys))
        )
    before = g.number(1, 3) if g.coin(0.25) else 0
    past = [g.shaped(batch, shared, before, size) for _ in range(2)] if before else []
    mask = g.shaped(queries, keys + before) if g.coin(0.4) else ""
    if g.coin(0.4):
        given["is_causal"] = 1
    if g.coin(0.2):
        given["softcap"] = 2.0
    if g.coin(0.2):
        given["scale"] = 0.7
    outputs = 3 if before else 1
    g.add(op, q, k, v, mask, *past, outputs=outputs, **given)


@node("RotaryEmbedding")
def rotary(g: Growing, op: str) -> None:
    batch, heads, length, half = (g.number(1, 2), g.number(1, 2), g.number(1, 4), g.number(1, 3))
    x = g.shaped(batch, heads, length, 2 * half)
    caches = [g.shaped(batch, length, half) for _ in range(2)]
    g.add(op, x, *caches, interleaved=g.one([None, 1]))


@node("LSTM", "GRU", "RNN")
def recurrent(g: Growing, op: str) -> None:
    """One or two directions, optional inputs absent, as both layouts have them."""
    version = g.version(op)
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[op]
    length, batch, size, hidden = (g.number(1, 3), g.number(1, 2), g.number(1, 3), g.number(1, 3))
    direction = g.one(["forward", "reverse", "bidirectional"])
    ways = 2 if direction == "bidirectional" else 1
    given: dict[str, Any] = {"hidden_size": hidden, "direction": direction}
    batched = version >= 14 and g.coin(0.3)
    if batched:
        given["layout"] = 1
    if op == "GRU" and g.coin():
        given["linear_before_reset"] = 1
    if op == "LSTM" and g.coin(0.15):
        given["input_forget"] = 1
    if g.coin(0.2):
        given["clip"] = 0.8
    if op == "RNN" and g.coin(0.3):
        given["activations"] = [g.one(["Relu", "Tanh", "Sigmoid"]) for _ in range(ways)]
    x = g.shaped(*((batch, length, size) if batched else (length, batch, size)))
    weights = [g.shaped(ways, gates * hidden, n) for n in (size, hidden)]
    bias = g.shaped(ways, 2 * gates * hidden) if g.coin(0.6) else ""
    lengths = g.constant(g.rng.integers(1, length + 1, batch), 6) if g.coin(0.2) else ""
    state = (batch, ways, hidden) if batched else (ways, batch, hidden)
    states = [g.shaped(*state) if g.coin(0.3) else "" for _ in range(2 if op == "LSTM" else 1)]
    peepholes = [g.shaped(ways, 3 * hidden)] if op == "LSTM" and g.coin(0.2) else []
    outputs = g.number(1, 3 if op == "LSTM" else 2)
    if size + hidden > 6:
        raise Unfit("large cells")
    g.add(op, x, *weights, bias, lengths, *states, *peepholes, outputs=outputs, **given)
