"""What an entry of the zoo is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import onnx
from numpy.typing import NDArray

from verif.zoo.files import file_of, version_of

#: A set of inputs by name, of the shapes of the compiled model.
Inputs = dict[str, NDArray]


@dataclass(frozen=True)
class Entry:
    """A model and the inputs it is judged on.

    ``package`` and ``file``: where it lies, the file by the end of its path; or ``made``, of models
    that are trained here.  ``inputs``: many sets of inputs, always the same; ``about``: where they
    come from.  ``batch``, ``dims``, ``fix``: as of ``spu compile``.  ``classes``: the output whose
    last axis is of scores of classes, or which is of labels.  ``calibrate``: how many sets, the
    first ones, show how large values become; ``golden``: how many of the others are run on the
    golden engine; all of the others are predicted.
    """

    name: str
    inputs: Callable[[], list[Inputs]]
    about: str
    package: str = ""
    file: str = ""
    made: Callable[[], onnx.ModelProto] | None = None
    batch: int | None = None
    dims: Mapping[str, int] = field(default_factory=dict)
    fix: Mapping[str, float] = field(default_factory=dict)
    classes: str = ""
    calibrate: int = 4
    golden: int = 2

    def model(self) -> onnx.ModelProto:
        """The model; raises ``MissingPackage``."""
        return onnx.load(file_of(self.package, self.file)) if self.made is None else self.made()

    @property
    def source(self) -> str:
        """Where the model comes from, in words; raises ``MissingPackage``."""
        return f"{version_of(self.package)}: {self.file}" if self.package else "trained here"
