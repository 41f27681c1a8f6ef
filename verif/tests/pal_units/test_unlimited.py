"""PAL arithmetic without limits: as the golden model where that has none either."""

import numpy as np
import onnx
import pytest

from compiler.front.lower import lower
from compiler.map.steps import compile_program
from spu.arch.params import CONFIGS
from spu.engine.array import GoldenEngine
from spu.engine.host import run
from verif.expected import unlimited

TEXT = """<ir_version: 8, opset_import: ["": 18]>
all (float[3, 40] x, float[3, 40] z) => (float[3, 40] sums, float[3, 40] quotients,
    float[3, 40] roots, float[3, 40] inverse, float[3, 40] powers, float[3, 40] logarithms,
    float[3, 3] products, float[3, 40] normal) {
  sums = Sub (x, z)
  quotients = Div (x, z)
  size = Abs (x)
  roots = Sqrt (size)
  inverse = Reciprocal (roots)
  powers = Exp (z)
  logarithms = Log (size)
  turned = Transpose (z)
  products = MatMul (x, turned)
  normal = LayerNormalization <axis = -1> (x, scale)
}"""


@pytest.fixture(scope="module")
def compiled():
    model = onnx.parser.parse_model(TEXT)
    model.graph.initializer.append(
        onnx.numpy_helper.from_array(np.linspace(0.5, 2, 40, dtype=np.float32), "scale")
    )
    return compile_program(lower(onnx.shape_inference.infer_shapes(model), "all"), CONFIGS["basic"])


def _inputs(size):
    """None near zero, so that quotients and logarithms stay small."""
    rng = np.random.default_rng(5)
    normal = {name: rng.standard_normal((3, 40)) for name in "xz"}
    return {name: size * (x + np.copysign(0.1, x)) for name, x in normal.items()}


def test_it_is_the_golden_model_bit_for_bit_where_nothing_saturates(compiled):
    engine = GoldenEngine(CONFIGS["basic"])
    got = run(compiled, engine, _inputs(1))
    wanted = unlimited.outputs(compiled, _inputs(1))
    assert not engine.nodes
    assert got.keys() == wanted.keys()
    for name, values in wanted.items():
        np.testing.assert_array_equal(got[name], values, name)


def test_it_goes_on_where_the_golden_model_saturates(compiled):
    given = _inputs(1e4)
    engine = GoldenEngine(CONFIGS["basic"])
    got = run(compiled, engine, given)["products"]
    real = given["x"] @ given["z"].T
    noise = unlimited.outputs(compiled, given)["products"] - real
    assert engine.nodes
    assert ((got - real) ** 2).sum() > 0.1 * (real**2).sum()
    assert (noise**2).sum() < 1e-3 * (real**2).sum()
