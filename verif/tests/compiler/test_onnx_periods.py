"""ONNX models: rounding to whole numbers, sines and cosines."""

import numpy as np
import pytest

from compiler.front.lower import lower
from compiler.ir import expressions as ex
from compiler.map.steps import compile_program
from spu.arch.errors import InputError
from spu.arch.params import CONFIGS
from spu.engine.array import GoldenEngine
from spu.engine.host import run
from verif.expected.error_bounds import error_bounds
from verif.tests.onnx_models import of_node, results

BASIC = CONFIGS["basic"]
ROUNDINGS = {"Floor": np.floor, "Ceil": np.ceil, "Round": np.rint}
WAVES = {"Sin": np.sin, "Cos": np.cos}


def array(op, x):
    program = lower(of_node(op, 22, {"x": [len(x)]}), "m")
    compiled = compile_program(program, BASIC)
    got = run(compiled, GoldenEngine(BASIC), {"x": x})["y"]
    return got, error_bounds(compiled, {"x": x})["y"], program.error


@pytest.mark.parametrize("op", ROUNDINGS)
def test_roundings_of_all_that_is_not_next_to_a_corner(op):
    rng = np.random.default_rng(6)
    x = np.concatenate([rng.uniform(-30, 30, 300), rng.uniform(-1, 1, 50), [0, 0.25, -0.25]])
    got, bounds, formula = array(op, x)
    wanted = ROUNDINGS[op](x)
    assert formula == 0
    corner = np.abs(x) % 1 - 0.5 if op == "Round" else x - np.rint(x)
    apart = np.abs(corner) > ex.NEAR * np.abs(x)
    assert np.array_equal(bounds.value[apart], wanted[apart])
    assert (np.abs(bounds.value - wanted) <= 1).all()
    assert (np.abs(got - bounds.value) <= bounds.error).all()
    certain = (bounds.error < 0.5) & (np.abs(corner) > 2e-3 * np.abs(x))
    assert certain.sum() > 0.8 * len(x)
    assert np.allclose(got[certain], wanted[certain], rtol=2e-3)


@pytest.mark.parametrize("op", ROUNDINGS)
def test_whole_numbers_and_halves_are_not_rounded_away(op):
    """11 is held as 10.9966, 2.5 as 2.5004."""
    x = np.concatenate([np.arange(-40.0, 41), np.arange(-20.5, 21) if op == "Round" else []])
    got, _, _ = array(op, x)
    assert np.allclose(got, ROUNDINGS[op](x), rtol=2e-3)


@pytest.mark.parametrize("op", ROUNDINGS)
def test_no_whole_number_is_another_one(op):
    """Though from 1024 on 2^-10 of a number is more than 1."""
    x = np.concatenate([np.arange(0.0, 2100), np.arange(-2100.0, 0), [1364.3, 1364.7, -1500.4]])
    _, bounds, _ = array(op, x)
    wanted = ROUNDINGS[op](x)
    assert np.array_equal(bounds.value[:-3], x[:-3])
    assert (np.abs(bounds.value - wanted)[-3:] <= 1).all()


def test_large_numbers_are_themselves():
    x = np.array([1999.5, -3000.3, 4000.2])
    for op, formula in ROUNDINGS.items():
        assert np.allclose(array(op, x)[0], formula(x), rtol=2e-3)
        assert np.allclose(results(of_node(op, 13, {"x": [3]}), x=x), x, atol=1)


@pytest.mark.parametrize("op", WAVES)
def test_waves_are_within_their_bounds(op):
    rng = np.random.default_rng(7)
    x = np.concatenate([rng.uniform(-48, 48, 300), [0, 1e-3, -1e-2, np.pi / 2, -np.pi, 6, 6.28]])
    got, bounds, error = array(op, x)
    assert (np.abs(got - WAVES[op](x)) <= bounds.error + error).all()
    assert np.abs(got - WAVES[op](x)).max() < 0.1
    small = np.abs(x) < 3
    assert np.abs(got - WAVES[op](x))[small].max() < 0.01
    assert np.median(bounds.error) < 0.2


def test_sines_of_small_angles_are_the_angles():
    x = np.array([1e-3, -1e-2, 0.1, 0.0])
    assert np.allclose(array("Sin", x)[0], np.sin(x), rtol=5e-3, atol=0)


@pytest.mark.parametrize("op", WAVES)
def test_angles_of_which_nothing_is_left_are_refused(op):
    with pytest.raises(InputError, match=f"less the magnitude of what {op} takes, 'x', must not"):
        array(op, np.array([1.0, ex.MOST_ANGLE + 1]))
