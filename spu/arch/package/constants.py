"""Constants of a compiled model on disk: weights as blocks, tables as PAL16, others as numbers.

What a run needs of weights and tables are their codes.  The model's own numbers of them are four to
eight times as large; comparing with the model takes them, see ``KEPT_BYTES``.
"""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spu.arch.package.arrays import Arrays
from spu.arch.package.compiled import Package
from spu.arch.package.host_operations import REAL
from spu.arch.package.pipeline import Pipeline
from spu.arch.package.program import HostStep, Product, Program, StoredTensor, Tensor
from spu.arch.package.weights import Table, Weights, encoded_table, packed, unpacked
from spu.arch.params import BLOCK, Architecture

#: Weights and tables of up to so many bytes in float32 are kept as the model has them, too, unless
#: it is said otherwise: small models can be compared at once, the disk does not matter.
KEPT_BYTES = 1 << 24
#: Parts of ``Weights`` that are arrays.
PARTS = ("codes", "biases", "low", "meant")
#: As ``PARTS``, of ``Table``.
TABLE_PARTS = ("codes", "small", "meant")


def keeps(wanted: bool | None, elements: int) -> bool:
    """Whether so many weights and elements of tables are kept in floating point as well."""
    return 4 * elements <= KEPT_BYTES if wanted is None else wanted


def put_weights(arrays: dict[str, NDArray], name: str, weights: Weights) -> dict[str, Any]:
    """Put weights among ``arrays``; what the report says of them."""
    values: tuple[NDArray, ...] = (
        packed(weights.codes, weights.fmt),
        weights.biases,
        weights.low,
        weights.meant,
    )
    for part, each in zip(PARTS, values, strict=True):
        arrays[f"{name}_{part}"] = each
    return {
        "name": name,
        "format": weights.fmt.name,
        "depth": weights.depth,
        "tensor_biases": list(weights.tensor_biases),
    }


def get_weights(arrays: Arrays, member: Mapping[str, Any], arch: Architecture) -> Weights:
    """What ``put_weights`` put there."""
    fmt = arch.weight_format(member["format"])
    codes, biases, low, meant = (arrays[f"{member['name']}_{part}"] for part in PARTS)
    biased = tuple(member["tensor_biases"])
    return Weights(fmt, member["depth"], unpacked(codes, fmt), biases, biased, low, meant)


def check_weights(
    arrays: Arrays, member: Mapping[str, Any], arch: Architecture, shape: tuple[int, ...]
) -> None:
    """Raise ``ValueError`` for weights of another shape than (batch, depth, outputs)."""
    batch, depth, outputs = shape
    blocks = -(-depth // BLOCK)
    bits = arch.weight_format(member["format"]).n
    found = [arrays.entries[f"{member['name']}_{part}"].shape for part in PARTS]
    wanted = [
        (batch, outputs, blocks * BLOCK * bits // 8),
        (batch, outputs, blocks),
        found[2],
        (*found[2], BLOCK),
    ]
    if found != wanted or (member["depth"], len(member["tensor_biases"])) != (depth, batch):
        raise ValueError(f"{member['name']} are no weights of shape {shape}")


def written(package: Package, keep_float: bool | None) -> tuple[dict[str, Any], dict[str, NDArray]]:
    """What the report says of constants, and arrays by name; unused constants are left out."""
    program, arrays = package.program, dict[str, NDArray]()
    weights, tables, plain = _uses(package)
    coded = {t for t, _ in (*weights, *tables)} - plain
    if keeps(keep_float, sum(program.tensors[t].size for t in coded)):
        plain |= coded
    arrays |= {f"constant_{t}": program.tensors[t].values for t in sorted(plain)}
    blocks = []
    for number, (tensor, i) in enumerate(weights.values()):
        found = package.weight_blocks(i)
        assert found is not None
        blocks.append(put_weights(arrays, f"weights_{number}", found) | {"tensor": tensor})
    for number, table in enumerate(tables.values()):
        arrays |= _table_arrays(number, table)
    known = sorted(plain | coded)
    # Infinite masks are held under the bias of what they mask.
    own = [t for t in known if program.is_real(t) and np.isfinite(program.tensors[t].values).all()]
    return {
        "biases": {str(t): package.bias(t) for t in own},
        "known": known,
        "weights": blocks,
        "tables": [[*key] for key in tables],
    }, arrays


def _uses(
    package: Package,
) -> tuple[dict[tuple[int, Any], tuple[int, int]], dict[tuple[int, int], Table], set[int]]:
    """Weights by tensor and format, with the number of a step that takes them; tables by tensor
    and bias; and tensors of which values are needed."""
    program, meant = package.program, package.ranges.meant
    weights: dict[tuple[int, Any], tuple[int, int]] = {}
    tables: dict[tuple[int, int], Table] = {}
    plain = {*_known(program, program.outputs.values())}
    for i, step in enumerate(program.steps):
        sources = {*_known(program, step.sources)}
        if isinstance(step, Product) and step.b in sources:
            weights.setdefault((step.b, package.weight_format(i)), (step.b, i))
            sources -= {step.b} - {step.a}
        elif isinstance(step, HostStep) and i not in meant:
            moved = {*program.moved(step)}
            if moved and moved <= sources:
                bias = package.bias(step.out)
                found = {
                    (s, bias): tables.get((s, bias))
                    or encoded_table(program.tensors[s].values, bias)
                    for s in moved
                }
                held = {key: table for key, table in found.items() if table is not None}
                if len(held) == len(found):
                    tables |= held
                    sources -= moved
        plain |= sources
        plain |= {*_known(program, meant[i].sources if i in meant else ())}
    return weights, tables, plain


def _table_arrays(number: int, table: Table) -> dict[str, NDArray]:
    values: tuple[NDArray, ...] = (table.codes, table.small, table.meant)
    return {f"table_{number}_{part}": x for part, x in zip(TABLE_PARTS, values, strict=True)}


def _table(arrays: Arrays, number: int, bias: int) -> Table:
    codes, small, meant = (arrays[f"table_{number}_{part}"] for part in TABLE_PARTS)
    return Table(bias, codes, small, meant)


def _known(program: Program, tensors: Iterable[int]) -> Iterable[int]:
    return (t for t in tensors if program.tensors[t].known)


def read(arrays: Arrays, report: Mapping[str, Any], arch: Architecture) -> dict[str, Any]:
    """Members of a ``Package`` that are of constants, and its ``tensors``, none of them read yet.

    Raises ``ValueError`` for constants of other shapes and types than their tensors.
    """
    about, tensors = report["constants"], list[Tensor]()
    known = {*about["known"]}
    for i, size in enumerate(report["tensors"]):
        shape, dtype = tuple(size), report["integers"].get(str(i), REAL)
        tensors.append(
            stored_tensor(arrays, i, shape, dtype) if i in known else Tensor(shape, None, dtype)
        )
    blocks = {}
    for member in about["weights"]:
        check_weights(arrays, member, arch, tensors[member["tensor"]].shape)
        key = member["tensor"], arch.weight_format(member["format"])
        blocks[key] = partial(get_weights, arrays, member, arch)
    tables = {}
    for number, (tensor, bias) in enumerate(about["tables"]):
        found = [arrays.entries[f"table_{number}_{part}"].shape for part in TABLE_PARTS]
        if found != [tensors[tensor].shape, found[1], found[1]] or len(found[1]) != 1:
            raise ValueError(f"table {number} is none of tensor {tensor}")
        tables[tensor, bias] = partial(_table, arrays, number, bias)
    biases = {int(t): bias for t, bias in about["biases"].items()}
    return {"tensors": tensors, "blocks": blocks, "tables": tables, "constant_biases": biases}


def stored_tensor(
    arrays: Arrays, i: int, shape: tuple[int, ...], dtype: str = REAL
) -> StoredTensor:
    """Constant ``i``, of which there may be codes alone; ``ValueError`` if it is another."""
    name = f"constant_{i}"
    if name not in arrays:
        return StoredTensor(shape, dtype, None)
    tensor, entry = (
        StoredTensor(shape, dtype, partial(arrays.__getitem__, name)),
        arrays.entries[name],
    )
    check_kind(tensor, i, entry.shape, dtype and np.dtype(entry.dtype).name)
    return tensor


def check_float(package: Package | Pipeline) -> None:
    """Raise ``PackageError`` if there are codes alone of a constant."""
    tensors = (
        [layer.weight for layer in package.layers]
        if isinstance(package, Pipeline)
        else package.program.tensors
    )
    for tensor in tensors:
        if isinstance(tensor, StoredTensor) and tensor.absent:
            _ = tensor.constant


def check_kind(tensor: Tensor, i: int, shape: tuple[int, ...], dtype: str) -> None:
    """Raise ``ValueError`` for tensor ``i`` if what is made of it has another shape or type."""
    said, found = (tensor.shape, tensor.dtype), (shape, dtype)
    if said != found:
        raise ValueError(f"tensor {i} is {_kind(*said)}, it is made as {_kind(*found)}")


def _kind(shape: tuple[int, ...], dtype: str) -> str:
    return f"{dtype or 'real numbers'} of shape {shape}"
