"""Products of a step run side by side on the golden engine: as if they ran one by one."""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import onnx
import pytest

from compiler.front.lower import lower
from compiler.map.steps import compile_program
from spu.arch.params import CONFIGS
from spu.engine.array import Engine, GoldenEngine, Run
from spu.engine.errors import RunError
from spu.engine.host import run
from spu.model.array import GoldenArray, InputExhausted
from verif.digits.cnn import MODEL as CNN
from verif.digits.data import split
from verif.faults import FaultyEngine, product_runs
from verif.tests.onnx_models import create

BASIC = CONFIGS["basic"]


class OneByOne(GoldenEngine):
    """The golden engine without groups."""

    run_each = Engine.run_each


@dataclass
class Watched(GoldenEngine):
    """Counts the models of the array that products took."""

    groups: int = 0

    def _together(self, runs):
        self.groups += 1
        return super()._together(runs)


def _random(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


def _attention():
    """Products of computed operands, a batch of six, each under its own tensor biases."""
    scales = np.exp2(np.arange(6) * 2.0)[:, None, None]
    given = {"a": _random(1, 6, 5, 40) * scales, "b": _random(2, 6, 40, 9) / scales}
    shapes = {name: list(x.shape) for name, x in given.items()}
    return create([("MatMul", ["a", "b"], ["y"], {})], shapes), given, {}


def _deep():
    """Weights for three runs of outputs and two of the depth."""
    weights = _random(3, 600, 300).astype(np.float32)
    return (
        create([("MatMul", ["x", "w"], ["y"], {})], {"x": [4, 600]}, {"w": weights}),
        {"x": _random(4, 4, 600)},
        {},
    )


def _above_the_top():
    """Results that are far beyond what the inputs for calibration led to."""
    model, given, _ = _deep()
    return model, {"x": given["x"] * 4000}, {"calibrate": given}


def _digits():
    return onnx.load(CNN), {"image": split()[2][:2].reshape(2, 1, 8, 8)}, {}


def _keep(seen, step, sources, codes):
    seen[step] = codes.copy()


@pytest.mark.parametrize("make", [_attention, _deep, _above_the_top, _digits])
def test_runs_side_by_side_give_what_they_give_one_by_one(make):
    onnx_model, given, options = make()
    package = compile_program(
        lower(onnx_model, "m", len(next(iter(given.values())))), BASIC, **options
    )
    found = []
    for engine in (Watched(BASIC), OneByOne(BASIC)):
        seen: dict = {}
        look = partial(_keep, seen)
        out = run(package, engine, given, watch=look)
        found.append((engine, seen, out))
    (together, seen, out), (alone, want, wanted) = found
    assert seen.keys() == want.keys()
    assert all((seen[i] == want[i]).all() for i in want)
    assert all((out[name] == wanted[name]).all() for name in wanted)
    for name in ("cycles", "runs", "tiles", "nodes", "counters"):
        assert getattr(together, name) == getattr(alone, name), name
    assert bool(together.saturated) == (make is _above_the_top)
    assert together.groups < len(product_runs(package)) or make is _digits


def _runs(count):
    """Runs of products of one schedule, of operands from a package."""
    model, given, _ = _deep()
    recorded = []

    class Recorder(GoldenEngine):
        def run_each(self, runs):
            recorded.extend(runs)
            return super().run_each(runs)

    run(compile_program(lower(model, "m"), BASIC), Recorder(BASIC), given)
    assert len(recorded) >= count
    return recorded[:count]


def test_a_fault_in_one_of_the_runs_stays_in_it():
    runs = _runs(4)
    right = GoldenEngine(BASIC).run_each(runs)
    wrong = next(FaultyEngine(BASIC, seed=1)._wrong(runs[2].image))
    faulty = [*runs[:2], replace(runs[2], image=wrong), runs[3]]
    together, alone = GoldenEngine(BASIC), OneByOne(BASIC)
    found = together.run_each(faulty)
    assert found == alone.run_each(faulty)
    assert [a == b for a, b in zip(found, right, strict=True)] == [True, True, False, True]
    assert (together.tiles, together.cycles) == (alone.tiles, alone.cycles)


def test_runs_that_starve_or_take_other_cycles_are_refused_as_one_by_one():
    runs = _runs(4)
    column = next(c for c, words in runs[1].inputs.items() if words)
    short = {c: words[:-1] if c == column else words for c, words in runs[1].inputs.items()}
    for fault, error in (({"inputs": short}, InputExhausted), ({"cycles": lambda _: 7}, RunError)):
        bad = [runs[0], replace(runs[1], **fault), *runs[2:]]
        said = []
        for engine in (GoldenEngine(BASIC), OneByOne(BASIC)):
            with pytest.raises(error) as caught:
                engine.run_each(bad)
            said.append(str(caught.value))
        assert said[0] == said[1]


def test_results_keep_the_order_of_the_runs():
    """Runs of several schedules, mixed."""
    runs = _runs(6)
    mixed: list[Run] = [runs[0], runs[-1], runs[1], runs[-2]]
    found = GoldenEngine(BASIC).run_each(mixed)
    for each, out in zip(mixed, found, strict=True):
        assert out == GoldenArray(each.image).run(each.inputs, each.iterations).outputs
