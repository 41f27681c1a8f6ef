"""cocotb tests of what a corrupted program file can do: nothing.

The environment names the architecture (``SPU_ARCH``, its parameters as JSON), how many random
corruptions to try (``SPU_CORRUPTIONS``), and of the single-bit flips every how-manyth
(``SPU_FLIP_STEP``).
"""

import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import ClockCycles, RisingEdge

from spu.arch import bitstream, regmap
from spu.arch.bitstream import BitstreamError, Image
from spu.arch.config import SequencerRegister, Space
from spu.arch.context import Op, Source
from spu.arch.params import EXISTS, Architecture, from_parameters
from spu.driver import Driver
from spu.driver.cocotb_port import CocotbPort
from verif.benches.loading_scenarios import sealed, section_starts
from verif.expected.compare import image_differences
from verif.stimulus.programs import random_case

#: Number of tests in this module.
COUNT = 2
#: Cycles in which a section that was taken has been applied.
APPLY_CYCLES = 8
#: Longer than the loader needs for any section.
HANG_CYCLES = 10_000


def small_program(arch: Architecture) -> Image:
    """A program that reads, adds and emits: a context a tile, few rows of every other space."""
    image = Image(arch)
    for tile in arch.tiles:
        image.write(
            Space.CONTEXT,
            tile,
            0,
            {
                "south": Source.ALU.value,
                "a": Source.NORTH.value,
                "b": Source.CONSTANT.value,
                "op": Op.INT_ADD.value,
            },
        )
    image.write(Space.CONSTANT, (0, 0), 0, {"data": 0x1234_5678_9ABC, "bias": 7})
    image.write(Space.SEQUENCER, (0, 0), SequencerRegister.SPAN, {"stage": 2 * arch.rows})
    image.write(Space.SEQUENCER, (0, 0), SequencerRegister.INPUT, {"predicate": EXISTS})
    image.write(Space.STREAM, (0, 0), 0, {"read": 1, "emit": 1})
    return image


def corruptions(
    good: bytes, other: bytes, arch: Architecture, rng: np.random.Generator
) -> Iterator[tuple[str, bytes]]:
    """Endless kinds and contents of files that are not ``good``; ``other`` is of another array."""
    words = np.frombuffer(good, "<u4")
    starts = [*section_starts(good, arch), len(words)]
    sections = [words[a:b] for a, b in itertools.pairwise(starts)]
    head = words[: bitstream.HEADER_WORDS]
    while True:
        kind = str(
            rng.choice(
                [
                    "flip",
                    "burst",
                    "words",
                    "truncated",
                    "reordered",
                    "duplicated",
                    "dropped",
                    "foreign",
                    "resealed",
                    "inserted",
                ]
            )
        )
        changed = words.copy()
        at = int(rng.integers(len(words)))
        if kind == "flip":
            changed[at] ^= np.uint32(1 << int(rng.integers(32)))
        elif kind == "burst":
            bits = np.unpackbits(changed.view(np.uint8), bitorder="little")
            first = int(rng.integers(len(bits)))
            burst = rng.integers(0, 2, int(rng.integers(2, 64)), dtype=np.uint8)
            bits[first : first + len(burst)] ^= burst[: len(bits) - first]
            changed = np.packbits(bits, bitorder="little").view("<u4")
        elif kind == "words":
            length = int(rng.integers(1, 6))
            changed[at : at + length] = rng.integers(0, 1 << 32, len(changed[at : at + length]))
        elif kind == "truncated":
            changed = changed[:at]
        elif kind in ("reordered", "duplicated", "dropped"):
            order = list(range(len(sections)))
            if kind == "reordered":
                i, j = rng.choice(len(order), 2, replace=False)
                order[i], order[j] = order[j], order[i]
            elif kind == "duplicated":
                order.insert(int(rng.integers(len(order))), int(rng.integers(len(order))))
            else:
                del order[int(rng.integers(len(order)))]
            changed = np.concatenate([head, *(sections[i] for i in order)])
        elif kind == "foreign":
            changed = np.frombuffer(other, "<u4").copy()
        elif kind == "resealed":
            # Right total CRC, wrong section: only the section's own CRC can tell.
            body = int(rng.integers(bitstream.HEADER_WORDS, len(words)))
            changed[body] ^= np.uint32(1 << int(rng.integers(32)))
            changed = np.frombuffer(sealed(changed), "<u4").copy()
        else:
            changed = np.insert(changed, at, rng.integers(0, 1 << 32, dtype=np.uint32))
        # The whole file and words after it: that is the good file, then the next one.
        if not np.array_equal(changed[: len(words)], words):
            yield kind, changed.tobytes()


async def feed(dut: Any, words: np.ndarray) -> None:
    """Send words to the loader, one a cycle, as fast as it takes them; it may not stop."""
    dut.s_axis_load_tvalid.value = 1
    for number, word in enumerate(words.tolist()):
        dut.s_axis_load_tdata.value = word
        for _ in range(HANG_CYCLES):
            await RisingEdge(dut.clk)
            if int(dut.s_axis_load_tready.value):
                break
        else:
            raise AssertionError(f"the loader does not take word {number} of {words.tolist()}")
    dut.s_axis_load_tvalid.value = 0


def _error(status: int) -> int:
    return status >> regmap.STATUS_ERROR_SHIFT & 0xFF


async def _begin(dut: Any) -> tuple[Driver, CocotbPort, bytes]:
    """An SPU whose program holds for input in the middle of a run."""
    arch = from_parameters(json.loads(os.environ["SPU_ARCH"]))
    port = CocotbPort(dut, arch, [0], [0])
    await port.reset()
    driver = Driver(port, arch)
    good = await driver.load(small_program(arch))
    await driver.start({0: 8})
    await port.send(0, [(i, i) for i in range(3)])
    await ClockCycles(dut.clk, 20)
    assert (await driver.state()).running
    return driver, port, good


async def _end(driver: Driver, port: CocotbPort, signature: int) -> None:
    """The program goes on as if nothing had been, and is what it was."""
    state = await driver.state()
    assert state.running
    assert state.active == signature
    assert not await driver.read("STATUS") & regmap.STATUS_COMMITTING
    await port.send(0, [(i, i) for i in range(3, 8)])
    await driver.finish()
    await ClockCycles(port.dut.clk, 20)
    total = 0x1234_5678_9ABC
    got = await port.receive(0)
    low, high = total & 0xFFFF_FFFF, total >> 32
    assert [data for data, _ in got] == [low + i | high << 32 for i in range(8)], got
    found = await driver.read_image([s for s in Space if s is not Space.MEMORY])
    want = small_program(driver.arch)
    assert image_differences(want, found) == []


@cocotb.test()
async def every_flipped_bit_is_refused_before_activation(dut: Any) -> None:
    """Each bit after the header, while a program runs; the file ends with the flipped section."""
    driver, port, good = await _begin(dut)
    words = np.frombuffer(good, "<u4")
    starts = [*section_starts(good, driver.arch), len(words)]
    step = int(os.environ["SPU_FLIP_STEP"])
    tried = 0
    for bit in range(32 * bitstream.HEADER_WORDS, 32 * len(words), step):
        changed = words.copy()
        changed[bit // 32] ^= np.uint32(1 << bit % 32)
        # A length that grew takes in what follows, to the end of the file at most; so does a
        # CLEAR that became a WRITE.
        end = next(s for s in starts if s > bit // 32)
        longer = bit // 32 - max(s for s in starts if s <= bit // 32) in (0, 2)
        await feed(dut, changed if longer else changed[:end])
        await ClockCycles(dut.clk, 2)
        status = await driver.read("STATUS")
        refused = _error(status) != 0
        assert refused or (longer and status & regmap.STATUS_LOADING), (bit, hex(status))
        assert not status & regmap.STATUS_COMMITTING, bit
        await driver.clear_error()
        tried += 1
    assert tried >= (len(words) - bitstream.HEADER_WORDS) * 32 // step
    await _end(driver, port, bitstream.signature(good))


@cocotb.test()
async def random_corruptions_are_refused_and_disturb_nothing(dut: Any) -> None:
    """Whole files, while a program runs; none hangs a bus, and the next good file is taken."""
    driver, port, good = await _begin(dut)
    arch, rng = driver.arch, np.random.default_rng(5)
    foreign = from_parameters(json.loads(os.environ["SPU_ARCH"]) | {"weight_rows": 2})
    other = bitstream.encode(random_case(foreign, 0, "alu").image)
    files = corruptions(good, other, arch, rng)
    kinds: dict[str, int] = {}
    for _ in range(int(os.environ["SPU_CORRUPTIONS"])):
        kind, content = next(files)
        await feed(dut, np.frombuffer(content, "<u4"))
        await ClockCycles(dut.clk, APPLY_CYCLES)
        status = await driver.read("STATUS")
        assert _error(status) or status & regmap.STATUS_LOADING or kind == "truncated", kind
        assert not status & regmap.STATUS_COMMITTING, (kind, content.hex())
        try:
            bitstream.decode(content, arch)
        except BitstreamError:
            kinds[kind] = kinds.get(kind, 0) + 1
        else:
            raise AssertionError(f"{kind}: the software takes a file that the loader refuses")
        await driver.clear_error()
    await _end(driver, port, bitstream.signature(good))
    Path(os.environ["SPU_RESULT"]).write_text(json.dumps(kinds))
    await driver.load(small_program(arch), changes=False)
