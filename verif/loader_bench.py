"""cocotb tests of loading and host registers on a small array.

The environment names the architecture (``SPU_ARCH``) and a good program (``SPU_PROGRAM``).
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import ClockCycles
from cocotbext.axi import AxiResp, AxiStreamFrame

from spu.arch import bitstream, regmap
from spu.arch.params import architecture
from verif.bench import Host

#: Number of tests in this module.
COUNT = 6


async def _host(dut: Any) -> tuple[Host, bytes]:
    host = Host(dut, architecture(os.environ["SPU_ARCH"]))
    await host.reset()
    return host, Path(os.environ["SPU_PROGRAM"]).read_bytes()


def _error(status: int) -> tuple[str, int]:
    return (regmap.LOAD_ERRORS[status >> regmap.STATUS_ERROR_SHIFT & 0xFF],
            status >> regmap.STATUS_SECTION_SHIFT)


def _words(content: bytes) -> np.ndarray:
    return np.frombuffer(content, "<u4").copy()


def _sealed(words: np.ndarray) -> bytes:
    """Header with right CRCs over changed words; section CRCs stay as they are."""
    words[5] = bitstream.crc(words[bitstream.HEADER_WORDS:])
    words[6] = bitstream.crc(words[:6])
    return words.tobytes()


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def identification_registers_tell_the_architecture(dut: Any) -> None:
    host, _ = await _host(dut)
    for name, value in regmap.constant_registers(host.arch).items():
        assert await host.read(name) == value, name


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def unmapped_and_read_only_addresses_answer_an_error(dut: Any) -> None:
    host, _ = await _host(dut)
    end = 4 * len(host.map)
    assert (await host.lite.read(end, 4)).resp == AxiResp.SLVERR
    assert (await host.lite.write(host.map["STATUS"], b"\1\0\0\0")).resp == AxiResp.SLVERR
    assert (await host.lite.write(host.map["ITERATIONS"], b"\0\0\1\0")).resp == AxiResp.SLVERR
    assert (await host.lite.write(host.map["ITERATIONS"], b"\7")).resp == AxiResp.SLVERR
    assert await host.read("ITERATIONS") == 0
    assert (await host.lite.write(host.map["ITERATIONS"], b"\7\0\0\0")).resp == AxiResp.OKAY
    assert await host.read("ITERATIONS") == 7


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def faulty_files_are_refused_with_reason_and_section(dut: Any) -> None:
    host, good = await _host(dut)
    second = bitstream.HEADER_WORDS + bitstream.SECTION_WORDS + 1 + int(
        _words(good)[bitstream.HEADER_WORDS + 2] >> 16)

    def word(index: int, flip: int) -> Callable[[np.ndarray], bytes]:
        def change(words: np.ndarray) -> bytes:
            words[index] ^= np.uint32(flip)
            return words.tobytes()
        return change

    def section(index: int, flip: int) -> Callable[[np.ndarray], bytes]:
        def change(words: np.ndarray) -> bytes:
            words[index] ^= np.uint32(flip)
            return _sealed(words)
        return change

    cases: list[tuple[str, int, Callable[[np.ndarray], bytes]]] = [
        ("bad magic", 0, word(0, 1)),
        ("bad format version", 0, word(1, 2)),
        ("wrong architecture", 0, word(2, 1 << 31)),
        ("wrong grid", 0, word(3, 1)),
        ("header CRC", 0, word(6, 4)),
        ("operation", 0, section(bitstream.HEADER_WORDS, 0xFF)),
        ("address", 0, section(bitstream.HEADER_WORDS, 0x8000)),
        ("address", 1, section(second + 1, 1 << 31)),
        ("address", 1, section(second + 2, 0xF000)),
        ("section CRC", 0, section(bitstream.HEADER_WORDS + 4, 1)),
        ("section CRC", 1, section(second + 3, 1 << 9)),
        ("total CRC", int(_words(good)[4]), lambda words: _total_wrong(words)),
    ]
    for reason, number, change in cases:
        status = await host.load_program(change(_words(good)), expect_loaded=False)
        assert _error(status) == (reason, number), (reason, _error(status))
        assert not status & regmap.STATUS_LOADED
        await host.write("CONTROL", regmap.CONTROL_CLEAR)
        assert _error(await host.read("STATUS")) == ("none", 0)
    assert (await host.load_program(good)) & regmap.STATUS_LOADED


def _total_wrong(words: np.ndarray) -> bytes:
    words[5] ^= np.uint32(1)
    words[6] = bitstream.crc(words[:6])
    return words.tobytes()


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def a_truncated_file_activates_nothing_and_can_be_cleared(dut: Any) -> None:
    host, good = await _host(dut)
    for length in (4, 28, 40, len(good) // 8 * 4, len(good) - 4):
        status = await host.load_program(good[:length], expect_loaded=False)
        assert status & regmap.STATUS_LOADING
        assert not status & regmap.STATUS_LOADED
        await host.write("CONTROL", regmap.CONTROL_CLEAR)
        assert not await host.read("STATUS") & regmap.STATUS_LOADING
    assert (await host.load_program(good)) & regmap.STATUS_LOADED


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def a_start_without_a_program_or_with_0_iterations_runs_nothing(dut: Any) -> None:
    host, good = await _host(dut)
    await host.write("ITERATIONS", 3)
    await host.write("CONTROL", regmap.CONTROL_START)
    assert not await host.read("STATUS") & (regmap.STATUS_RUNNING | regmap.STATUS_DONE)
    await host.load_program(good)
    await host.write("ITERATIONS", 0)
    await host.write("CONTROL", regmap.CONTROL_START)
    status = await host.read("STATUS")
    assert status & regmap.STATUS_DONE
    assert not status & regmap.STATUS_RUNNING


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def a_faulty_file_leaves_the_running_program_alone(dut: Any) -> None:
    """The program holds for input; a file that comes then is refused or waits for its end."""
    host, good = await _host(dut)
    await host.load_program(good)
    await host.write("ITERATIONS", 1)
    await host.write("CONTROL", regmap.CONTROL_START)
    await ClockCycles(dut.clk, 50)
    assert await host.read("STATUS") & regmap.STATUS_RUNNING
    words = _words(good)
    words[-3] ^= np.uint32(1)
    status = await host.load_program(_sealed(words), expect_loaded=False)
    assert _error(status)[0] in ("operation", "section CRC")
    assert status & regmap.STATUS_RUNNING
    assert status & regmap.STATUS_LOADED
    await host.write("CONTROL", regmap.CONTROL_CLEAR)
    # A good file is complete but must not be swapped in before the run ends.
    await host.load.send(AxiStreamFrame(good))
    await host.load.wait()
    await ClockCycles(dut.clk, 20)
    assert await host.read("STATUS") & regmap.STATUS_LOADING
    assert await host.read("HELD_INPUT") > 50
    assert int(dut.region_running.value) == 1

