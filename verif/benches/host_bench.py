"""cocotb tests of loading, host registers, readback and bring-up on a small array.

The environment names the architecture (``SPU_ARCH``, its parameters as JSON).  Programs are
random ones, which hold for input until they get it.
"""

from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import ClockCycles, RisingEdge
from cocotbext.axi import AxiResp

from spu.arch import bitstream, regmap
from spu.arch.bitstream import Image
from spu.arch.config import SequencerRegister, Space
from spu.arch.context import LINKS
from spu.arch.params import ALWAYS
from spu.driver import Driver, DriverError
from spu.engine.bench import Lockstep, link_bits
from spu.model.array import GoldenArray, Result
from verif.benches.loading_bench import begin_driver
from verif.benches.loading_scenarios import load_status, refused, rows_of, sealed, words_of
from verif.stimulus.programs import Case, random_case

#: Number of tests in this module.
COUNT = 9


def _case(driver: Driver, seed: int = 0) -> Case:
    """A random program that reads streams, the same for every test."""
    case = random_case(driver.arch, seed, "all")
    assert case.inputs
    return case


def _golden(case: Case) -> Result:
    return GoldenArray(case.image).run(case.inputs, case.rounds)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def identification_registers_tell_the_architecture(dut: Any) -> None:
    driver, _ = await begin_driver(dut)
    await driver.identify()
    for name, value in regmap.constant_registers(driver.arch).items():
        assert await driver.read(name) == value, name


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def unmapped_and_read_only_addresses_answer_an_error(dut: Any) -> None:
    driver, port = await begin_driver(dut)
    lite, registers = port.lite, driver.map
    assert (await lite.read(4 * len(registers), 4)).resp == AxiResp.SLVERR
    for name, data in (
        ("STATUS", b"\1\0\0\0"),
        ("ITERATIONS_0", b"\0\0\1\0"),
        ("ITERATIONS_0", b"\7"),
        ("CONTROL", b"\x10\0\0\0"),
        ("START", b"\x80\0\0\0"),
        ("HALT", b"\x80\0\0\0"),
    ):
        assert (await lite.write(registers[name], data)).resp == AxiResp.SLVERR, name
    assert await driver.read("ITERATIONS_0") == 0
    await driver.write("ITERATIONS_0", 7)
    assert await driver.read("ITERATIONS_0") == 7


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def a_start_without_a_program_is_refused_and_with_0_iterations_runs_nothing(dut: Any) -> None:
    driver, _ = await begin_driver(dut)
    await refused(driver.start({0: 3}), "no program")
    await refused(driver.commit(), "no bank")
    state = await driver.state()
    assert not state.running
    assert not state.done
    await driver.load(_case(driver).image)
    await driver.start({0: 0})
    await ClockCycles(dut.clk, 4)
    state = await driver.state()
    assert state.done
    assert not state.running


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def a_faulty_file_leaves_the_running_program_alone(dut: Any) -> None:
    """The program holds for input; a file that comes then is refused or waits for its end."""
    driver, port = await begin_driver(dut)
    case = _case(driver)
    good = await driver.load(case.image)
    expected = _golden(case)
    await driver.start(dict(enumerate(case.rounds)))
    await ClockCycles(dut.clk, 50)
    assert (await driver.state()).running
    words = words_of(good)
    words[-3] ^= np.uint32(1)
    await port.load(sealed(words))
    await ClockCycles(dut.clk, 8)
    assert (await load_status(driver))[0] == "operation"
    state = await driver.state()
    assert state.running
    assert state.active == bitstream.signature(good)
    assert state.shadow == 0, "a shadow bank that was partly written has a signature"
    await driver.clear_error()
    # A good file is taken, but must not be swapped in before the run ends.
    other = random_case(driver.arch, 1, "all").image
    await driver.load(other, wait=False)
    await ClockCycles(dut.clk, 20)
    assert await driver.read("STATUS") & regmap.STATUS_COMMITTING
    assert (await driver.state()).active == bitstream.signature(good)
    for column, stream in case.inputs.items():
        await port.send(column, stream)
    await driver.finish()
    await ClockCycles(dut.clk, 40)
    assert {c: await port.receive(c) for c in range(driver.arch.cols)} == expected.outputs
    assert not await driver.read("STATUS") & regmap.STATUS_COMMITTING
    assert (await driver.state()).shadow == bitstream.signature(good)


@cocotb.test(timeout_time=40, timeout_unit="ms")
async def everything_that_was_written_can_be_read_back(dut: Any) -> None:
    """From the bank in use and from the shadow bank; not while the region runs."""
    driver, _port = await begin_driver(dut)
    images = [random_case(driver.arch, seed, "all").image for seed in (0, 1)]
    for image in images:
        await driver.load(image, changes=False)
    assert any(place[0] is Space.MEMORY for image in images for place in image.rows)
    assert rows_of(await driver.read_image()) == rows_of(images[1])
    # Data memories swap only with files that write them.
    spaces = [s for s in Space if s is not Space.MEMORY]
    found = await driver.read_image(spaces, shadow=True)
    assert rows_of(found) == {p: r for p, r in rows_of(images[0]).items() if p[0] in spaces}
    for select, row in (
        (Space.CONTEXT.value, 1 << 12),
        (99, 0),
        (Space.CONTEXT.value, 2 << 16),
        (Space.CONTEXT.value | 9 << 16, 0),
        (Space.STREAM.value | 1 << 16, 0),
    ):
        await driver.write("WINDOW_SELECT", select)
        await driver.write("WINDOW_ROW", row)
        await refused(driver.read("WINDOW_DATA"))
        await refused(driver.write("WINDOW_DATA", 0))
    await driver.start({0: 1})
    await refused(driver.read_rows(Space.CONTEXT, (0, 0), [0]))
    assert (await driver.state()).running


@cocotb.test(timeout_time=60, timeout_unit="ms")
async def a_program_written_word_by_word_runs_like_a_file(dut: Any) -> None:
    driver, _port = await begin_driver(dut)
    case = _case(driver)
    # A file clears the bank; what it holds is written through the window.
    await driver.load(Image(driver.arch))
    await driver.load(Image(driver.arch), changes=False)
    for (space, r, c), rows in case.image.rows.items():
        for row, bits in rows.items():
            await driver.write_row(space, (r, c), row, bits)
    assert (await driver.state()).shadow == 0
    await driver.commit()
    await ClockCycles(dut.clk, 4)
    expected = _golden(case)
    assert any(place[0] is Space.MEMORY for place in case.image.rows)
    assert rows_of(await driver.read_image()) == rows_of(case.image)
    words = {c: len(stream) for c, stream in expected.outputs.items()}
    assert await driver.run(case.inputs, dict(enumerate(case.rounds)), words) == expected.outputs


@cocotb.test(timeout_time=60, timeout_unit="ms")
async def a_halted_region_executes_a_cycle_a_step_and_is_traced(dut: Any) -> None:
    driver, port = await begin_driver(dut)
    case = _case(driver)
    await driver.load(case.image)
    expected = _golden(case)
    for column, stream in case.inputs.items():
        await port.send(column, stream)
    await ClockCycles(dut.clk, 60)
    before = await driver.counters()
    await driver.halt([0])
    links = expected.links[0][..., 0, :]
    busiest = np.unravel_index(
        (links[: regmap.TRACE_WORDS, ..., -1] != 0).sum(axis=0).argmax(), links.shape[1:3]
    )
    tile, link = driver.arch.tiles[busiest[0]], LINKS[busiest[1]]
    await driver.trace(tile, link)
    await driver.start(dict(enumerate(case.rounds)))
    for steps in range(4):
        spent = {n: v - before[n] for n, v in (await driver.counters()).items()}
        assert spent["ACTIVE_0"] == steps == await driver.read("TRACE_COUNT")
        await driver.step()
    assert spent["HELD_HOST_0"] > 10
    await driver.halt([])
    await driver.finish()
    spent = {n: v - before[n] for n, v in (await driver.counters()).items()}
    assert spent["ACTIVE_0"] == expected.cycles
    assert spent["CYCLES_0"] == expected.cycles + sum(
        spent[f"HELD_{by}_0"] for by in ("HOST", "INPUT", "OUTPUT")
    )
    want = [link_bits(word) for word in links[: regmap.TRACE_WORDS, busiest[0], busiest[1]]]
    assert await driver.traced() == want
    assert any(want)


@cocotb.test(timeout_time=60, timeout_unit="ms")
async def preloaded_programs_follow_each_other_without_an_idle_cycle(dut: Any) -> None:
    driver, port = await begin_driver(dut)
    cases = [random_case(driver.arch, seed, "alu") for seed in (11, 21)]
    golden = GoldenArray(cases[0].image)
    results = []
    for case in cases:
        golden.images = [case.image]
        golden.load_memory(0, case.image)
        results.append(golden.run(case.inputs, case.rounds, keep_links=False))
    await driver.load(cases[0].image)
    lockstep = Lockstep(dut, driver.arch, np.zeros((0, 1, 1, 1)))
    cocotb.start_soon(lockstep.watch())
    await driver.halt([0])  # holds the first program until the second one is there
    await driver.start({0: cases[0].rounds[0]})
    await ClockCycles(dut.clk, 20)
    await driver.load(cases[1].image, wait=False)
    await driver.start({0: cases[1].rounds[0]})
    for case in cases:
        for column, stream in case.inputs.items():
            await port.send(column, stream)
    await ClockCycles(dut.clk, 20)
    assert (await driver.state()).starting
    idle = {"cycles": 0}
    cocotb.start_soon(_count_idle(dut, idle))
    await driver.halt([])
    await driver.finish()
    # Polling sees some idle cycles after both have ended; none lie between them.
    runs = await driver.counters()
    assert runs["ACTIVE_0"] == sum(r.cycles for r in results)
    assert idle["gaps"] == 0, f"{idle['cycles']} idle cycles between programs"
    await ClockCycles(dut.clk, 40)
    got = {c: await port.receive(c) for c in range(driver.arch.cols)}
    assert got == {c: results[0].outputs[c] + results[1].outputs[c] for c in got}


async def _count_idle(dut: Any, idle: dict) -> None:
    """Times at which the region began to run again after an idle cycle."""
    idle["gaps"], was = 0, 1
    while True:
        await RisingEdge(dut.clk)
        now = int(dut.region_running.value)
        idle["gaps"] += int(now and not was)
        idle["cycles"] += int(not now)
        was = now


@cocotb.test(timeout_time=60, timeout_unit="ms")
async def a_file_of_changes_gives_the_same_bank_and_needs_its_base(dut: Any) -> None:
    driver, _port = await begin_driver(dut)
    image = _case(driver).image
    sibling = image.copy()
    sibling.write(Space.SEQUENCER, (0, 0), SequencerRegister.INPUT, {"predicate": ALWAYS})
    tile = driver.arch.tiles[-1]
    for slot in range(2):
        sibling.write(Space.CONTEXT, tile, slot, {"op": slot + 33})
    for place in [p for p in sibling.rows if p[0] is Space.MEMORY]:
        del sibling.rows[place]
    full = await driver.load(image)
    await driver.load(image, changes=False)
    changes = await driver.load(sibling)
    assert len(changes) <= len(full) // 4, (len(changes), len(full))
    state = await driver.state()
    assert state.active == bitstream.signature(changes)
    want = rows_of(sibling)
    found = await driver.read_image([s for s in Space if s is not Space.MEMORY])
    assert rows_of(found) == want
    # The bank that now lies in the shadow is another one: the same file does not fit.
    again = bitstream.encode(sibling, None, image, state.active)
    wrong = bitstream.encode(sibling, None, image, 12345)
    refusal = "none"
    for content, reason in ((again, "wrong base"), (wrong, "wrong base")):
        try:
            await driver.load_file(content)
        except DriverError as error:
            refusal = str(error)
        assert reason in refusal
        await driver.clear_error()
    assert (await driver.state()).active == bitstream.signature(changes)
