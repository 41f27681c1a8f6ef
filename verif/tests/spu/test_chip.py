"""A chip in RTL: descriptors from a ring in memory, faults, and the next doorbell."""

import json
from dataclasses import asdict

from rtl import emit, simulator
from rtl.chip import chip_verilog
from spu.arch.chip import chip_of
from spu.arch.params import CONFIGS
from spu.engine.rtl_run import BUILD

ARCH = CONFIGS["tiny"]


def test_a_chip_runs_its_ring(tmp_path):
    text, tiles = chip_verilog(chip_of(ARCH)), emit.tile_modules(ARCH)
    build = simulator.build(text, "chip", BUILD / "sim-cache", blocks=tiles)
    build.run("verif.benches.chip_bench", tmp_path, 8, {"SPU_CHIP": json.dumps(asdict(ARCH))})
