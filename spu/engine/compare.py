"""How far an array is from a reference, layer by layer.

Of a node's outputs: signal to noise ratio and largest error beside the reference, where that is
finite; saturated elements; the share of the outputs' error that the layer causes; cycles.  Masks
that were moved, see ``ranges``, count as the infinities that they stand for.  What is quantised has
the numbers that its integers stand for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spu.arch.errors import InputError, UserError
from spu.arch.package.ranges import FIXED, far
from spu.arch.package.values import visit_values
from spu.engine.expected_error import expected_errors
from spu.engine.recording import Layer, Progress, Recording, alone, switched
from spu.model import exact
from spu.model.accuracy import decibels, errors, ratio

#: float64, integers or truth values.
Values = NDArray[Any]
Pairs = Sequence[tuple[Values, Values]]
#: Steps of a model whose shares are found without being asked for: each layer is followed to the
#: end. An encoder block of 217 takes 15 s.
SHARED_STEPS = 256


@dataclass(frozen=True)
class Row:
    """A layer, or an output.

    ``sqnr_db``: against the reference, of several outputs that of the worst, inf where there is no
    error; ``local_db``: of the layer alone, beside float64 of the operands that the array had for
    it.  ``expected_db``: what the first would be by the variances of roundings, of several outputs
    the worst, see ``expected_error``.  ``share``: by how much of it the outputs' squared error
    falls if this layer alone is computed in float64; of models whose outputs are real numbers and
    others, that of the former.  ``differing``: elements that are not the exact prediction's.
    None: not known, as of a node whose outputs lie within the kernel of another one.
    """

    node: str
    operator: str
    sqnr_db: float | None
    max_error: float | None
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
        return {name: _finite(found[name]) for name in names} | {"alone_db": _finite(self.local_db)}


def _finite(x: Any) -> Any:
    return None if isinstance(x, float) and not np.isfinite(x) else x


def squared_error(pairs: Pairs) -> float:
    """Sum over pairs (reference, array), see ``errors``."""
    return sum(float((errors(*pair) ** 2).sum()) for pair in pairs)


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
    real = visit_values(package.meant, recording.given, lambda *_: None)
    expected = _expected(recording)
    rows, layers = [], recording.layers
    outputs = _judged(recording, real)
    error = squared_error(_beside(outputs, recording.outputs))
    for done, layer in enumerate(layers):
        progress(done, len(layers))
        got = {t: exact.valued(package, t, recording.codes[t]) for t in layer.results}
        local = alone(recording, layer)
        compared = {t: _unmasked(recording, t, real[t], values) for t, values in got.items()}
        row = _row(recording, layer, [(compared[t], values) for t, values in got.items()])
        share = None
        if shares and 0 < error < np.inf:
            left = squared_error(_beside(outputs, switched(recording, layer)))
            share = (error - left) / error
        alike = [(local[t], got[t]) for t in layer.results]
        apart = any(np.isinf(beside[~np.isinf(real[t])]).any() for t, beside in compared.items())
        rows.append(
            replace(
                row,
                local_db=_worst(alike),
                # Of masks that were moved nothing is expected.
                expected_db=None
                if apart
                else _expected_decibels(expected, {t: real[t] for t in layer.results}),
                share=share,
            )
        )
    return rows


def _judged(recording: Recording, real: Mapping[int, Values]) -> dict[str, Values]:
    """The outputs whose error has shares: those of real numbers, or all if there are none."""
    program = recording.package.program
    numbers = {n: i for n, i in program.outputs.items() if program.is_real(i)}
    return {name: real[i] for name, i in (numbers or program.outputs).items()}


def _unmasked(recording: Recording, tensor: int, real: Values, got: Values) -> Values:
    """The reference of a tensor, infinite where it is a mask that was moved, and that the array has
    as one, too."""
    package = recording.package
    levels = package.ranges.masks.get(tensor, (FIXED, FIXED))
    if levels == (FIXED, FIXED) or not package.program.is_real(tensor):
        return real
    bias = package.bias(tensor)
    for sign, level in zip((-1.0, 1.0), levels, strict=True):
        if level != FIXED:
            moved = (sign * real > 2.0 ** (bias / 8)) & (sign * got >= far(bias) / 2)
            real = np.where(moved, sign * np.inf, real)
    return real


def _worst(pairs: Pairs) -> float | None:
    return min((decibels(*pair) for pair in pairs), default=None)


def _expected(recording: Recording) -> dict[int, float]:
    """Expected squared errors by tensor; none where a sample of a number is no index."""
    try:
        return expected_errors(recording.package, recording.given)
    except InputError:
        return {}


def _expected_decibels(expected: Mapping[int, float], real: Mapping[int, Values]) -> float | None:
    """Signal to noise ratio of tensors with the expected errors, the worst of them."""
    if not real or not expected.keys() >= real.keys():
        return None
    signals = {t: x[np.isfinite(x)].astype(np.float64) for t, x in real.items()}
    return min(ratio(float((x**2).sum()), expected[t]) for t, x in signals.items())


def _beside(outputs: Mapping[str, Values], got: Mapping[str, Values]) -> Pairs:
    return [(real, got[name].reshape(real.shape)) for name, real in outputs.items()]


def _row(recording: Recording, layer: Layer, pairs: Pairs) -> Row:
    return Row(
        layer.node,
        layer.operator,
        _worst(pairs),
        max((float(errors(*pair).max(initial=0.0)) for pair in pairs), default=None),
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
            if out in layer.results:
                both = (exact.valued(package, out, codes) for codes in (wanted, got))
                pairs.append((next(both), next(both)))
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
        wanted = np.asarray(reference[name]).reshape(got.shape)
        worst = float(errors(wanted, got).max(initial=0.0))
        rows.append(Row(name, "output", decibels(wanted, got), worst))
    return rows
