"""Which versions of which ONNX operators are computed, and which of their attributes."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import onnx
from onnx import helper

from compiler.errors import CompileError

#: ``onnx.defs.OpSchema``, whose stub lacks much of it.
Schema = Any
#: Element types that are numbers with a fraction, of 16 bits and more.
FLOATS = (
    onnx.TensorProto.FLOAT,
    onnx.TensorProto.FLOAT16,
    onnx.TensorProto.DOUBLE,
    onnx.TensorProto.BFLOAT16,
)
#: Operators, versions (opsets in which the standard changed the operator), attributes.  An
#: attribute with ``=`` is taken with this value only, one with ``~`` changes no value that is
#: computed: workspace of old frameworks, order of indices, running means of training, how floats
#: of 8 bits are rounded.
_TABLE = """
Abs Exp Log Neg Reciprocal Relu Sigmoid Sqrt Tanh  1 6 13 14           consumed_inputs~
Erf                      9 13
Gelu                     20                      approximate
LeakyRelu                1 6 16                  alpha consumed_inputs~
PRelu                    1 6 7 9 16              consumed_inputs~
Elu                      1 6 22                  alpha consumed_inputs~
Selu                     1 6 22                  alpha gamma consumed_inputs~
Celu                     12 28                   alpha
HardSigmoid              1 6 22                  alpha beta consumed_inputs~
HardSwish                14 22
Mish                     18 22
Softplus Softsign        1 22
ThresholdedRelu          10 22                   alpha
Shrink                   9                       bias lambd
Sign                     9 13
Floor Ceil               1 6 13                  consumed_inputs~
Round                    11 22
Sin Cos                  7 22
Add Sub Mul Div          1 6 7 13 14             axis broadcast consumed_inputs~
Pow                      1 7 12 13 15            axis broadcast
Equal                    1 7 11 13 19            axis broadcast
Less Greater             1 7 9 13                axis broadcast
LessOrEqual GreaterOrEqual  12 16
And Or Xor               1 7                     axis broadcast
Not                      1
Where                    9 16
IsNaN                    9 13 20
IsInf                    10 20                   detect_positive detect_negative
Max Min Sum Mean         1 6 8 12 13             consumed_inputs~
Clip                     1 6 11 12 13            min max consumed_inputs~
Identity                 1 13 14 16 19 21 23 24 25
Cast                     1 6 9 13 19 21 23 24 25 28  to saturate~ round_mode~
Dropout                  1 6 7 10 12 13 22       is_test=1 ratio~ seed~ consumed_inputs~
Flatten                  1 9 11 13 21 23 24 25   axis
Reshape                  1 5 13 14 19 21 23 24 25  shape allowzero consumed_inputs~
Transpose                1 13 21 23 24 25        perm
Expand                   8 13
Concat                   1 4 11 13               axis
Split                    1 2 11 13 18            axis split num_outputs
Slice                    1 10 11 13              starts ends axes
Gather                   1 11 13                 axis
GatherElements           11 13                   axis
GatherND                 11 12 13                batch_dims
Scatter ScatterElements  9 11 13 16 18           axis reduction
ScatterND                11 13 16 18             reduction
Squeeze Unsqueeze        1 11 13 21 23 24 25     axes
ReduceSum ReduceMean ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceLogSum \
ReduceLogSumExp ReduceSumSquare  1 11 12 13 18 20 28  axes keepdims noop_with_empty_axes
Softmax LogSoftmax Hardmax  1 11 13              axis
LayerNormalization       17                      axis epsilon stash_type~
RMSNormalization         23                      axis epsilon stash_type~
InstanceNormalization    1 6 22                  epsilon consumed_inputs~
LpNormalization          1 22                    axis p
LRN                      1 13                    alpha beta bias size
BatchNormalization       1 6 7 9 14 15           epsilon is_test=1 spatial=1 training_mode=0 \
momentum~ consumed_inputs~
MaxPool                  1 8 10 11 12 22         kernel_shape strides dilations pads auto_pad \
ceil_mode storage_order~
AveragePool              1 7 10 11 19 22         kernel_shape strides dilations pads auto_pad \
ceil_mode count_include_pad
GlobalAveragePool GlobalMaxPool  1 22
LpPool                   1 2 11 18 22            kernel_shape strides dilations pads auto_pad \
ceil_mode p
GlobalLpPool             1 2 22                  p
Conv                     1 11 22                 kernel_shape strides dilations pads auto_pad group
Pad                      1 2 11 13 18 19 21 23 24 25  paddings pads value mode
Tile                     1 6 13
DepthToSpace SpaceToDepth  1 11 13 28            blocksize mode
Resize                   10 11 13 18 19          mode coordinate_transformation_mode \
nearest_mode cubic_coeff_a exclude_outside extrapolation_value axes antialias \
keep_aspect_ratio_policy
Upsample                 1 7 9 10                mode scales height_scale width_scale
Trilu                    14                      upper
ReverseSequence          10 28                   batch_axis time_axis
ConvTranspose            1 11 22                 kernel_shape strides dilations pads auto_pad \
group output_padding output_shape
LSTM GRU RNN             1 3 7 14 22             activations activation_alpha activation_beta clip \
direction hidden_size input_forget layout linear_before_reset output_sequence~
CumSum                   11 14                   exclusive reverse
Einsum                   12 28                   equation
Attention                23 24 25                is_causal kv_num_heads q_num_heads \
qk_matmul_output_mode scale softcap left_window_size right_window_size softmax_precision~
MatMul                   1 9 13
Mod                      10 13 28                fmod
ArgMax ArgMin            1 11 12 13              axis keepdims select_last_index
TopK                     1 10 11 24              axis k largest sorted~
OneHot                   9 11 28                 axis
QuantizeLinear           10 13 19 21 23 24 25 28  axis output_dtype block_size saturate~ precision~
DequantizeLinear         10 13 19 21 23 24 25 28  axis output_dtype~ block_size
DynamicQuantizeLinear    11
QLinearMatMul            10 21
MatMulInteger            10
QLinearConv ConvInteger  10                      kernel_shape strides dilations pads auto_pad group
Gemm                     1 6 7 9 11 13           alpha beta transA transB broadcast
"""


@dataclass(frozen=True, eq=False)
class Honoured:
    """Of an operator: ``versions``, ``attributes``, values of those that have only one
    (``fixed``), and ``idle`` attributes, which change no value."""

    versions: tuple[int, ...]
    attributes: frozenset[str]
    fixed: Mapping[str, int]
    idle: frozenset[str]


def _parsed() -> dict[str, Honoured]:
    table: dict[str, Honoured] = {}
    for line in _TABLE.strip().splitlines():
        words = line.split()
        names = [w for w in words if w[0].isupper()]
        rest = [w for w in words[len(names) :] if not w.isdigit()]
        made = Honoured(
            tuple(int(w) for w in words if w.isdigit()),
            frozenset(w for w in rest if "=" not in w and "~" not in w),
            {w.split("=")[0]: int(w.split("=")[1]) for w in rest if "=" in w},
            frozenset(w[:-1] for w in rest if w.endswith("~")),
        )
        if twice := table.keys() & set(names):
            raise ValueError(f"{sorted(twice)} are listed twice")
        table.update(dict.fromkeys(names, made))
    return table


HONOURED: dict[str, Honoured] = _parsed()


@cache
def schema_of(op: str, opset: int) -> Schema:
    """The standard's schema of an operator; ``CompileError`` if it has none in this opset."""
    newest = onnx.defs.onnx_opset_version()
    if opset > newest:
        raise CompileError(f"opset {opset} is not known, {newest} is the newest")
    try:
        return onnx.defs.get_schema(op, opset)
    except onnx.defs.SchemaError:
        raise CompileError(f"opset {opset} has no such operator") from None


@cache
def versions_of(op: str) -> tuple[int, ...]:
    """All versions of an operator of the standard, the oldest first."""
    found, opset = [], onnx.defs.onnx_opset_version()
    while opset > 0:
        try:
            found.append(onnx.defs.get_schema(op, opset).since_version)
        except onnx.defs.SchemaError:
            break
        opset = found[-1] - 1
    return tuple(reversed(found))


def defaults(schema: Schema) -> dict[str, Any]:
    """Values of attributes that are not given."""
    return {
        name: helper.get_attribute_value(attribute.default_value)
        for name, attribute in schema.attributes.items()
        if attribute.default_value.name
    }


def check(schema: Schema, attributes: Mapping[str, Any]) -> None:
    """Raise ``CompileError`` unless a node with these attributes and defaults is honoured."""
    rule, version = HONOURED[schema.name], schema.since_version
    if version not in rule.versions:
        raise CompileError(
            f"version {version} of the operator is not supported; supported are "
            f"{', '.join(map(str, rule.versions))}"
        )
    for name, value in attributes.items():
        if name in rule.fixed and value != rule.fixed[name]:
            raise CompileError(
                f"attribute {name}={value} of version {version} is not supported, "
                f"{rule.fixed[name]} is"
            )
        if name not in rule.attributes | rule.fixed.keys() | rule.idle:
            raise CompileError(f"attribute {name} of version {version} is not supported")
