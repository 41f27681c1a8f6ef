"""The operator tests of the onnx package on the array: ``make onnx``.

Which of them apply, and why others do not.
"""

import itertools
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import typer
from numpy.typing import NDArray
from onnx import numpy_helper
from rich.console import Console
from rich.table import Table

from compiler.errors import CompileError, Refusal, Refused
from compiler.front.honoured import FLOATS
from compiler.front.lower import lower
from compiler.front.named import host_type
from compiler.front.registry import OPERATORS
from compiler.map.steps import compile_program
from rtl.simulator import LONG
from spu.arch.package.host_operations import REAL
from spu.arch.package.program import HostStep, Layout, Program
from spu.arch.params import CONFIGS
from spu.command.tables import markdown
from spu.engine.array import Engine, GoldenEngine
from spu.engine.host import run
from spu.engine.rtl_engine import RtlEngine
from verif.expected import unlimited
from verif.expected.error_bounds import error_bounds

PATH = Path(__file__).parents[1] / "docs" / "onnx.md"

#: Operators that tests may have beside those that are lowered: they are computed beforehand.
FOLDED = ("Constant", "Shape", "Size", "ConstantOfShape", "Range")
#: Operators whose inputs after the first are known beforehand: ratios, scales.
KNOWN = ("Dropout", "Resize", "Upsample")
#: Operators that are made of others, of which there are tests.
FUNCTIONS = ("GroupNormalization", "MeanVarianceNormalization", "RotaryEmbedding")
INFINITE = "infinities or NaN among inputs or expected outputs"
CASTS = "a cast to integers or to floats below 16 bits: the array has no such numbers"
TRAINING = "training of BatchNormalization, Dropout"
NO_ELEMENTS = "the greatest of no elements is infinite, which PAL has not"
OF_INTEGERS = "an operator of integers and truth values alone, of real numbers"
OF_REAL = "an operator of real numbers alone, of integers"
NAN = "a constant of infinities or NaN, which the array does not compute with"
#: Reasons why a test does not apply, by the whole rule that the compiler refuses it by.
REASONS = {
    r"casts to \w+; only floating-point types .*": CASTS,
    r"its scale and zero point must be constant": CASTS,  # which are made by casts
    r"attribute training_mode=1 of version \d+ is not supported, 0 is": TRAINING,
    r"training_mode is not supported": TRAINING,
    r"has only \d+ of its outputs here": "positions of maxima: the second output is integers",
    r"(max|min) of no elements is infinite, which PAL has not": NO_ELEMENTS,
    r"(mod|one_hot) takes integers, not real numbers": OF_INTEGERS,
    r"takes u?int\d+, which the host computes; Cast makes real numbers of it": OF_REAL,
    r"constant '.*' holds \d+ NaN": NAN,
    r"its scores with a mask of -inf are not finite": INFINITE,
    r"output '.*' is constant and not finite": INFINITE,
}
#: Element types of tensors that are computed.
COMPUTED = (*FLOATS, onnx.TensorProto.BOOL)
#: Rounding of the expected outputs, which are float32, relative.
FLOAT32 = 2.0**-22
OTHER = "data of integers below 8 bits, of texts, of complex numbers, sequences"
NARROW = "data of floats below 16 bits"


@dataclass(frozen=True)
class Case:
    """A test: its program, or the ``reason`` why it does not apply."""

    name: str
    operators: tuple[str, ...]
    program: Program | None
    inputs: dict[str, NDArray]
    outputs: dict[str, NDArray]
    reason: str = ""


def node_tests() -> list:
    """All of the package."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.loader import load_model_tests

        return load_model_tests(kind="node")


def cases(tests: Sequence | None = None) -> Iterator[Case]:
    """All tests made of operators that are supported; ``tests``: ``node_tests()``, if known."""
    for test in node_tests() if tests is None else tests:
        assert test.model is not None
        operators = tuple(dict.fromkeys(n.op_type for n in test.model.graph.node))
        taken = {*OPERATORS, *FUNCTIONS}
        if set(operators) <= {*taken, *FOLDED} and {*operators} & {*taken, "Constant"}:
            yield _case(test, operators)


def _array(value: object) -> NDArray:
    return (
        numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)
    )


#: Which inputs of a test stay such, but for those that ``KNOWN`` has as constants, those that most
#: operators allow first: all, real numbers and the first, the first alone (axes, shapes, scales are
#: constants).
STAY = ("all", "real", "first")


def _fed(test: Any, operators: tuple[str, ...], stay: str) -> tuple[onnx.ModelProto, dict]:
    """A model, and inputs by name; others become constants, see ``STAY``."""
    model = onnx.ModelProto()
    model.CopyFrom(test.model)
    inputs: dict[str, NDArray] = {}
    for value, array in zip(
        list(model.graph.input), map(_array, test.data_sets[0][0]), strict=True
    ):
        first = value.name == test.model.graph.input[0].name
        bound = set(operators) <= {*KNOWN} and not first
        real = value.type.tensor_type.elem_type in COMPUTED
        if bound or not (first or stay == "all" or (real and stay == "real")):
            model.graph.initializer.append(numpy_helper.from_array(array, value.name))
            model.graph.input.remove(value)
        else:
            inputs[value.name] = array
    return model, inputs


def _case(test: Any, operators: tuple[str, ...]) -> Case:
    """A test, with as many of its inputs as the operator takes."""
    name, program, refused = test.name, None, tuple[Refusal, ...]()
    for stay in STAY:
        model, inputs = _fed(test, operators, stay)
        try:
            program = lower(model, name)
        except CompileError as error:
            refused = refusals(error)
        else:
            break
    expected = map(_array, test.data_sets[0][1])
    outputs = dict(zip((o.name for o in model.graph.output), expected, strict=True))
    types = [v.type.tensor_type.elem_type for v in (*model.graph.input, *model.graph.output)]

    def skipped(reason: str) -> Case:
        return Case(name, operators, None, inputs, outputs, reason)

    for kind in types:
        if kind not in COMPUTED and host_type(kind) == REAL:
            narrow = onnx.TensorProto.DataType.Name(kind).startswith("FLOAT")
            return skipped(NARROW if narrow else OTHER)
    if program is None:
        reasons = [reason_of(refusal) for refusal in refused]
        if "" in reasons:
            raise CompileError(f"{name}: {refused[reasons.index('')]}")
        return skipped(reasons[0])
    for array in (*inputs.values(), *outputs.values()):
        if not np.isfinite(array.astype(np.float64)).all():
            return skipped(INFINITE)
    return Case(name, operators, program, inputs, outputs)


def refusals(error: CompileError) -> tuple[Refusal, ...]:
    """All that a model is refused for."""
    return error.refusals if isinstance(error, Refused) else (Refusal.read(str(error)),)


def reason_of(refusal: Refusal) -> str:
    """Why a test does not apply; empty for a refusal that has no reason."""
    found = (reason for rule, reason in REASONS.items() if re.fullmatch(rule, refusal.rule))
    return next(found, "")


@dataclass(frozen=True)
class Verdict:
    """How a test went: greatest error as a share of its bound; elements without a bound, and their
    greatest error, and that of PAL arithmetic without limits of range.

    ``passed``: all elements are within their bounds, and those without no more than a decibel below
    that arithmetic.
    """

    passed: bool
    share: float
    elements: int
    unbounded: int
    cycles: int
    off: float = 0.0
    predicted: float = 0.0


def judge(case: Case, engine: Engine, known: dict | None = None) -> Verdict:
    """Compile a test for the engine's array with the bias of its magnitudes, run, compare."""
    assert case.program is not None
    compiled = compile_program(case.program, engine.arch, known=known, calibrate=case.inputs)
    got = run(compiled, engine, case.inputs)
    bounds = error_bounds(compiled, case.inputs)
    share, passed, elements, unbounded, off, predicted = 0.0, True, 0, 0, 0.0, 0.0
    pal: dict[str, NDArray] = {}
    for name, expected in case.outputs.items():
        want, exact = expected.astype(np.float64), expected.dtype.kind in "biu"
        tolerance = bounds[name].error + 1e-30
        if exact:
            passed &= got[name].dtype == expected.dtype
        else:
            tolerance = tolerance + case.program.error + FLOAT32 * np.abs(want)
        if expected.dtype == bool:  # of which 1 is no bound
            tolerance = np.where(tolerance < 1, tolerance, np.inf)
        error = np.abs(np.subtract(got[name], expected if exact else want, dtype=np.float64))
        passed &= got[name].shape == want.shape and bool((error <= tolerance).all())
        share = max(share, float(np.max(error / tolerance, initial=0.0)))
        elements += want.size
        if (bare := np.isinf(tolerance)).any():
            pal = pal or unlimited.outputs(compiled, case.inputs)
            found, made = (x[name][bare].astype(np.float64) for x in (got, pal))
            passed &= not unlimited.worse(want[bare], found, made)
            unbounded += int(bare.sum())
            off = max(off, float(error[bare].max()))
            predicted = max(predicted, float(np.abs(made - want[bare]).max()))
    return Verdict(passed, share, elements, unbounded, engine.cycles, off, predicted)


def sample(count: int) -> list[Case]:
    """Tests that the array computes something for: of every operator in turn."""
    groups: dict[tuple[str, ...], list[Case]] = {}
    for case in cases():
        if case.program is not None and any(
            not isinstance(step, (Layout, HostStep)) for step in case.program.steps
        ):
            groups.setdefault(case.operators, []).append(case)
    rounds = [case for turn in itertools.zip_longest(*groups.values()) for case in turn if case]
    return rounds[:count]


def main(arch: str = "basic", rtl: int = 0) -> None:
    """All tests on the golden model, a sample of ``rtl`` in RTL: tables on the screen and a page.

    Exits with 1 if a test fails.
    """
    console, known = Console(), dict[Any, Any]()
    table = Table(
        "operators",
        "tests",
        "passed",
        "error / bound",
        "no bound",
        "cycles",
        title=f"onnx node tests on the golden model of {arch}",
    )
    groups: dict[str, list[Verdict]] = {}
    skipped: Counter[str] = Counter()
    bare: list[list] = []
    for case in cases():
        if case.program is None:
            skipped[case.reason] += 1
            continue
        with console.status(case.name):
            verdict = judge(case, GoldenEngine(CONFIGS[arch]), known)
        if not verdict.passed:
            console.print(f"{case.name} failed", style="red")
        groups.setdefault(" ".join(case.operators), []).append(verdict)
        if verdict.unbounded:
            bare.append(bare_row(case.name, verdict))
    rows = [row(name, groups[name]) for name in sorted(groups)]
    for each in rows:
        table.add_row(*map(str, each))
    console.print(table)
    verdicts = [v for all_ in groups.values() for v in all_]
    passed = sum(v.passed for v in verdicts)
    for case in sample(rtl):
        with console.status(f"{case.name} in RTL"):
            verdict = judge(case, RtlEngine(CONFIGS[arch], effort=LONG), known)
        verdicts.append(verdict)
        console.print(
            f"RTL {case.name}: {'passed' if verdict.passed else 'FAILED'}, {verdict.cycles} cycles"
        )
    page = text(
        arch, rows, bare, skipped, f"{passed} of {sum(len(g) for g in groups.values())} passed"
    )
    PATH.write_text(page)
    console.print(
        f"{passed} passed, {len(verdicts) - sum(v.passed for v in verdicts)} failed, "
        f"{sum(skipped.values())} do not apply; wrote {PATH}"
    )
    if not all(v.passed for v in verdicts):
        raise SystemExit(1)


def row(name: str, verdicts: list[Verdict]) -> list:
    """A row of the table: the tests that have the same operators."""
    return [
        name,
        len(verdicts),
        sum(v.passed for v in verdicts),
        f"{max(v.share for v in verdicts):.2f}",
        sum(v.unbounded for v in verdicts),
        sum(v.cycles for v in verdicts),
    ]


def bare_row(name: str, verdict: Verdict) -> list:
    """A row of the table of tests with elements without a bound."""
    return [name, verdict.unbounded, f"{verdict.off:.3g}", f"{verdict.predicted:.3g}"]


def text(arch: str, rows: list[list], bare: list[list], skipped: Counter[str], summary: str) -> str:
    """``docs/onnx.md``."""
    lines = [
        "# ONNX operators",
        "",
        f"Written by `make onnx`: the node tests of the onnx package {onnx.__version__}, each "
        f"compiled for `{arch}` and run on the golden model. A test passes if every element is "
        "within the bound that forward error analysis gives for it "
        "(`verif/expected/error_bounds.py`); *error / bound* is the greatest "
        "share of it. *No bound*: elements where a function is undefined within the error of its "
        "operand; these must be no more than a decibel below what PAL arithmetic without limits of "
        "range makes of them, which may be far off.",
        "",
        f"{summary}.",
        "",
        markdown(("operators", "tests", "passed", "error / bound", "no bound", "cycles"), rows),
        "Tests with elements that have no bound, and the greatest error of these:",
        "",
        markdown(("test", "no bound", "error", "of PAL arithmetic"), bare),
        "Tests of these operators that do not apply:",
        "",
        markdown(("tests", "why"), ((n, reason) for reason, n in skipped.most_common())),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    typer.run(main)
