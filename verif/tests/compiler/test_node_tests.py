"""Node tests of the onnx package on the golden model and in RTL, within their bounds."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from compiler.errors import Refusal
from compiler.front.lower import lower
from compiler.front.registry import OPERATORS
from compiler.ir import expressions as ex
from compiler.map.steps import compile_program
from spu.arch.package.expression import variable
from spu.arch.package.program import Map, Program
from spu.arch.params import CONFIGS
from spu.command.tables import markdown
from spu.engine.array import GoldenEngine
from spu.engine.rtl_engine import RtlEngine
from verif import node_tests
from verif.expected.error_bounds import error_bounds
from verif.tests.onnx_models import create

BASIC = CONFIGS["basic"]

KNOWN = {}


@pytest.fixture(scope="session")
def all_cases(shared):
    """The node tests of onnx, which take ten seconds to collect."""
    return list(node_tests.cases(shared("node-tests", node_tests.node_tests)))


@pytest.fixture(scope="session")
def cases(all_cases):
    """Those that apply."""
    return [case for case in all_cases if case.program is not None]


@pytest.mark.parametrize("op", sorted((*OPERATORS, *node_tests.FUNCTIONS)))
def test_operators_are_within_their_bounds(op, cases):
    """The node tests of onnx that begin with an operator, or have it after constants."""
    own = [
        case
        for case in cases
        if next((o for o in case.operators if o in {*OPERATORS, *node_tests.FUNCTIONS}), None) == op
    ]
    groups: dict[str, list[node_tests.Verdict]] = {}
    for case in own:
        verdict = node_tests.judge(case, GoldenEngine(BASIC), KNOWN)
        groups.setdefault(" ".join(case.operators), []).append(verdict)
        assert verdict.passed, case.name
        assert verdict.unbounded < max(verdict.elements, 1) or not verdict.elements, case.name
    page = node_tests.PATH.read_text()
    for name, verdicts in groups.items():
        assert markdown((), [node_tests.row(name, verdicts)]).splitlines()[-1] in page, (
            "run make onnx"
        )


def test_the_page_of_operators_has_their_tests_and_no_others(all_cases, cases):
    groups = {" ".join(case.operators): [] for case in cases}
    skipped = Counter(case.reason for case in all_cases if case.program is None)
    page = node_tests.PATH.read_text()
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| ")]
    here = [row[0].removeprefix("| ") for row in rows if len(row) == 6][2:]
    assert here == sorted(groups)
    bare = [row for row in rows if len(row) == 4][2:]
    assert sum(int(row[1]) for row in bare) == sum(
        int(row[4]) for row in rows if len(row) == 6 and row[4].isdigit()
    )
    assert rows[-len(skipped) :] == [
        [f"| {n}", f"{reason} |"] for reason, n in skipped.most_common()
    ]
    assert f"{len(cases)} of {len(cases)} passed" in page


def test_most_operators_have_tests_of_their_own(cases):
    tested = {op for case in cases for op in case.operators}
    assert set(OPERATORS) - tested <= {"Cast", "GlobalLpPool", "IsInf", "IsNaN"}
    assert len(cases) > 400


def test_every_test_that_does_not_apply_has_a_reason(all_cases):
    """And every reason has a test."""
    reasons = {case.reason for case in all_cases if case.program is None}
    assert reasons == {
        *node_tests.REASONS.values(),
        node_tests.OTHER,
        node_tests.NARROW,
        node_tests.INFINITE,
    }


@pytest.mark.parametrize(
    "name", ["test_softmax_axis_1", "test_layer_normalization_2d_axis1", "test_maxpool_2d_ceil"]
)
def test_operators_in_rtl(name, cases, tmp_path):
    case = next(case for case in cases if case.name == name)
    assert node_tests.judge(case, RtlEngine(CONFIGS["tiny"], work=tmp_path)).passed


@pytest.mark.regress
def test_forty_operator_tests_in_rtl(tmp_path):
    for case in node_tests.sample(40):
        assert node_tests.judge(case, RtlEngine(BASIC, work=tmp_path), KNOWN).passed, case.name


def test_bounds_are_close_and_notice_a_wrong_operation(cases):
    case = next(case for case in cases if case.name == "test_tanh")
    assert 0.1 < node_tests.judge(case, GoldenEngine(BASIC), KNOWN).share <= 1
    step = next(s for s in case.program.steps if isinstance(s, Map))
    wrong = Program(
        "wrong",
        case.program.tensors,
        [replace(step, expression=ex.sigmoid(variable(0)))],
        case.program.inputs,
        case.program.outputs,
    )
    assert not node_tests.judge(replace(case, program=wrong), GoldenEngine(BASIC), KNOWN).passed


@pytest.mark.parametrize(
    ("rule", "applies"),
    [
        ("constant 'y' holds 1 NaN", False),
        ("constant 'y' holds 1 NaN; a tensor that holds nothing", True),
        ("mod takes integers, not real numbers", False),
        ("where takes integers, not real numbers", True),
    ],
)
def test_a_reason_is_of_a_whole_rule(rule, applies):
    assert (node_tests.reason_of(Refusal("n", "Op", rule)) == "") is applies


def test_an_element_without_a_bound_must_be_as_pal_arithmetic_has_it(cases, monkeypatch):
    case = next(case for case in cases if case.name == "test_softmax_large_number")
    verdict = node_tests.judge(case, GoldenEngine(BASIC), KNOWN)
    assert (verdict.passed, verdict.unbounded) == (True, 4)
    assert verdict.off == pytest.approx(verdict.predicted, rel=1e-2)
    assert verdict.off > 0.3
    real = node_tests.run

    def wrong(*given):
        return {name: np.flip(x, -1) + 0.5 for name, x in real(*given).items()}

    monkeypatch.setattr(node_tests, "run", wrong)
    bounds = node_tests.error_bounds
    monkeypatch.setattr(
        node_tests,
        "error_bounds",
        lambda *given: {n: replace(b, error=b.error + np.inf) for n, b in bounds(*given).items()},
    )
    assert not node_tests.judge(case, GoldenEngine(BASIC), KNOWN).passed


def test_bounds_are_infinite_where_a_function_is_not_defined():
    program = lower(create([("Log", ["x"], ["y"], {})], {"x": [2]}), "log")
    compiled = compile_program(program, BASIC, known=KNOWN)
    bounds = error_bounds(compiled, {"x": np.array([0.0, 2.0])})["y"]
    assert np.isinf(bounds.error[0])
    assert bounds.error[1] < 1e-2
