"""Nodes that move elements: layouts, slices, gathers and scatters, pads, what depends on shapes."""

from typing import Any

import numpy as np
from onnx import numpy_helper

from verif.stimulus.nodes.growing import FLOAT, INT64, Growing, Shape, Unfit, node


def kind_of_data(g: Growing) -> int:
    """Mostly floats."""
    return INT64 if g.coin(0.15) else FLOAT


@node("Flatten")
def flatten(g: Growing, op: str) -> None:
    x = g.ranked(1)
    g.add(op, x, axis=g.number(0, len(g.shapes[x])))


@node("Reshape")
def reshape(g: Growing, op: str) -> None:
    """With -1 for what is left, 0 for what stays."""
    x = g.take(kind=kind_of_data(g))
    size, wanted = int(np.prod(g.shapes[x])), []
    for _ in range(g.number(0, 3)):
        wanted.append(g.one([n for n in range(1, size + 1) if size % n == 0] or [1]))
        size //= wanted[-1] or 1
    wanted.append(size)
    wanted = [int(n) for n in g.rng.permutation(wanted)]
    if g.coin(0.3):
        wanted[g.number(0, len(wanted) - 1)] = -1
    elif g.shapes[x] and g.shapes[x][0] == wanted[0] and g.coin():
        wanted[0] = 0
    g.add(op, x, g.ints(wanted))


@node("Transpose")
def transpose(g: Growing, op: str) -> None:
    x = g.take(kind=kind_of_data(g))
    order = [int(a) for a in g.rng.permutation(len(g.shapes[x]))]
    g.add(op, x, perm=order if order and g.coin(0.8) else None)


@node("Expand")
def expand(g: Growing, op: str) -> None:
    x = g.take(kind=kind_of_data(g))
    shape = [g.one([1, n]) if n > 1 else g.number(1, 3) for n in g.shapes[x]]
    g.add(op, x, g.ints([*g.dims(g.number(0, 1)), *shape]))


@node("Concat")
def concat(g: Growing, op: str) -> None:
    x = g.ranked(1, kind=kind_of_data(g))
    axis = g.axis(g.shapes[x])
    place = axis % len(g.shapes[x])

    def same_but_axis(shape: Shape) -> bool:
        return (
            len(shape) == len(g.shapes[x])
            and (*shape[:place], 0, *shape[place + 1 :])
            == (*g.shapes[x][:place], 0, *g.shapes[x][place + 1 :])
            and 0 not in shape
        )

    others = [g.take(same_but_axis, g.shapes[x], g.kinds[x]) for _ in range(g.number(0, 2))]
    g.add(op, x, *others, axis=axis)


@node("Split")
def split(g: Growing, op: str) -> None:
    x = g.ranked(1, kind=kind_of_data(g))
    axis = g.axis(g.shapes[x])
    size = g.shapes[x][axis]
    count = g.number(1, min(3, size))
    if g.opset >= 18 and g.coin():
        g.add(op, x, axis=axis, num_outputs=count, outputs=count)
        return
    cuts = sorted(g.rng.choice(np.arange(1, size), count - 1, replace=False)) if count > 1 else []
    parts = [int(n) for n in np.diff([0, *cuts, size])]
    if g.opset >= 13:
        g.add(op, x, g.ints(parts), axis=axis, outputs=count)
    else:
        g.add(op, x, axis=axis, split=parts, outputs=count)


@node("Slice")
def cut(g: Growing, op: str) -> None:
    """Ends beyond the axis, steps back, of newer opsets."""
    x = g.ranked(1, kind=kind_of_data(g))
    rank = len(g.shapes[x])
    axes = [int(a) for a in g.rng.permutation(rank)[: g.number(1, rank)]]
    starts, ends, steps = [], [], []
    for a in axes:
        size = g.shapes[x][a]
        start, length = g.number(0, size - 1), g.number(1, size)
        back = g.opset >= 10 and g.coin(0.3)
        starts.append(start if g.coin(0.7) else start - size)
        if back:
            ends.append(start - length if start - length >= 0 else -size - 1 - g.number(0, 3))
        else:
            ends.append(start + length if g.coin(0.8) else 1 << 40)
        steps.append((-1 if back else 1) * (g.number(1, 2) if g.opset >= 10 else 1))
    if g.opset < 10:
        g.add(op, x, axes=axes, starts=starts, ends=ends)
        return
    if g.coin(0.3):
        axes = [a - rank for a in axes]
    g.add(op, x, *(g.ints(v) for v in (starts, ends, axes, steps)))


@node("Squeeze", "Unsqueeze")
def squeeze(g: Growing, op: str) -> None:
    if op == "Squeeze":
        x = g.take(lambda s: 1 in s, (*g.dims(2), 1), kind_of_data(g))
        ones = [a for a, n in enumerate(g.shapes[x]) if n == 1]
        axes = sorted({int(a) for a in g.rng.choice(ones, g.number(1, len(ones)))})
        if g.coin(0.2):
            g.add(op, x)
            return
    else:
        x = g.take(lambda s: len(s) < 5, kind=kind_of_data(g))
        count = g.number(1, 2)
        rank = len(g.shapes[x]) + count
        axes = sorted(int(a) for a in g.rng.permutation(rank)[:count])
    if g.opset >= 13:
        g.add(op, x, g.ints(axes))
    else:
        g.add(op, x, axes=axes)


@node("Tile")
def tile(g: Growing, op: str) -> None:
    x = g.take(kind=kind_of_data(g))
    g.add(op, x, g.ints(g.rng.integers(1, 4, len(g.shapes[x]))))


def _indices(g: Growing, shape: Shape, size: int) -> str:
    """Indices of an axis, constant or fed, from its end too."""
    least = -size if g.opset >= 11 and g.coin() else 0
    values = g.rng.integers(least, size, shape)
    if g.coin(0.7):
        return g.ints(values)
    name = g.new(shape, INT64, fed=True)
    g.values[name] = values
    return name


@node("Gather")
def gather(g: Growing, op: str) -> None:
    x = g.ranked(1, kind=kind_of_data(g))
    axis = g.axis(g.shapes[x])
    g.add(op, x, _indices(g, g.dims(g.number(0, 2)), g.shapes[x][axis]), axis=axis)


@node("GatherElements")
def gather_elements(g: Growing, op: str) -> None:
    x = g.ranked(1)
    axis = g.axis(g.shapes[x])
    shape = list(g.shapes[x])
    shape[axis] = g.number(1, 4)
    g.add(op, x, _indices(g, tuple(shape), g.shapes[x][axis]), axis=axis)


@node("GatherND")
def gather_nd(g: Growing, op: str) -> None:
    x = g.ranked(1)
    shape = g.shapes[x]
    batch = g.number(0, len(shape) - 1) if g.version(op) >= 12 and g.coin(0.4) else 0
    axes = g.number(1, len(shape) - batch)
    outer = (*shape[:batch], *g.dims(g.number(0, 1)), axes)
    values = np.stack([g.rng.integers(0, n, outer[:-1]) for n in shape[batch : batch + axes]], -1)
    g.add(op, x, g.ints(values), batch_dims=batch or None)


@node("ScatterElements", "Scatter")
def scatter(g: Growing, op: str) -> None:
    """Of different places, or reduced."""
    x = g.ranked(1)
    shape, axis = g.shapes[x], g.axis(g.shapes[x])
    reductions = [None, "add", "mul", "max", "min"][: 5 if g.version(op) >= 18 else 3]
    reduction = g.one(reductions) if op != "Scatter" and g.version(op) >= 16 else None
    count = g.number(1, shape[axis])
    own = list(shape)
    own[axis] = count
    picks = g.rng.random(shape).argsort(axis)
    values = np.take(picks, range(count), axis)
    if reduction:
        values = g.rng.integers(0, shape[axis], own)
    g.add(op, x, g.ints(values), g.shaped(*own), axis=axis, reduction=reduction)


@node("ScatterND")
def scatter_nd(g: Growing, op: str) -> None:
    x = g.ranked(1)
    shape = g.shapes[x]
    axes = g.number(1, len(shape))
    every = np.stack(np.unravel_index(np.arange(np.prod(shape[:axes])), shape[:axes]), -1)
    indices = g.rng.permutation(every)[: g.number(1, min(4, len(every)))]
    updates = g.shaped(len(indices), *shape[axes:])
    reductions = [None, "add", "mul", "max", "min"][: 5 if g.version(op) >= 18 else 3]
    g.add(
        op,
        x,
        g.ints(indices),
        updates,
        reduction=g.one(reductions) if g.version(op) >= 16 else None,
    )


@node("Pad")
def pad(g: Growing, op: str) -> None:
    x = g.ranked(1)
    shape, modes = g.shapes[x], ["constant", "constant", "reflect", "edge"]
    mode = g.one(modes + (["wrap"] if g.version(op) >= 19 else []))
    most = [n - 1 if mode == "reflect" else min(n, 2) for n in shape]
    axes = list(range(len(shape)))
    if g.version(op) >= 18 and g.coin(0.4):
        axes = sorted(int(a) for a in g.rng.permutation(axes)[: g.number(1, len(axes))])
    pads = [
        -1 if g.coin(0.08) and shape[a] > 3 and mode == "constant" else g.number(0, min(2, most[a]))
        for a in axes * 2
    ]
    if g.opset < 11:
        g.add(op, x, mode=mode, pads=pads, value=g.one([None, 1.5]))
        return
    value = g.one(["", g.constant(-0.5), g.constant(2.0)]) if mode == "constant" else ""
    more = [g.ints(axes)] if len(axes) < len(shape) else []
    g.add(op, x, g.ints(pads), value, *more, mode=mode)


@node("DepthToSpace", "SpaceToDepth")
def blocks(g: Growing, op: str) -> None:
    block, (n, c, h, w) = g.number(1, 2), g.dims(4)
    if op == "DepthToSpace":
        x = g.take(
            lambda s: len(s) == 4 and s[1] % block**2 == 0 and 0 not in s, (n, c * block**2, h, w)
        )
        mode = g.one(["DCR", "CRD", None]) if g.version(op) >= 11 else None
        g.add(op, x, blocksize=block, mode=mode)
        return
    x = g.take(
        lambda s: len(s) == 4 and s[2] % block == s[3] % block == 0 and 0 not in s,
        (n, c, h * block, w * block),
    )
    g.add(op, x, blocksize=block)


@node("ReverseSequence")
def reverse(g: Growing, op: str) -> None:
    x = g.ranked(2)
    time = g.one([0, 1])
    shape = g.shapes[x]
    lengths = g.ints(g.rng.integers(1, shape[time] + 1, shape[1 - time]))
    g.add(op, x, lengths, batch_axis=1 - time, time_axis=time)


@node("Shape", "Size")
def of_shape(g: Growing, op: str) -> None:
    x = g.take()
    ends: dict[str, Any] = (
        {"start": g.number(-2, 1), "end": g.number(-1, 3)} if g.opset >= 15 else {}
    )
    g.add(op, x, **(ends if op == "Shape" and g.coin(0.3) else {}))


@node("ConstantOfShape")
def filled(g: Growing, op: str) -> None:
    value = numpy_helper.from_array(np.array([g.one([0, 1, -2.5])], np.float32))
    g.add(op, g.ints(g.dims(g.number(1, 3))), value=value)


@node("Range")
def counted(g: Growing, op: str) -> None:
    kind = g.one([FLOAT, INT64])
    start, step = g.number(-3, 3), g.one([1, 2, -1])
    ends = (start, start + step * g.number(1, 5), step)
    g.add(op, *(g.constant(v, kind) for v in ends))


@node("EyeLike")
def eye(g: Growing, op: str) -> None:
    if g.opset < 9:
        raise Unfit("a later operator")
    g.add(op, g.ranked(2, 2), k=g.one([None, 1, -1]))


@node("OneHot")
def one_hot(g: Growing, op: str) -> None:
    indices = g.ranked(1, 3, INT64)
    depth = g.ints(g.number(1, 5))
    g.add(
        op,
        indices,
        depth,
        g.constant([0, 1] if g.coin() else [-0.5, 2]),
        axis=g.one([None, -1, 0, 1]),
    )


@node("ArgMax", "ArgMin")
def pick(g: Growing, op: str) -> None:
    x = g.ranked(1)
    last = g.one([0, 1]) if g.version(op) >= 12 else None
    axis = g.axis(g.shapes[x])
    if g.opset < 11:
        axis %= len(g.shapes[x])
    g.add(op, x, axis=axis, keepdims=g.one([0, 1]), select_last_index=last)


@node("TopK")
def greatest(g: Growing, op: str) -> None:
    x = g.ranked(1)
    axis = g.axis(g.shapes[x]) if g.opset >= 11 else len(g.shapes[x]) - 1
    count = g.number(1, g.shapes[x][axis])
    if g.opset < 10:
        g.add(op, x, axis=axis, k=count, outputs=2)
        return
    largest = g.one([0, 1, None]) if g.opset >= 11 else None
    g.add(op, x, g.ints([count]), axis=axis, largest=largest, outputs=2)
