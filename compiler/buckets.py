"""A model to buckets: compiled for several sizes, and padding measured before it is promised.

Whether padded places change what becomes of a sample is not proved from the graph: it is measured,
in float64, on the model as it is for the sample's own length.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

from numpy.typing import NDArray
from onnx import ModelProto

from compiler.build import compile_model
from compiler.errors import CompileError
from compiler.front.lower import lower
from compiler.passes.padding import Checked, Padding, Sets, probes
from compiler.passes.samples import Samples
from spu.arch.package.buckets import BATCH, Axes, Buckets
from spu.arch.package.inputs import sets_of_program
from spu.arch.package.program import Program, Tensor
from spu.arch.params import Architecture


def compile_buckets(
    model: ModelProto,
    name: str,
    arch: Architecture,
    batches: Sequence[int] = (),
    dims: Mapping[str, Sequence[int]] | None = None,
    pads: Mapping[str, float] | None = None,
    calibrate: Sets = (),
    percentile: float = 100.0,
    progress: Callable[[str], None] = lambda _: None,
    **options: Any,
) -> tuple[Buckets, Checked]:
    """Compile an ONNX model for all combinations of sizes.

    ``batches``: numbers of rows, of inputs whose first axis is open.  ``dims``: sizes of other open
    dimensions by name; those with several, or with ``pads``, are lengths of samples.  ``pads``: by
    input, what stands in places that a sample leaves empty.  ``calibrate``: inputs of any lengths,
    with which padding is tried as well; ``options``: of ``compile_model``.

    Raises ``CompileError``: names the input or the output and the rule; a padded sample whose
    outputs are not those of its own length, and by how much.
    """
    return _Compiler(model, name, arch, batches, dims or {}, pads or {}, calibrate, progress).run(
        percentile, options
    )


#: Sizes by name, in order.
_Key = tuple[tuple[str, int], ...]


class _Compiler:
    def __init__(
        self,
        model: ModelProto,
        name: str,
        arch: Architecture,
        batches: Sequence[int],
        dims: Mapping[str, Sequence[int]],
        pads: Mapping[str, float],
        calibrate: Sets,
        progress: Callable[[str], None],
    ) -> None:
        self.name, self.model, self.arch = name, model, arch
        self.pads, self.calibrate, self.progress = pads, calibrate, progress
        self.batches = tuple(sorted(set(batches)))
        self.dims = {name: tuple(sorted(set(sizes))) for name, sizes in dims.items()}
        self.lengths = [n for n, sizes in self.dims.items() if len(sizes) > 1 or pads]
        self.inputs = _input_axes(self.model, bool(self.batches), self.lengths)
        self.programs: dict[_Key, Program] = {}
        self.kept: set[_Key] = set()
        self.constants: dict[tuple[tuple[int, ...], str, bytes], NDArray] = {}
        self._check_names()

    def _check_names(self) -> None:
        """Raise for pads of other inputs than those with lengths, and for inputs without."""
        long = {n for n, axes in self.inputs.items() if set(axes) & set(self.lengths)}
        for name in self.pads:
            if name not in self.inputs:
                raise CompileError(f"--pad {name}: the inputs are {', '.join(self.inputs)}")
            if name not in long:
                raise CompileError(f"--pad {name}: it has no dimension of --dim")
        if self.pads and (bare := sorted(long - set(self.pads))):
            raise CompileError(
                f"input {bare[0]!r} has lengths {', '.join(self.lengths)}: --pad {bare[0]}=VALUE "
                "says what stands in padded places"
            )

    def program(self, sizes: Mapping[str, int]) -> Program:
        """The tensor program of these sizes, of a row if there are several; those of buckets are
        kept, and all share the constants that are the same."""
        key = tuple(sorted(sizes.items()))
        if key not in self.programs:
            fixed = {n: each[0] for n, each in self.dims.items() if n not in self.lengths}
            lengths = {n: sizes[n] for n in self.lengths}
            rows = sizes.get(BATCH, 1) if self.batches else None
            program = lower(self.model, self.name, rows, {**fixed, **lengths})
            program.tensors[:] = map(self._shared, program.tensors)
            if key not in self.kept:
                return program
            self.programs[key] = program
        return self.programs[key]

    def _shared(self, tensor: Tensor) -> Tensor:
        values = tensor.constant
        if values is None:
            return tensor
        digest = hashlib.sha256(values.tobytes()).digest()
        known = self.constants.setdefault((values.shape, values.dtype.str, digest), values)
        return replace(tensor, constant=known)

    def run(self, percentile: float, options: Mapping[str, Any]) -> tuple[Buckets, Checked]:
        names = [*([BATCH] if self.batches else []), *self.lengths]
        each = [self.batches or (1,)] if self.batches else []
        grid = [
            dict(zip(names, sizes, strict=True))
            for sizes in product(*each, *(self.dims[n] for n in self.lengths))
        ]
        tried = probes(grid, bool(self.pads))
        self.kept = {tuple(sorted(sizes.items())) for sizes in grid}
        outputs = self._output_axes([*grid, tried[0][1], tried[len(tried) // 2][1]])
        buckets = Buckets(tuple(grid), (), self.inputs, outputs, dict(self.pads))
        checked = Checked(0, 0, 0.0)
        if self.pads or len(self.batches) > 1:
            checked = Padding(buckets, self.program, self.calibrate, self.progress).check(tried)
        packages = []
        for number, sizes in enumerate(grid):
            told = ", ".join(f"{n} {size}" for n, size in sizes.items())

            def note(what: str, told: str = told) -> None:
                self.progress(f"{told}: {what}")

            shown = self._shown(buckets, number)
            given = Samples(tuple(shown), percentile) if self.calibrate else None
            packages.append(
                compile_model(
                    self.program(sizes), self.arch, calibrate=given, progress=note, **options
                )
            )
        return Buckets(tuple(grid), tuple(packages), self.inputs, outputs, self.pads), checked

    def _shown(self, buckets: Buckets, number: int) -> list[dict[str, NDArray]]:
        """Inputs of calibration as a bucket takes them; longer ones are cut."""
        found = []
        for each in self.calibrate:
            sizes = buckets.measured(each)
            short = [n for n in self.lengths if sizes[n] < buckets.sizes[number][n]]
            if self.pads or not short:
                found += sets_of_program(
                    self.program(buckets.sizes[number]), buckets.padded(each, number)
                )
        if self.calibrate and not found:
            raise CompileError(
                f"no inputs of --calibrate are as long as {dict(buckets.sizes[number])}; --pad "
                "lets shorter ones in"
            )
        return found

    # Axes of outputs.

    def _output_axes(self, some: Sequence[Mapping[str, int]]) -> Axes:
        """Names of the sizes of outputs, by programs of some sizes; ``Padding`` sees the others."""
        known = [(sizes, self.program(sizes)) for sizes in some]
        found = {}
        for name in known[0][1].outputs:
            shapes = [p.shape(p.outputs[name]) for _, p in known]
            if len({len(shape) for shape in shapes}) > 1:
                raise CompileError(f"output {name!r} has axes that depend on sizes of inputs")
            axes = []
            for axis in range(len(shapes[0])):
                here = [shape[axis] for shape in shapes]
                varying = [
                    n
                    for n in known[0][0]
                    if len({sizes[n] for sizes, _ in known}) > 1
                    and here == [sizes[n] for sizes, _ in known]
                ]
                if len(set(here)) > 1 and len(varying) != 1:
                    raise CompileError(
                        f"output {name!r}: axis {axis} has sizes {sorted(set(here))}, which are "
                        f"not those of {' or '.join(known[0][0])}: what of it is padding is unknown"
                    )
                axes.append(varying[0] if len(set(here)) > 1 else "")
            found[name] = tuple(axes)
        return found


def input_names(model: ModelProto) -> list[str]:
    """Names of the inputs of a model, without those that have a value of their own."""
    known = {t.name for t in model.graph.initializer}
    return [value.name for value in model.graph.input if value.name not in known]


def _input_axes(
    model: ModelProto, batched: bool, lengths: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """Names of the sizes of inputs: of rows, of lengths, "" of those that are the same for all."""
    axes = {}
    for value in model.graph.input:
        if value.name not in input_names(model):
            continue
        names = []
        for place, dim in enumerate(value.type.tensor_type.shape.dim):
            is_open = not dim.HasField("dim_value") or dim.dim_value == -1
            if is_open and dim.dim_param in lengths:
                names.append(dim.dim_param)
            else:
                names.append(BATCH if batched and is_open and not place else "")
        axes[value.name] = tuple(names)
    return axes
