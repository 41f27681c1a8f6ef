"""cocotb tests: the scenarios of ``loading_scenarios`` on an array, one test each.

The environment names the architecture, as for ``host_bench``.
"""

import json
import os
from collections.abc import Callable
from typing import Any

import cocotb

from spu.arch import regmap
from spu.arch.params import from_parameters
from spu.driver import Driver
from spu.driver.cocotb_port import CocotbPort
from verif.benches.loading_scenarios import scenarios


async def begin_driver(dut: Any) -> tuple[Driver, CocotbPort]:
    """A driver of the array after a reset."""
    arch = from_parameters(json.loads(os.environ["SPU_ARCH"]))
    port = CocotbPort(dut, arch, range(arch.cols), range(arch.cols), wait_cycles=8)
    await port.reset()
    return Driver(port, arch), port


def _test(scenario: Callable) -> Any:
    async def test(dut: Any) -> None:
        driver, _ = await begin_driver(dut)
        while await driver.read("STATUS") & regmap.STATUS_LOADING:  # data memories are zeroed
            await driver.port.wait()
        await scenario(driver, cocotb.start_soon)

    test.__name__ = test.__qualname__ = scenario.__name__
    return cocotb.test(timeout_time=60, timeout_unit="ms")(test)


if "SPU_ARCH" in os.environ:
    globals().update(
        {
            scenario.__name__: _test(scenario)
            for scenario in scenarios(from_parameters(json.loads(os.environ["SPU_ARCH"])))
        }
    )
