"""ONNX operators as steps of a tensor program."""

from collections.abc import Callable
from math import prod

import numpy as np
import onnx
from numpy.typing import NDArray

from compiler.errors import CompileError
from compiler.tensors import expressions as ex
from compiler.tensors.expressions import Expression, variable
from compiler.tensors.onnx_graph import Graph, Operator, prepare
from compiler.tensors.program import Program
from compiler.tensors.windows import Windows

X, Y = variable(0), variable(1)
#: Element types that are numbers with a fraction.
FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE,
          onnx.TensorProto.BFLOAT16)
UNARY: dict[str, Expression] = {
    "Relu": ex.apply("relu", X), "Sigmoid": ex.sigmoid(X), "Tanh": ex.tanh(X), "Erf": ex.erf(X),
    "Exp": ex.exp(X), "Log": ex.log(X), "Sqrt": ex.apply("sqrt", X), "Abs": ex.apply("abs", X),
    "Neg": ex.apply("neg", X), "Reciprocal": 1.0 / X}
BINARY = {"Add": X + Y, "Sub": X - Y, "Mul": X * Y, "Div": X / Y}
CHOICES = {"Max": "max", "Min": "min", "Sum": "add"}
REDUCTIONS = {"ReduceSum": "add", "ReduceMean": "add", "ReduceMax": "max", "ReduceMin": "min"}


def lower(model: onnx.ModelProto, name: str, batch: int = 1) -> Program:
    """The tensor program of a model; see ``prepare``.

    Raises
    ------
    CompileError: as ``prepare``; an operator that is not supported, or not with these attributes
        or inputs, named with its node.
    """
    return _Lowering(prepare(model, name, OPERATORS, batch)).run()


class _Lowering:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.program = Program(graph.name)
        self.tensors: dict[str, int] = {}

    def run(self) -> Program:
        program, graph = self.program, self.graph
        for name, shape in graph.inputs.items():
            self.tensors[name] = program.inputs[name] = program.tensor(shape)
        for node in graph.operators:
            handler = OPERATORS.get(node.op)
            if handler is None:
                raise CompileError(f"{node.label}: operator is not supported; supported are "
                                   f"{', '.join(sorted(OPERATORS))}")
            try:
                made = handler(self, node)
            except CompileError as error:
                raise CompileError(f"{node.label}: {error}" if node.label not in str(error)
                                   else str(error)) from None
            except (ValueError, IndexError, KeyError, TypeError, ZeroDivisionError,
                    OverflowError, MemoryError) as error:
                raise CompileError(f"{node.label}: {error or type(error).__name__}") from None
            made = made if isinstance(made, list) else [made]
            if any(node.outputs[len(made):]):
                raise CompileError(f"{node.label}: has only {len(made)} of its outputs here")
            self.tensors.update({o: t for o, t in zip(node.outputs, made, strict=False) if o})
        for name in graph.outputs:
            program.outputs[name] = self._tensor(name)
        if not program.outputs:
            raise CompileError(f"{graph.name}: the graph has no outputs")
        return program

    # What a node is given.

    def _tensor(self, name: str) -> int:
        if name not in self.tensors:
            if name not in self.graph.constants:
                raise CompileError(f"there is no tensor {name!r}")
            values = self.graph.constants[name]
            if values.dtype.kind not in "fiub":
                raise CompileError(f"{name!r} holds {values.dtype}, not numbers")
            self.tensors[name] = self.program.constant(values)
        return self.tensors[name]

    def _inputs(self, node: Operator) -> list[int]:
        return [self._tensor(i) for i in node.inputs if i]

    def _known(self, node: Operator, place: int, attribute: str = "") -> NDArray | None:
        """The values of an input that must be constant, or of an attribute of older versions."""
        if place < len(node.inputs) and node.inputs[place]:
            name = node.inputs[place]
            if name not in self.graph.constants:
                raise CompileError(f"{node.label}: input {name!r} must be constant")
            return self.graph.constants[name]
        value = node.attributes.get(attribute)
        return None if value is None else np.asarray(value)

    def _axes(self, node: Operator, rank: int, place: int = 1) -> tuple[int, ...] | None:
        axes = self._known(node, place, "axes")
        return None if axes is None else tuple(_axis(int(a), rank) for a in np.ravel(axes))

    # Elementwise.

    def _unary(self, node: Operator) -> int:
        self._formula(node.op == "Erf")
        return self.program.map(UNARY[node.op], *self._inputs(node))

    def _binary(self, node: Operator) -> int:
        return self.program.map(BINARY[node.op], *self._inputs(node))

    def _any(self, node: Operator) -> int:
        """Of any number of operands."""
        tensors = self._inputs(node)
        terms = [variable(k) for k in range(len(tensors))]
        return self.program.map(ex.tree(CHOICES[node.op], terms), *tensors)

    def _gelu(self, node: Operator) -> int:
        form = node.attributes.get("approximate", "none")
        if form not in ("none", "tanh"):
            raise CompileError(f"approximate must be none or tanh, not {form!r}")
        self._formula(form == "none")
        return self.program.map(ex.gelu(X, form == "tanh"), *self._inputs(node))

    def _formula(self, used: bool) -> None:
        if used:
            self.program.error = ex.ERF_ERROR

    def _pow(self, node: Operator) -> int:
        x, y = self._inputs(node)
        values = self.program.tensors[y].constant
        if values is not None and values.size and (values == values.flat[0]).all():
            base = self.program.broadcast(x, np.broadcast_shapes(
                self.program.shape(x), self.program.shape(y)))
            return self.program.map(ex.power(X, float(values.flat[0])), base)
        return self.program.map(ex.apply("exp2", ex.apply("log2", X) * Y), x, y)

    def _clip(self, node: Operator) -> int:
        x = self._tensor(node.inputs[0])
        low, high = self._known(node, 1, "min"), self._known(node, 2, "max")
        out = X
        for op, bound in (("max", low), ("min", high)):
            if bound is not None and abs(float(bound)) < np.finfo(np.float32).max:
                out = ex.apply(op, out, float(bound))
        return self.program.map(out, x)

    def _same(self, node: Operator) -> int:
        return self._tensor(node.inputs[0])

    def _cast(self, node: Operator) -> int:
        if node.attributes["to"] not in FLOATS:
            raise CompileError(f"{node.label}: casts to "
                               f"{onnx.TensorProto.DataType.Name(node.attributes['to'])}; only "
                               "floating-point types of 16 bits and more are supported")
        return self._tensor(node.inputs[0])

    # Reductions and normalisations.

    def _reduce(self, node: Operator) -> int:
        x = self._tensor(node.inputs[0])
        shape = self.program.shape(x)
        axes = self._axes(node, len(shape))
        if not axes:
            if node.attributes.get("noop_with_empty_axes", 0):
                return x
            axes = tuple(range(len(shape)))
        out = self.program.reduce(REDUCTIONS[node.op], x, axes) if axes else x
        if node.op == "ReduceMean":
            out = self.program.map(X * (1 / prod(shape[a] for a in axes)), out)
        if node.attributes.get("keepdims", 1):
            return out
        return self.program.layout([out], lambda i: i.squeeze(axes))

    def _mean(self, x: int, axes: tuple[int, ...]) -> int:
        """The sum divided by the number of elements."""
        count = prod(self.program.shape(x)[a] for a in axes)
        return self.program.map(X * (1 / count), self.program.reduce("add", x, axes))

    def _softmax(self, node: Operator) -> int:
        x, program = self._tensor(node.inputs[0]), self.program
        shape = program.shape(x)
        if self.graph.opset < 13:
            # Until then of all axes from one on.
            axes = tuple(range(_axis(node.attributes.get("axis", 1), len(shape)), len(shape)))
        else:
            axes = (_axis(node.attributes.get("axis", -1), len(shape)),)
        powers = program.map(ex.exp(X - Y), x, program.reduce("max", x, axes))
        return program.map(X / Y, powers, program.reduce("add", powers, axes))

    def _layer_norm(self, node: Operator) -> list[int]:
        program = self.program
        x, scale, *bias = self._inputs(node)
        axes = self._from_axis(node, x)
        mean = self._mean(x, axes)
        centred = program.map(X - Y, x, mean)
        inverse = self._inverse_root(node, centred, axes)
        scaled = [centred, inverse, scale, *bias]
        out = X * Y * variable(2) + variable(3) if bias else X * Y * variable(2)
        return [program.map(out, *scaled), mean, inverse]

    def _rms_norm(self, node: Operator) -> int:
        x, scale = self._inputs(node)
        inverse = self._inverse_root(node, x, self._from_axis(node, x))
        return self.program.map(X * Y * variable(2), x, inverse, scale)

    def _from_axis(self, node: Operator, x: int) -> tuple[int, ...]:
        rank = len(self.program.shape(x))
        return tuple(range(_axis(node.attributes.get("axis", -1), rank), rank))

    def _inverse_root(self, node: Operator, x: int, axes: tuple[int, ...]) -> int:
        """``1 / sqrt(mean(x^2) + epsilon)``."""
        count = prod(self.program.shape(x)[a] for a in axes)
        total = self.program.reduce("add", self.program.map(X * X, x), axes)
        epsilon = float(node.attributes.get("epsilon", 1e-5))
        return self.program.map(ex.apply("rsqrt", X * (1 / count) + epsilon), total)

    def _batch_norm(self, node: Operator) -> int:
        if node.attributes.get("training_mode", 0):
            raise CompileError(f"{node.label}: training_mode is not supported")
        x, *parameters = self._inputs(node)
        shape = (-1, *[1] * (len(self.program.shape(x)) - 2))
        scale, bias, mean, variance = (self.program.layout([p], lambda i: i.reshape(shape))
                                       for p in parameters)
        epsilon = float(node.attributes.get("epsilon", 1e-5))
        factor = self.program.map(X * ex.apply("rsqrt", Y + epsilon), scale, variance)
        offset = self.program.map(X - Y * variable(2), bias, mean, factor)
        return self.program.map(X * Y + variable(2), x, factor, offset)

    # Products.

    def _matmul(self, node: Operator) -> int:
        a, b = self._inputs(node)
        program, shapes = self.program, [self.program.shape(t) for t in self._inputs(node)]
        if len(shapes[0]) == 1:
            a = program.layout([a], lambda i: i[None])
        if len(shapes[1]) == 1:
            b = program.layout([b], lambda i: i[:, None])
        out = program.product(a, b)
        drop = tuple(axis for axis, s in ((-2, shapes[0]), (-1, shapes[1])) if len(s) == 1)
        return program.layout([out], lambda i: i.squeeze(drop)) if drop else out

    def _gemm(self, node: Operator) -> int:
        a, b, *c = self._inputs(node)
        program, attributes = self.program, node.attributes
        if attributes.get("transA", 0):
            a = program.layout([a], np.transpose)
        if attributes.get("transB", 0):
            b = program.layout([b], np.transpose)
        out, alpha = program.product(a, b), float(attributes.get("alpha", 1.0))
        beta = float(attributes.get("beta", 1.0)) if c else 0.0
        scaled = X * alpha if alpha != 1 else X
        if not beta:
            return program.map(scaled, out)
        return program.map(scaled + (Y * beta if beta != 1 else Y), out, c[0])

    def _conv(self, node: Operator) -> int:
        x, weight, *bias = self._inputs(node)
        program, groups = self.program, int(node.attributes.get("group", 1))
        n, channels, *size = program.shape(x)
        filters, depth, *kernel = program.shape(weight)
        if groups < 1 or depth * groups != channels or filters % groups:
            raise CompileError(f"{node.label}: weights of shape {program.shape(weight)} do not fit "
                               f"{channels} channels in {groups} groups")
        windows = Windows.of(node.attributes, size, kernel)
        positions = prod(windows.out)

        def rows(i: NDArray) -> NDArray:
            """Groups, rows of windows of all images, elements of a window."""
            taken = windows.taken(i).reshape(n, groups, depth, positions, -1)
            return taken.transpose(1, 0, 3, 2, 4).reshape(groups, n * positions, -1)
        columns = program.layout([weight], lambda i: i.reshape(
            groups, filters // groups, -1).transpose(0, 2, 1))
        out = program.product(program.layout([x], rows), columns)
        out = program.layout([out], lambda i: i.reshape(
            groups, n, positions, -1).transpose(1, 0, 3, 2).reshape(n, filters, *windows.out))
        if not bias:
            return out
        wide = program.layout([bias[0]], lambda i: i.reshape(-1, *[1] * len(size)))
        return program.map(X + Y, out, wide)

    def _pool(self, node: Operator) -> int:
        x, program = self._tensor(node.inputs[0]), self.program
        size = program.shape(x)[2:]
        glob = node.op == "GlobalAveragePool"
        kernel = size if glob else [int(k) for k in node.attributes["kernel_shape"]]
        windows = Windows.of({} if glob else node.attributes, size, kernel)
        counted = bool(node.attributes.get("count_include_pad", 0))

        def taken(i: NDArray) -> NDArray:
            out = windows.taken(i)
            if node.op == "MaxPool":
                # Padding never is the greatest: some element of the window stands for it.
                out = np.where(out < 0, out.max(axis=-1, keepdims=True), out)
            return out
        values = program.layout([x], taken)
        if node.op == "MaxPool":
            out = program.reduce("max", values, (-1,))
        else:
            weights = program.constant(1 / windows.count(counted))
            total = program.layout([program.reduce("add", values, (-1,))], lambda i: i[..., 0])
            return program.map(X * Y, total, weights)
        return program.layout([out], lambda i: i[..., 0])

    # Layouts.

    def _flatten(self, node: Operator) -> int:
        x = self._tensor(node.inputs[0])
        shape = self.program.shape(x)
        axis = int(node.attributes.get("axis", 1))
        axis = axis + len(shape) if axis < 0 else axis
        return self.program.layout([x], lambda i: i.reshape(prod(shape[:axis]), prod(shape[axis:])))

    def _reshape(self, node: Operator) -> int:
        x, wanted = self._tensor(node.inputs[0]), self._known(node, 1, "shape")
        if wanted is None:
            raise CompileError(f"{node.label}: has no shape")
        old, keep = self.program.shape(x), not node.attributes.get("allowzero", 0)
        shape = [old[k] if n == 0 and keep else int(n) for k, n in enumerate(wanted.ravel())]
        return self.program.layout([x], lambda i: i.reshape(shape))

    def _expand(self, node: Operator) -> int:
        x, wanted = self._tensor(node.inputs[0]), self._known(node, 1)
        assert wanted is not None
        shape = np.broadcast_shapes(self.program.shape(x), tuple(int(n) for n in wanted.ravel()))
        return self.program.broadcast(x, shape)

    def _transpose(self, node: Operator) -> int:
        return self.program.layout([self._tensor(node.inputs[0])],
                                   lambda i: i.transpose(node.attributes.get("perm")))

    def _concat(self, node: Operator) -> int:
        return self.program.layout(self._inputs(node), lambda *parts: np.concatenate(
            parts, axis=node.attributes["axis"]))

    def _split(self, node: Operator) -> list[int]:
        x = self._tensor(node.inputs[0])
        shape = self.program.shape(x)
        axis = _axis(node.attributes.get("axis", 0), len(shape))
        sizes = self._known(node, 1, "split")
        if sizes is None:
            count = int(node.attributes.get("num_outputs", len(node.outputs)))
            each = -(-shape[axis] // count)
            sizes = np.diff(np.minimum(np.arange(count + 1) * each, shape[axis]))
        if sizes.sum() != shape[axis] or (sizes < 0).any():
            raise CompileError(f"{node.label}: parts of {sizes.tolist()} do not make up "
                               f"{shape[axis]}")
        ends = np.cumsum(sizes).tolist()
        return [self.program.layout([x], lambda i, a=end - int(n), b=end: np.take(
            i, range(a, b), axis)) for n, end in zip(sizes, ends, strict=True)]

    def _slice(self, node: Operator) -> int:
        x = self._tensor(node.inputs[0])
        shape = self.program.shape(x)
        starts, ends = self._known(node, 1, "starts"), self._known(node, 2, "ends")
        if starts is None or ends is None:
            raise CompileError(f"{node.label}: has no starts and ends")
        axes = self._axes(node, len(shape), 3) or tuple(range(len(starts)))
        steps = self._known(node, 4)
        steps = np.ones_like(starts) if steps is None else steps
        if len({len(starts), len(ends), len(axes), len(steps)}) > 1:
            raise CompileError(f"{node.label}: starts, ends, axes and steps differ in length")
        chosen = [slice(None)] * len(shape)
        for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
            past = int(end) < -shape[axis] and step < 0
            chosen[axis] = slice(int(start), None if past else int(end), int(step))
        return self.program.layout([x], lambda i: i[tuple(chosen)])

    def _gather(self, node: Operator) -> int:
        x, indices = self._tensor(node.inputs[0]), self._known(node, 1)
        assert indices is not None
        axis = _axis(node.attributes.get("axis", 0), len(self.program.shape(x)))
        return self.program.layout([x], lambda i: np.take(i, indices.astype(np.int64), axis))

    def _squeeze(self, node: Operator) -> int:
        x = self._tensor(node.inputs[0])
        axes = self._axes(node, len(self.program.shape(x)))
        return self.program.layout([x], lambda i: i.squeeze(axes))

    def _unsqueeze(self, node: Operator) -> int:
        x, axes = self._tensor(node.inputs[0]), self._known(node, 1, "axes")
        if axes is None:
            raise CompileError(f"{node.label}: has no axes")
        return self.program.layout([x], lambda i: np.expand_dims(
            i, tuple(int(a) for a in axes.ravel())))


def _axis(axis: int, rank: int) -> int:
    if not -rank <= axis < rank:
        raise CompileError(f"axis {axis} of a tensor of {rank} dimensions")
    return axis % rank


OPERATORS: dict[str, Callable[[_Lowering, Operator], int | list[int]]] = {
    **dict.fromkeys(UNARY, _Lowering._unary), **dict.fromkeys(BINARY, _Lowering._binary),
    **dict.fromkeys(CHOICES, _Lowering._any), **dict.fromkeys(REDUCTIONS, _Lowering._reduce),
    **dict.fromkeys(("MaxPool", "AveragePool", "GlobalAveragePool"), _Lowering._pool),
    "Gelu": _Lowering._gelu, "Pow": _Lowering._pow, "Clip": _Lowering._clip,
    "Identity": _Lowering._same, "Expand": _Lowering._expand, "Cast": _Lowering._cast, "Softmax": _Lowering._softmax,
    "LayerNormalization": _Lowering._layer_norm, "RMSNormalization": _Lowering._rms_norm,
    "BatchNormalization": _Lowering._batch_norm, "MatMul": _Lowering._matmul,
    "Gemm": _Lowering._gemm, "Conv": _Lowering._conv, "Flatten": _Lowering._flatten,
    "Reshape": _Lowering._reshape, "Transpose": _Lowering._transpose, "Concat": _Lowering._concat,
    "Split": _Lowering._split, "Slice": _Lowering._slice, "Gather": _Lowering._gather,
    "Squeeze": _Lowering._squeeze, "Unsqueeze": _Lowering._unsqueeze}
