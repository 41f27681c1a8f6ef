"""Random programs: what they show at outputs, and that faults of the units reach them."""

from collections import Counter

import numpy as np
import pytest

from spu.arch.context import Op
from spu.model import matrix, units
from spu.model.array import GoldenArray, InputExhausted
from verif import observed
from verif.random_programs import ARRAYS
from verif.stimulus.programs import FOCUS, random_case

SEEDS = range(observed.FIRST_SEED, observed.FIRST_SEED + observed.COUNT)
#: Words that each kind must show at least, in both arrays of CI together.
LEAST = 10


def _left(golden, case):
    """Output words and data memories that a program leaves."""
    try:
        outputs = golden.run(case.inputs, case.rounds, keep_links=False).outputs
    except InputExhausted:  # of a region that waits for words of another one
        outputs = {}
    return outputs, {tile: words.tobytes() for tile, words in golden.memory.items()}


@pytest.fixture(scope="module")
def right():
    """The programs of CI with what they prefer, what they leave, and what reaches outputs."""
    programs = []
    for name in observed.CI_ARRAYS:
        for seed in SEEDS:
            case = random_case(ARRAYS[name], seed)
            golden = GoldenArray(case.image, region_model=observed.ObservedRegion)
            preferred = FOCUS[list(FOCUS)[seed % len(FOCUS)]]
            programs.append((case, preferred, _left(golden, case), observed.observed(golden)))
    return programs


def test_every_kind_of_result_reaches_outputs(right, record_property):
    """The programs that RTL and golden model run in CI; the least counts are printed."""
    seen: Counter[tuple[str, str]] = Counter()
    for *_, counts in right:
        seen.update(counts)
    few = {}
    for kind, names in observed.KINDS.items():
        least = min(names, key=lambda name, kind=kind: seen[kind, name])
        record_property("cases", (f"least {kind}: {least}", seen[kind, least]))
        few |= {(kind, name): seen[kind, name] for name in names if seen[kind, name] < LEAST}
    assert few == {}


def _close_and_last_swapped(monkeypatch):
    mac = matrix.MatrixUnit.mac
    monkeypatch.setattr(matrix.MatrixUnit, "mac", lambda self, *a: mac(self, *a[:-2], a[-1], a[-2]))


def _nan_of_drained_results_lost(monkeypatch):
    drained = units.drained
    monkeypatch.setattr(
        units,
        "drained",
        lambda results, *a: drained([(r[0], np.zeros_like(r[1]), *r[2:]) for r in results], *a),
    )


def _changed(op, change):
    def patch(monkeypatch):
        vector, sums = units.vector, units.sums
        monkeypatch.setattr(
            units, "vector", lambda o, *a: change(vector, o, *a) if o is op else vector(o, *a)
        )
        monkeypatch.setattr(
            units, "sums", lambda o, *a: change(sums, o, *a) if o is op else sums(o, *a)
        )

    return patch


def _as(other):
    return lambda function, op, *arguments: function(other, *arguments)


def _of_zero(function, op, *arguments):
    """The reciprocal and the reciprocal root of zero are zero."""
    out = function(op, *arguments).copy()
    data, operand = out[..., :-2], arguments[0][..., :-2]
    data[operand == 0] = 0
    return out


def _least_of_half(function, op, a, *arguments):
    """LANE_MIN of the first half of the lanes."""
    half = (a.shape[-1] - 2) // 2
    copied = a.copy()
    copied[..., half : 2 * half] = a[..., :half]
    return function(op, copied, *arguments)


#: The same faults as in the RTL: what it compares with the golden model, it would find.  With the
#: operation whose programs are tried first.
FAULTS = {
    "close and last swapped": (Op.ADD, _close_and_last_swapped),
    "NaN of drained results lost": (Op.ADD, _nan_of_drained_results_lost),
    "RECIP of zero": (Op.RECIP, _changed(Op.RECIP, _of_zero)),
    "RSQRT of zero": (Op.RSQRT, _changed(Op.RSQRT, _of_zero)),
    "lane maximum is the minimum": (Op.LANE_MAX, _changed(Op.LANE_MAX, _as(Op.LANE_MIN))),
    "MAX is the minimum": (Op.MAX, _changed(Op.MAX, _as(Op.MIN))),
    "LANE_MIN of half of the lanes": (Op.LANE_MIN, _changed(Op.LANE_MIN, _least_of_half)),
    "sign of SUB": (Op.SUB, _changed(Op.SUB, _as(Op.ADD))),
    "sign of ADD": (Op.ADD, _changed(Op.ADD, _as(Op.SUB))),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_shows_in_what_the_programs_of_ci_leave(fault, right, monkeypatch):
    """In output words or data memories, which every comparison with the RTL looks at."""
    op, patch = FAULTS[fault]
    patch(monkeypatch)
    likely = sorted(right, key=lambda program: (op not in program[1], len(program[1])))
    assert any(_left(GoldenArray(case.image), case) != want for case, _, want, _ in likely)
