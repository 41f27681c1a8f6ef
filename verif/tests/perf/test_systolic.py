"""Systolic arrays: the closed forms against words that move."""

import numpy as np
import pytest

from perf.systolic import Dataflow, cycles, folds, simulate
from spu.arch.errors import UserError
from verif.stimulus.systolic_cases import cases


def test_closed_forms_are_the_cycles_of_words_that_move():
    rng = np.random.default_rng(1)
    for case in cases(200, seed=0, most=12, largest=8):
        x, w = rng.integers(-9, 9, (case.m, case.k)), rng.integers(-9, 9, (case.k, case.n))
        y, last = simulate(case.dataflow, x, w, case.rows, case.columns)
        np.testing.assert_array_equal(y, x @ w)
        sizes = (case.m, case.n, case.k, case.rows, case.columns)
        assert last == cycles(case.dataflow, *sizes), case


@pytest.mark.parametrize(
    ("dataflow", "last"),
    # 2 x 2 folds of 8 + 4 + 4 - 2 cycles, and 2 x 2 of 5 + 2 * 4 + 4 - 2, and 2 x 2 of 6 + 8 + 2.
    [(Dataflow.OUTPUT, 55), (Dataflow.WEIGHT, 59), (Dataflow.INPUT, 63)],
)
def test_folds_follow_each_other(dataflow, last):
    assert cycles(dataflow, m=5, n=6, k=8, rows=4, columns=4) == last
    assert folds(dataflow, m=5, n=6, k=8, rows=4, columns=4) == 4


@pytest.mark.parametrize("name", ["m", "n", "k", "rows", "columns"])
def test_a_size_below_1_is_refused(name):
    sizes = dict.fromkeys(("m", "n", "k", "rows", "columns"), 3) | {name: 0}
    with pytest.raises(UserError, match=f"{name} must be at least 1, not 0"):
        cycles(Dataflow.WEIGHT, **sizes)
