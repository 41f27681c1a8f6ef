"""How far an array is from a reference, layer by layer.

Of a node's results: signal to noise ratio and largest error beside the reference, where that is
finite; saturated elements; the share of the outputs' error that the layer causes; cycles.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spu.arch.errors import InputError, UserError
from spu.arch.package.values import visit_values
from spu.engine.expected_error import expected_errors
from spu.engine.recording import Layer, Progress, Recording, alone, switched
from spu.model import exact

Values = NDArray[np.float64]
Pairs = Sequence[tuple[Values, Values]]
#: Steps of a model whose shares are found without being asked for: each layer is followed to the
#: end. An encoder block of 217 takes 15 s.
SHARED_STEPS = 256


@dataclass(frozen=True)
class Row:
    """A layer, or an output.

    ``sqnr_db``: against the reference, inf where there is no error; ``local_db``: of the layer
    alone, beside float64 of the operands that the array had for it.  ``expected_db``: what the
    first would be by the variances of roundings, see ``expected_error``.  ``share``: by how much
    of it the outputs' squared error falls if this layer alone is computed in float64.
    ``differing``: elements that are not the exact prediction's.  None: not known.
    """

    node: str
    operator: str
    sqnr_db: float
    max_error: float
    local_db: float | None = None
    expected_db: float | None = None
    saturated: int | None = None
    share: float | None = None
    cycles: int | None = None
    differing: int = 0

    def as_json(self) -> dict[str, Any]:
        """The columns that stay; numbers that are not finite are null."""
        names = ("node", "operator", "sqnr_db", "max_error", "saturated", "share", "cycles")
        found = asdict(self)
        return {name: _finite(found[name]) for name in names}


def _finite(x: Any) -> Any:
    return None if isinstance(x, float) and not np.isfinite(x) else x


@dataclass(frozen=True)
class Accuracy:
    """Of labels: how many the array has, and the reference, and on how many both agree."""

    array: float
    reference: float
    agreement: float


def decibels(pairs: Pairs) -> float:
    """Signal to noise ratio of pairs (reference, array), where the reference is finite."""
    signal = sum(float((real[np.isfinite(real)] ** 2).sum()) for real, _ in pairs)
    return _ratio(signal, squared_error(pairs))


def _ratio(signal: float, noise: float) -> float:
    with np.errstate(divide="ignore"):
        return float(10 * np.log10(signal / noise)) if noise else float("inf")


def squared_error(pairs: Pairs) -> float:
    """Sum over pairs (reference, array) where the reference is finite; inf if the array is not."""
    return sum(float((_errors(*pair) ** 2).sum()) for pair in pairs)


def max_error(pairs: Pairs) -> float:
    """The largest, as ``squared_error``."""
    return max((float(_errors(*pair).max(initial=0.0)) for pair in pairs), default=0.0)


def _errors(real: Values, got: Values) -> Values:
    where = np.isfinite(real)
    off = np.abs(got[where] - real[where])
    return np.where(np.isnan(off), np.inf, off)


def float_outputs(recording: Recording) -> dict[str, Values]:
    """What the model means, in float64, of the shapes that the array's outputs have."""
    program = recording.package.meant
    real = visit_values(program, recording.given, lambda *_: None)
    return {
        name: real[i].reshape(recording.outputs[name].shape) for name, i in program.outputs.items()
    }


def against_float(
    recording: Recording, shares: bool, progress: Progress = lambda done, total: None
) -> list[Row]:
    """A row for each layer, beside float64 of the model."""
    package = recording.package
    real, biases = visit_values(package.meant, recording.given, lambda *_: None), package.bias
    expected = _expected(recording)
    rows, layers = [], recording.layers
    outputs = {name: real[i] for name, i in package.program.outputs.items()}
    error = squared_error(_beside(outputs, recording.outputs))
    for done, layer in enumerate(layers):
        progress(done, len(layers))
        got = {t: exact.decoded(recording.codes[t], biases(t)) for t in layer.results}
        local = alone(recording, layer)
        pairs = [(real[t], values) for t, values in got.items()]
        row = _row(recording, layer, pairs)
        share = None
        if shares and 0 < error < np.inf:
            left = squared_error(_beside(outputs, switched(recording, layer)))
            share = (error - left) / error
        rows.append(
            replace(
                row,
                local_db=decibels([(local[t], got[t]) for t in layer.results]),
                expected_db=_expected_decibels(expected, {t: real[t] for t in layer.results}),
                share=share,
            )
        )
    return rows


def _expected(recording: Recording) -> dict[int, float]:
    """Expected squared errors by tensor; none where a sample of a number is no index."""
    try:
        return expected_errors(recording.package, recording.given)
    except InputError:
        return {}


def _expected_decibels(expected: Mapping[int, float], real: Mapping[int, Values]) -> float | None:
    """Signal to noise ratio of tensors with the expected errors."""
    if not real or not expected.keys() >= real.keys():
        return None
    signal = sum(float((x[np.isfinite(x)].astype(np.float64) ** 2).sum()) for x in real.values())
    return _ratio(signal, sum(expected[t] for t in real))


def _beside(outputs: Mapping[str, Values], got: Mapping[str, Values]) -> Pairs:
    return [(real, got[name].reshape(real.shape)) for name, real in outputs.items()]


def _row(recording: Recording, layer: Layer, pairs: Pairs) -> Row:
    return Row(
        layer.node,
        layer.operator,
        decibels(pairs),
        max_error(pairs),
        saturated=recording.saturated[layer.label],
        cycles=None
        if recording.cycles is None
        else sum(recording.cycles.get(i, 0) for i in layer.steps),
    )


def against_exact(recording: Recording, progress: Progress = lambda done, total: None) -> list[Row]:
    """A row for each layer, each step beside what PAL arithmetic makes of the operands that the
    array had for it: a step that differs is itself at fault."""
    package, rows, layers = recording.package, [], recording.layers
    for done, layer in enumerate(layers):
        progress(done, len(layers))
        pairs, differing = [], 0
        for i in layer.steps:
            out = package.program.steps[i].out
            wanted = exact.made(package, i, exact.operands(package, i, recording.codes))
            got = recording.codes[out]
            differing += int((wanted != got).sum())
            bias = package.ranges.tensors[out]
            pairs.append((exact.decoded(wanted, bias), exact.decoded(got, bias)))
        rows.append(replace(_row(recording, layer, pairs), differing=differing))
    return rows


def against_outputs(recording: Recording, reference: Mapping[str, NDArray]) -> list[Row]:
    """A row for each output, beside those of another implementation.

    Raises ``UserError`` if that has none of the name or another number of elements.
    """
    rows = []
    for name, got in recording.outputs.items():
        if name not in reference or np.size(reference[name]) != got.size:
            shape = (
                f"has shape {np.shape(reference[name])}" if name in reference else "is not there"
            )
            raise UserError(f"output {name!r} {shape} in the reference, is {got.shape} here")
        pairs = [(np.asarray(reference[name], np.float64).reshape(got.shape), got)]
        rows.append(Row(name, "output", decibels(pairs), max_error(pairs)))
    return rows


def accuracy(
    outputs: Mapping[str, Values], reference: Mapping[str, NDArray], labels: NDArray
) -> Accuracy:
    """Of the first output, whose largest element along the last axis is the class.

    Raises ``UserError`` unless ``labels`` are integers, one for each row of it.
    """
    name, got = next(iter(outputs.items()))
    rows = got.reshape(-1, got.shape[-1]) if got.ndim else got.reshape(1, 1)
    if labels.dtype.kind not in "iu":
        raise UserError(f"labels must be integers, not {labels.dtype}")
    if labels.size != len(rows):
        raise UserError(
            f"has {labels.size} labels, output {name!r} of shape {got.shape} has {len(rows)} rows"
        )
    ours = rows.argmax(axis=1)
    theirs = np.asarray(reference[name], np.float64).reshape(rows.shape).argmax(axis=1)
    wanted = labels.ravel()
    return Accuracy(
        float((ours == wanted).mean()),
        float((theirs == wanted).mean()),
        float((ours == theirs).mean()),
    )
