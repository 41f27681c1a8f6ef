"""The array in RTL and as a model of clock cycles: equal in every one."""

import json
from dataclasses import asdict

import pytest

from spu.engine.rtl_run import build_rtl
from verif.benches.random_bench import Plan
from verif.observed import CI_ARRAYS, FIRST_SEED
from verif.random_programs import ARRAYS


@pytest.mark.parametrize("name", CI_ARRAYS)
def test_random_programs(name, tmp_path):
    arch = ARRAYS[name]
    plan = Plan(asdict(arch), FIRST_SEED, 6)
    build_rtl(arch).run(
        "verif.benches.array_cycles_bench",
        tmp_path,
        expected=1,
        environment={"SPU_RANDOM": json.dumps(asdict(plan))},
    )
