"""Inputs of compiled models: looked at before anything runs."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from spu.arch.errors import InputError
from spu.arch.package.compiled import Package
from spu.arch.package.data_sets import cut
from spu.arch.package.expression import least_magnitude
from spu.arch.package.host_operations import REAL
from spu.arch.package.pipeline import Pipeline
from spu.arch.package.program import Program

#: float64, or integers of the type that the model says.
Arrays = dict[str, NDArray]


def names(package: Package | Pipeline) -> list[str]:
    """Names of the inputs."""
    return [package.input] if isinstance(package, Pipeline) else list(package.program.inputs)


def of_program(program: Program, given: Mapping[str, NDArray]) -> Arrays:
    """Inputs of a tensor program by name.

    Integers may have any integer type that holds them, truth values must be such.

    Raises ``InputError`` that names the input, for other names, shapes and types, for NaN and
    infinities, for integers beyond their type.
    """

    def fault(name: str, values: NDArray) -> str:
        shape = program.shape(program.inputs[name])
        if values.shape == shape:
            return ""
        told = f"must have shape {shape}, not {values.shape}"
        if values.ndim != len(shape):  # of which no size is to blame
            return told
        return f"{told}; where the model leaves sizes open, spu compile --batch and --dim set them"

    types = {name: program.tensors[i].dtype for name, i in program.inputs.items()}
    return _numbers(types, given, fault)


def sets_of_program(program: Program, given: Mapping[str, NDArray]) -> list[Arrays]:
    """Sets of inputs of a tensor program: one, or many, see ``data_sets.cut``.

    Rows that the last set lacks repeat the last one.  Raises ``InputError`` as ``cut`` and
    ``of_program``.
    """
    return [of_program(program, each) for each in cut(program, given)]


def checked(package: Package | Pipeline, given: Mapping[str, NDArray]) -> Arrays:
    """Inputs of a compiled model by name; a ``Pipeline`` takes n vectors of the model's shape.

    They may be flat, (n, elements), where the model's are not.  Raises ``InputError`` as
    ``of_program``, and for magnitudes beyond what it was compiled for.
    """
    if isinstance(package, Package):
        found = of_program(package.program, given)
    else:
        io = package.report["io"]
        shape, vectors, flat = tuple(io["input_shape"]), io["vectors"], (io["inputs"],)
        found = _numbers(
            {package.input: REAL},
            given,
            lambda _, x: (
                f"must have shape {_shapes(vectors, shape, flat)}, not {x.shape}"
                if x.shape[1:] not in (shape, flat)
                else "has no input vectors"
                if not len(x)
                else ""
                if vectors[0] <= len(x) <= vectors[1]
                else f"must have {_count(*vectors)}, not {len(x)}; spu compile --batch sets how "
                "many where a model leaves it open"
            ),
        )
    for name, values in found.items():
        _check_size(package, name, values)
    return found


def _numbers(
    wanted: Mapping[str, str], given: Mapping[str, NDArray], fault: Callable[[str, NDArray], str]
) -> Arrays:
    if set(wanted) != set(given):
        known = (
            f"input is {next(iter(wanted))!r}"
            if len(wanted) == 1
            else f"inputs are {sorted(wanted)}"
        )
        raise InputError(f"has {sorted(given)}, the {known}")
    found: Arrays = {}
    for name, kind in wanted.items():
        values = np.asarray(given[name])
        if kind != REAL:
            values = _integers(name, kind, values)
        elif values.dtype.kind not in "fiu":
            raise InputError(f"{name} must be real numbers, not {values.dtype}")
        if wrong := fault(name, values):
            raise InputError(f"{name} {wrong}")
        if kind != REAL:
            found[name] = values
            continue
        found[name] = values = values.astype(np.float64)
        if not np.isfinite(values).all():
            raise InputError(
                f"{name} holds NaN or infinite values, "
                f"{int((~np.isfinite(values)).sum())} of {values.size}"
            )
    return found


def _integers(name: str, kind: str, values: NDArray) -> NDArray:
    """Integers or truth values of a type."""
    if (values.dtype.kind == "b") != (kind == "bool") or values.dtype.kind not in "biu":
        raise InputError(f"{name} must be {kind}, not {values.dtype}")
    if (beyond := values != values.astype(kind)).any():
        raise InputError(f"{name} must be {kind}, which does not hold {values[beyond].flat[0]}")
    return values.astype(kind)


def _shapes(vectors: Sequence[int], *shapes: tuple[int, ...]) -> str:
    """Of vectors of each of the shapes, n of them if their number is not fixed."""
    count = str(vectors[0]) if vectors[0] == vectors[1] else "n"
    texts = (f"({', '.join((count, *map(str, shape)))})" for shape in shapes)
    return " or ".join(dict.fromkeys(texts))


def _count(least: int, most: int) -> str:
    if least < most:
        return f"at most {most} vectors in a run, as many as the compiler looked at"
    return f"{most} vector{'s' * (most != 1)}"


def _check_size(package: Package | Pipeline, name: str, values: NDArray) -> None:
    if isinstance(package, Package):
        tensor = package.program.inputs[name]
        if not package.program.is_real(tensor):
            return
        top = 2.0 ** (package.bias(tensor) / 8)
        most = np.abs(package.held(tensor, values)).max(initial=0)
        fixed = package.ranges.fixed
    else:
        top, most, fixed = package.report["io"]["input_max"], np.abs(values).max(), True
    if most > top:
        option = "--input-max or --calibrate" if fixed else "--calibrate"
        raise InputError(
            f"{name} has magnitude {most:g}, the program takes up to {top:g}; spu "
            f"compile {option} sets it, where --percentile leaves nothing out"
        )


def remarks(package: Package | Pipeline, given: Arrays) -> list[str]:
    """A line for each input most of whose elements are too small, and become zero."""
    lines = []
    biases = (
        {package.input: package.report["io"]["input_tensor_bias"]}
        if isinstance(package, Pipeline)
        else {
            n: package.bias(t)
            for n, t in package.program.inputs.items()
            if package.program.is_real(t)
        }
    )
    for name, bias in biases.items():
        least = least_magnitude(bias)
        some = np.abs(given[name][given[name] != 0])
        if 2 * (small := int((some < least / 2).sum())) > some.size:
            lines.append(
                f"{name}: {small} of {some.size} elements are below {least:.3g} and "
                "become zero; spu compile --calibrate sets it"
            )
    return lines
