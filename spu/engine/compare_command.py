"""``spu compare``."""

import json
from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer

from spu.arch.errors import CheckFailed, InputError
from spu.arch.files import replace_files
from spu.command.common import BadInput, about, remark, report_saturated, working
from spu.command.extras import require
from spu.command.options import SimName
from spu.command.tables import show, table
from spu.engine.command import (
    EngineName,
    check_engine,
    check_outputs,
    engine_for,
    inputs_of,
    package_of,
)

ReferenceName = StrEnum("ReferenceName", ["float", "onnxruntime", "pal"])

#: Sum of shares below which it is said why they are few; chosen, not tuned.
MOST_SHARED = 0.5


def compare(
    directory: Annotated[Path, typer.Argument(help="Directory that spu compile wrote.")],
    inputs: Annotated[
        Path, typer.Option("--input", help="Inputs as of spu run: .npy, or by name .npz.")
    ],
    against: Annotated[
        ReferenceName,
        typer.Option(
            help="float64 of the model, layer by layer; ONNX Runtime, outputs alone; or what PAL "
            "arithmetic makes of each step's own operands, bit for bit."
        ),
    ] = ReferenceName.float,
    engine: Annotated[
        EngineName, typer.Option(help="What executes the program.")
    ] = EngineName.golden,
    labels: Annotated[
        Path | None, typer.Option(help="Classes of the inputs, .npy of integers.")
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="ONNX file, for --against onnxruntime.")
    ] = None,
    shares: Annotated[
        bool,
        typer.Option(
            "--shares", help="Find what each layer causes also of models of more than 256 steps."
        ),
    ] = False,
    as_json: Annotated[Path | None, typer.Option("--json", help="Rows as JSON.")] = None,
    html: Annotated[Path | None, typer.Option(help="A page with plots.")] = None,
    sim: Annotated[
        SimName | None, typer.Option(help="Simulator of the RTL engine.", show_default="verilator")
    ] = None,
) -> None:
    """Say of each layer how far the array is from a reference, what it costs and what it causes.

    With --against pal a step that is not what PAL arithmetic makes of its operands is a failed
    check (exit code 1), and its layer is named.

    Example: spu compare build/digits --input x.npy --labels y.npy --html build/digits.html
    """
    check_engine(engine, sim)
    _check_reference(against, model, shares)
    if against == ReferenceName.onnxruntime:
        require("onnxruntime")
    files = [path for path in (as_json, html) if path]
    check_outputs(directory, files, [inputs, labels, model])
    package = package_of(directory, "spu compare")
    from spu.arch.package.constants import check_float

    if against == ReferenceName.float or (labels and against == ReferenceName.pal):
        with about(directory):
            check_float(package)
    taken = inputs_of(package, inputs)
    from spu.engine.compare import SHARED_STEPS

    known = None if labels is None else _labels(labels, package, taken)
    session = None if model is None else _session(model)
    with engine_for(package, engine, str(sim or "verilator")) as ready:
        recording = _recorded(package, ready, inputs, taken)
    wants = known is not None or session is not None
    reference = _reference(recording, session, model, taken) if wants else {}
    classes = None if known is None else _accuracy(recording, reference, *known)
    wanted = shares or len(recording.package.program.steps) <= SHARED_STEPS
    rows = _rows(recording, against, reference, model, wanted)
    _write(recording, against, rows, classes, as_json, html)
    _tell(recording, against, rows, classes, wanted)
    report_saturated(ready.nodes, strict=False)
    _check(rows)


def _check_reference(against: ReferenceName, model: Path | None, shares: bool) -> None:
    """Raise ``BadInput`` for options that are not those of the reference."""
    if (model is not None) != (against == ReferenceName.onnxruntime):
        rule = "needs the ONNX file, --model FILE" if model is None else "takes no --model"
        raise BadInput(f"--against {against}: {rule}")
    if shares and against != ReferenceName.float:
        raise BadInput(f"--against {against}: has no shares, which are of errors against float")


def _labels(path: Path, package: Any, taken: Any) -> tuple[Any, Any]:
    """Classes of the model, and labels of a file; before anything runs."""
    from spu.command.arrays import read_arrays
    from spu.engine.classes import classes_of

    found = read_arrays(path, "labels")
    if len(found) != 1:
        raise BadInput(f"{path}: must hold one array of labels, not {len(found)}")
    (values,) = found.values()
    with about(path):
        classes = classes_of(package, taken)
        classes.check(values)
    return classes, values


def _session(model: Path) -> Any:
    """The model in ONNX Runtime."""
    import onnxruntime

    model.open("rb").close()
    try:
        return onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    except Exception as error:  # of its own kinds, which share no base
        raise BadInput(f"{model}: ONNX Runtime does not take it: {error}") from None


def _recorded(package: Any, engine: Any, path: Path, taken: Any) -> Any:
    from spu.engine.recording import record

    with working("running") as note:
        try:
            return record(
                package, engine, taken, lambda done, total: note(f"step {done} of {total}")
            )
        except InputError as error:
            raise BadInput(f"{path}: {error}") from None


def _reference(
    recording: Any, session: Any, model: Path | None, taken: Mapping[str, Any]
) -> dict[str, Any]:
    """Outputs by name, of ONNX Runtime or in float64."""
    from spu.engine.compare import float_outputs

    if session is None:
        return float_outputs(recording)
    import numpy as np

    kinds = {"tensor(double)": np.float64, "tensor(float16)": np.float16}
    given = {}
    for wanted in session.get_inputs():
        if wanted.name not in taken:
            raise BadInput(f"{model}: has an input {wanted.name!r}, the package has none")
        values = taken[wanted.name]
        if "int" in wanted.type or "bool" in wanted.type:
            kind = wanted.type.removeprefix("tensor(").removesuffix(")")
            given[wanted.name] = values.astype(kind)
        else:
            given[wanted.name] = values.astype(kinds.get(wanted.type, np.float32))
    names = [output.name for output in session.get_outputs()]
    try:
        return dict(zip(names, session.run(None, given), strict=True))
    except Exception as error:  # of its own kinds, which share no base
        raise BadInput(f"{model}: ONNX Runtime does not run it: {error}") from None


def _accuracy(recording: Any, reference: Any, classes: Any, labels: Any) -> Any:
    name = classes.output
    return classes.accuracy(recording.outputs[name], reference[name], labels)


def _rows(
    recording: Any, against: str, reference: Any, model: Path | None, shares: bool
) -> list[Any]:
    from spu.engine import compare as parts

    with working("comparing") as note:

        def progress(done: int, total: int) -> None:
            note(f"layer {done} of {total}")

        if model:
            with about(model):
                return list(parts.against_outputs(recording, reference))
        if against == ReferenceName.pal:
            return list(parts.against_exact(recording, progress))
        return list(parts.against_float(recording, shares, progress))


def _write(
    recording: Any,
    against: str,
    rows: Sequence[Any],
    classes: Any,
    as_json: Path | None,
    html: Path | None,
) -> None:
    """The files that are asked for, all or none."""
    from dataclasses import asdict

    from spu.engine.compare_page import page

    def put(text: str, sink: BinaryIO) -> None:
        sink.write(text.encode())

    name = recording.package.program.name
    texts = {}
    if as_json:
        found = {
            "name": name,
            "against": str(against),
            "cycles": recording.total,
            "accuracy": None if classes is None else asdict(classes),
            "differing": {row.node: row.differing for row in rows if row.differing},
            "expected_db": _expected(rows),
            "rows": [row.as_json() for row in rows],
        }
        texts[as_json] = json.dumps(found, indent=1, allow_nan=False) + "\n"
    if html:
        texts[html] = page(name, str(against), recording.total, rows, classes)
    replace_files({path: partial(put, text) for path, text in texts.items()})


def _expected(rows: Sequence[Any]) -> dict[str, float]:
    """Of layers with a finite ratio, by node."""
    return {
        row.node: row.expected_db
        for row in rows
        if row.expected_db is not None and abs(row.expected_db) < float("inf")
    }


def _tell(recording: Any, against: str, rows: Sequence[Any], classes: Any, shares: bool) -> None:
    from spu.engine.compare_page import HEADS, cells, classes_text

    title = f"{recording.package.program.name} against {against}: {recording.total} cycles"
    head = HEADS[str(against)]
    show(table(title, head, (cells(row, head) for row in rows)))
    if classes is not None:
        print(classes_text(classes, str(against)))
    if against == ReferenceName.float and not shares:
        steps = len(recording.package.program.steps)
        remark(f"no shares: the model has {steps} steps; --shares follows each layer to the end")
    known = [row.share for row in rows if row.share is not None]
    if known and sum(known) < MOST_SHARED and any(row.saturated for row in rows):
        remark(
            f"shares add up to {100 * sum(known):.0f} %: elements beyond the top of one layer are "
            "beyond that of others as well, so that float in one alone leaves the error"
        )
    if against == ReferenceName.pal and recording.cycles is None:
        remark(
            "a pipeline hands out results of its last layer alone, at which a difference of any "
            "layer shows; spu compile --strategy steps tells them apart"
        )


def _check(rows: Sequence[Any]) -> None:
    """Raise ``CheckFailed`` with the layers that are not as predicted."""
    wrong = [row for row in rows if row.differing]
    if wrong:
        told = "; ".join(
            f"{row.operator} node {row.node!r}: {row.differing} elements" for row in wrong
        )
        raise CheckFailed(f"not what PAL arithmetic makes of the operands: {told}")
