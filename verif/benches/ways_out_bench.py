"""cocotb tests of the ways out of a run, of reset, and of the window's two channels.

As ``host_bench``, whose helpers they use.
"""

from typing import Any

import cocotb
from cocotb.triggers import ClockCycles
from cocotbext.axi import AxiResp

from spu.arch import regmap
from spu.arch.bitstream import Image
from spu.arch.config import SequencerRegister, Space
from spu.driver import Driver, DriverError
from verif.benches.host_bench import _case, _golden
from verif.benches.loading_bench import begin_driver
from verif.benches.loading_scenarios import fails, refused

#: Number of tests in this module.
COUNT = 4


@cocotb.test(timeout_time=60, timeout_unit="ms")
async def reads_and_writes_of_the_window_at_once_are_all_done(dut: Any) -> None:
    """The write arrives at one of the places that the reads pass by, and no read takes it."""
    driver, port = await begin_driver(dut)
    await driver.load(_case(driver).image)
    await driver.load(_case(driver).image, changes=False)
    for delay in range(8):
        await driver.read_rows(Space.CONTEXT, (0, 0), [1])
        await driver.write("WINDOW_ROW", 2)
        read = cocotb.start_soon(port.lite.read(driver.map["WINDOW_DATA"], 4))
        await ClockCycles(dut.clk, delay + 1)
        value = 0xAB00 + delay
        write = await port.lite.write(driver.map["WINDOW_DATA"], value.to_bytes(4, "little"))
        assert (write.resp, (await read).resp) == (AxiResp.OKAY, AxiResp.OKAY)
        assert await driver.read("WINDOW_ROW") == 3
        shadow = (await driver.read_rows(Space.CONTEXT, (0, 0), [2], shadow=True))[0]
        assert value in (shadow & 0xFFFF_FFFF, shadow >> 32), (delay, hex(shadow))


@cocotb.test(timeout_time=60, timeout_unit="ms")
async def a_run_that_never_ends_can_be_left(dut: Any) -> None:
    """By abort, reset and watchdog, while a load waits for the end of the run."""
    driver, port = await begin_driver(dut)
    case = _case(driver)
    expected = _golden(case)
    words = {c: len(stream) for c, stream in expected.outputs.items()}
    rounds = dict(enumerate(case.rounds))
    for way in ("abort", "reset", "watchdog"):
        await driver.load(case.image)
        # Half of the input: the run holds for the other half.
        for column, stream in case.inputs.items():
            await port.send(column, stream[: len(stream) // 2])
        await driver.start(rounds)
        await driver.start(rounds)
        await refused(driver.start(rounds), "start pending")
        await ClockCycles(dut.clk, 300)
        assert (await driver.state()).running
        await refused(driver.flush(), "running")
        await driver.load(Image(driver.arch), wait=False, changes=False)
        assert await driver.read("STATUS") & regmap.STATUS_COMMITTING
        await refused(driver.commit(), "busy")
        if way == "watchdog":
            await driver.watchdog(50)
            await ClockCycles(dut.clk, 100)
            await driver.watchdog(0)
        else:
            await getattr(driver, way)()
        await ClockCycles(dut.clk, 4)
        state = await driver.state()
        assert not any((state.running, state.starting, state.done))
        assert state.aborted == (way != "reset")
        assert state.timed_out == (way == "watchdog")
        assert state.loaded == (way != "reset")
        assert not await driver.read("STATUS") & regmap.STATUS_COMMITTING
        if way != "reset":
            await fails(
                driver.finish(),
                DriverError,
                "by the watchdog" if way == "watchdog" else "was aborted",
            )
        else:
            await refused(driver.start(rounds), "no program")
        for _ in range(8):  # words of the aborted run that the FIFOs had no room for follow
            await driver.flush()
            await ClockCycles(dut.clk, 20)
        for column in words:
            await port.receive(column)
        await driver.load(case.image)
        assert await driver.run(case.inputs, rounds, words) == expected.outputs, way


@cocotb.test(timeout_time=60, timeout_unit="ms")
async def a_program_without_end_does_not_begin(dut: Any) -> None:
    driver, _port = await begin_driver(dut)
    case = _case(driver)
    expected = _golden(case)
    endless = Image(driver.arch)
    endless.write(Space.SEQUENCER, (0, 0), SequencerRegister.II, {"slots_less_1": 1})
    endless.write(Space.SEQUENCER, (0, 0), SequencerRegister.SPAN, {"slot": 5, "stage": 0})
    await driver.load(endless)
    await refused(driver.start({0: 1}), "no end")
    # Asked for before it is there: it does not begin after the run under way, and tells.
    await driver.load(case.image)
    await driver.start(dict(enumerate(case.rounds)))
    await driver.start({0: 1})
    await driver.load(endless, wait=False)
    for column, stream in case.inputs.items():
        await driver.port.send(column, stream)
    await ClockCycles(dut.clk, 1000)
    state = await driver.state()
    assert state.no_end
    assert not any((state.running, state.starting, state.done))
    assert (await driver.counters())["ACTIVE_0"] == expected.cycles
    for column in range(driver.arch.cols):
        await driver.port.receive(column)
    await driver.load(case.image)
    words = {c: len(stream) for c, stream in expected.outputs.items()}
    assert await driver.run(case.inputs, dict(enumerate(case.rounds)), words) == expected.outputs


@cocotb.test(timeout_time=60, timeout_unit="ms")
async def data_memories_are_zero_after_every_reset(dut: Any) -> None:
    """Whatever they hold at power-up, or held before; until then, nothing is done with them."""
    driver, port = await begin_driver(dut)
    case = _case(driver)
    words = {c: len(stream) for c, stream in _golden(case).outputs.items()}
    for reset in range(3):
        assert await driver.read("STATUS") & regmap.STATUS_LOADING
        if reset == 0:
            await refused(driver.read_rows(Space.MEMORY, (0, 0), [0]))
        elif reset == 1:
            await refused(driver.write_row(Space.MEMORY, (0, 0), 0, 1))
        else:
            await refused(driver.commit(), "no bank")
        if reset == 1:  # a file that comes meanwhile waits
            await driver.load(case.image)
            assert (
                await driver.run(case.inputs, dict(enumerate(case.rounds)), words)
                == _golden(case).outputs
            )
        else:
            await _until_loaded(driver)
            await _all_zero(driver)
            await driver.load(case.image)
            assert not await _all_zero(driver, raises=False)
        dut.rst.value = 1
        await ClockCycles(dut.clk, 3)
        dut.rst.value = 0
        driver = Driver(port, driver.arch)


async def _until_loaded(driver: Driver) -> None:
    while await driver.read("STATUS") & regmap.STATUS_LOADING:
        await driver.port.wait()


async def _all_zero(driver: Driver, raises: bool = True) -> bool:
    rows = [
        await driver.read_rows(Space.MEMORY, tile, range(driver.arch.memory_words), shadow)
        for tile in driver.arch.memory_tiles
        for shadow in (False, True)
    ]
    assert rows
    assert not raises or not any(map(any, rows)), rows
    return not any(map(any, rows))
