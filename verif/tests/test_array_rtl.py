"""The array in RTL: random programs against the golden model; loading and host registers."""

import numpy as np
import pytest

from compiler.driver import compile_network
from compiler.graph import Layer, Network
from spu.arch import bitstream
from spu.arch.params import CONFIGS
from verif import loader_bench
from verif.golden.array import GoldenArray
from verif.rtl_engine import build_rtl, run_rtl
from verif.tests.programs import random_program

TINY = CONFIGS["tiny"]


def _run(arch, seed, tmp_path, stall_share):
    iterations = 12
    image, inputs = random_program(arch, seed, iterations)
    content = bitstream.encode(image)
    golden = GoldenArray(bitstream.decode(content, arch)).run(inputs, iterations)
    result = run_rtl(build_rtl(arch), arch, content, golden, inputs, iterations, tmp_path,
                     stall_share=stall_share, seed=seed)
    assert result.difference is None, result.difference
    assert result.done
    assert result.outputs == golden.outputs
    counters = result.counters
    assert counters["ACTIVE"] == golden.cycles == result.compared_cycles
    assert counters["CYCLES"] == result.run_cycles == (
        counters["ACTIVE"] + counters["HELD_INPUT"] + counters["HELD_OUTPUT"])
    return golden


@pytest.mark.parametrize("seed", range(6))
def test_random_programs_run_as_in_the_golden_model(seed, tmp_path):
    golden = _run(TINY, seed, tmp_path, stall_share=0.4 * (seed % 2))
    assert (golden.links != 0).any(axis=(0, 3)).all()  # every tile sent something


@pytest.mark.regress
@pytest.mark.parametrize("seed", range(100, 130))
@pytest.mark.parametrize("name", list(CONFIGS))
def test_many_random_programs_run_as_in_the_golden_model(name, seed, tmp_path):
    _run(CONFIGS[name], seed, tmp_path, stall_share=0.3)


def test_loader_and_host_registers(tmp_path):
    layer = Layer("layer", np.ones((16, 8)), np.zeros(8), relu=False)
    program = tmp_path / "program.spub"
    program.write_bytes(compile_network(Network("small", (layer,)), TINY).content)
    build_rtl(TINY).run("verif.loader_bench", tmp_path, expected=loader_bench.COUNT,
                        environment={"SPU_ARCH": "tiny", "SPU_PROGRAM": str(program)})
