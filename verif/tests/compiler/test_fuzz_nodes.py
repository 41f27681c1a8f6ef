"""Models that grow: of every operator, valid, and understood as the reference has them."""

from collections import Counter

import numpy as np
import onnx
import pytest

from compiler.front.registry import OPERATORS
from verif.fuzz_models import understood
from verif.stimulus.nodes import NODES, Growing, Unfit, grown


def test_every_operator_of_the_compiler_is_grown():
    assert not set(OPERATORS) - set(NODES)


@pytest.mark.parametrize("op", sorted(NODES))
def test_generators_make_valid_models(op):
    made = 0
    for seed in range(40):
        rng = np.random.default_rng([7, seed])
        growing = Growing(rng, int(rng.integers(7, 26)))
        try:
            NODES[op](growing, op)
        except Unfit:
            continue
        model, inputs = growing.model()
        onnx.checker.check_model(model)
        assert set(inputs) == {v.name for v in model.graph.input}
        assert op in {n.op_type for n in model.graph.node}
        made += 1
    assert made >= 2


def test_a_thousand_models_mean_what_the_reference_computes():
    """In float64, before the array rounds; few are refused, all of these in a line."""
    tally = Counter(
        understood(*grown(np.random.default_rng([11, i]))[1:]).kind for i in range(1000)
    )
    assert not tally["WRONG"] + tally["TRACEBACK"]
    assert tally["right"] >= 900
    assert tally["ran, no reference"] <= 20
