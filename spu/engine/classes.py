"""Accuracy of a model on a labelled set: classes of its first output."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spu.arch.errors import UserError
from spu.arch.package.compiled import Package
from spu.arch.package.pipeline import Pipeline
from spu.arch.package.program import HostStep, Layout, Program

#: Numbers, integers or truth values.
Values = NDArray[Any]


@dataclass(frozen=True)
class Accuracy:
    """Of labels: how many the array has, and the reference, and on how many both agree."""

    array: float
    reference: float
    agreement: float


@dataclass(frozen=True)
class Classes:
    """An output that says classes: of real numbers the largest along the last axis of each row,
    else its elements.

    ``count``: of the classes, None if it is not known.
    """

    output: str
    shape: tuple[int, ...]
    ranked: bool
    count: int | None

    @property
    def rows(self) -> int:
        """How many classes it says."""
        return int(np.prod(self.shape[:-1] if self.ranked else self.shape))

    def of(self, values: Values) -> NDArray[np.int64]:
        """The classes that values of the output say."""
        if not self.ranked:
            return values.reshape(-1).astype(np.int64)
        return values.reshape(self.rows, -1).argmax(axis=1)

    def check(self, labels: Values) -> None:
        """Raise ``UserError`` unless labels are integers, one for each class that the output says,
        and of those that there are."""
        what = f"output {self.output!r} of shape {self.shape}"
        if labels.dtype.kind not in "iu":
            raise UserError(f"labels must be integers, not {labels.dtype}")
        if labels.size != self.rows:
            raise UserError(f"has {labels.size} labels, {what} has {self.rows} rows")
        wrong = labels < 0 if self.count is None else (labels < 0) | (labels >= self.count)
        if wrong.any():
            most = "more" if self.count is None else self.count - 1
            raise UserError(f"labels of {what} are 0 to {most}, not {labels[wrong].flat[0]}")

    def accuracy(self, got: Values, reference: Values, labels: Values) -> Accuracy:
        """Of labels that were checked, of what the array has and of a reference."""
        ours, theirs = self.of(got), self.of(np.asarray(reference))
        wanted = labels.ravel()
        return Accuracy(
            float((ours == wanted).mean()),
            float((theirs == wanted).mean()),
            float((ours == theirs).mean()),
        )


def classes_of(package: Package | Pipeline, given: Mapping[str, Values]) -> Classes:
    """Classes of the first output of a model for these inputs.

    Raises ``UserError`` for one that says none: it has no axis, or no elements.
    """
    if isinstance(package, Pipeline):
        name, ranked = package.output, True
        shape = (len(given[package.input]), *package.report["io"]["output_shape"])
        count = shape[-1]
    else:
        program = package.program
        name, tensor = next(iter(program.outputs.items()))
        shape = program.shape(tensor)
        ranked = program.is_real(tensor) and name not in program.truths
        count = (shape or (0,))[-1] if ranked else _ranked(program, tensor)
    if (ranked and not shape) or 0 in shape:
        raise UserError(f"output {name!r} of shape {shape} says no classes, which labels are of")
    return Classes(name, shape, ranked, count)


def _ranked(program: Program, tensor: int) -> int | None:
    """Of how many an output of integers says places, as ArgMax does; 2 of truth values."""
    if program.tensors[tensor].dtype in ("bool", ""):
        return 2
    made = {step.out: step for step in program.steps}
    while (step := made.get(tensor)) is not None and len(step.sources) == 1:
        (source,) = step.sources
        if isinstance(step, HostStep) and step.operation == "rank":
            return program.shape(source)[step.settings["axis"]]
        if not isinstance(step, Layout) and getattr(step, "operation", "") != "cast":
            return None
        tensor = source
    return None
