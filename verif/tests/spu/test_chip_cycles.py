"""A chip in RTL before a memory in RTL, and the golden chip: every byte, as many cycles."""

import json
from dataclasses import asdict

import pytest

from rtl import emit, simulator
from spu.arch.chip import chip_of
from spu.arch.external import ExternalMemory
from spu.engine.rtl_run import BUILD
from verif.benches.chip_cycles_bench import Plan
from verif.benches.chip_system import system_verilog
from verif.random_programs import ARRAYS

MEMORY = ExternalMemory(1 << 16)


@pytest.mark.parametrize("name", ["2x2"])
def test_random_programs(name, tmp_path):
    chip = chip_of(ARRAYS[name])
    text = system_verilog(chip, MEMORY)
    tiles = emit.tile_modules(chip.arch)
    build = simulator.build(text, "system", BUILD / "sim-cache", blocks=tiles)
    plan = Plan(asdict(chip.arch), asdict(MEMORY), [[3000], [3001, 3003, 3004]])
    environment = {"SPU_CHIP": json.dumps(asdict(plan))}
    build.run("verif.benches.chip_cycles_bench", tmp_path, 2, environment, seed=1)
