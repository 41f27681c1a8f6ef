"""A matrix product on the array, driven as a host would drive it."""

import numpy as np

from compiler.map.product.gemm import gemm
from pal_units import model
from spu.arch.params import CONFIGS
from spu.driver import Driver, run
from spu.driver.golden_port import GoldenPort
from spu.engine.streams import expected_words, input_streams, result_codes

arch, rng, bias = CONFIGS["basic"], np.random.default_rng(0), 8 * 6
x, weight = rng.uniform(-1, 1, (16, 64)), rng.normal(size=(64, 24))
plan = gemm(arch, weight, rows=len(x), t_out=bias)
driver = Driver(GoldenPort(arch), arch)
run(driver.load(plan.image))
words = run(driver.run(input_streams(plan, x), {0: plan.rounds}, expected_words(plan)))
error = model.decode16(result_codes(plan, words), bias) - x @ weight
print(
    f"{plan.macs} multiply-accumulates in {plan.cycles} cycles, "
    f"{10 * np.log10(((x @ weight) ** 2).sum() / (error**2).sum()):.1f} dB"
)
