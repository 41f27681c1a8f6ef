"""cocotb testbench: a chip runs what a ring of descriptors in memory says.

``SPU_CHIP`` names the parameters of the array as JSON.
"""

import json
import os
import random
from typing import Any

import cocotb
import pytest
from cocotb.triggers import ClockCycles
from cocotbext.axi import AxiResp

from spu.arch import regmap
from spu.arch.chip import chip_of
from spu.arch.engine_map import CAUSE_FAULT, CAUSE_NOTIFY, ENGINE_ID, engine_parameters
from spu.arch.memory import Fault, Kind
from spu.arch.params import from_parameters
from spu.driver import Refused
from spu.driver.ring import EngineState
from verif.benches.chip_host import FILES, MEMORY, RING, RING_SIZE, ChipHost, Product

SHAPE = (4, 8, 4)


async def begin(dut: Any, share: float = 0.0) -> ChipHost:
    """A host of a chip after its reset."""
    chip = chip_of(from_parameters(json.loads(os.environ["SPU_CHIP"])))
    host = ChipHost(dut, chip, random.Random(cocotb.RANDOM_SEED), share)
    await host.begin()
    return host


async def succeed(host: ChipHost, product: Product) -> None:
    """One doorbell, one interrupt, and memory as the golden model of the array leaves it."""
    product.place()
    product.spoil()
    host.ring.put(product.descriptors(value=42))
    await host.ring.ring()
    assert await host.interrupt() == CAUSE_NOTIFY, await host.ring.state()
    assert await host.ring.read("NOTIFIED") == 42
    assert (await host.ring.state()).fault is Fault.NONE
    assert product.outputs() == await product.golden()


@cocotb.test(timeout_time=4, timeout_unit="ms")
async def a_product_from_one_doorbell(dut: Any) -> None:
    """Program, inputs and outputs in memory; twice, the second time in places used before."""
    host = await begin(dut)
    product = Product(host, SHAPE)
    for _ in range(2):
        await succeed(host, product)


@cocotb.test(timeout_time=8, timeout_unit="ms")
async def a_product_while_memory_pauses(dut: Any) -> None:
    """Answers late and out of order change no word."""
    host = await begin(dut, 0.6)
    for shape in (SHAPE, (16, 16, 8)):
        await succeed(host, Product(host, shape))


async def fail(
    host: ChipHost, descriptors: list[bytes], number: int | tuple[int, ...], fault: Fault
) -> None:
    """Descriptors of which ``number``, or one of them, has a fault, which its status says."""
    first = host.ring.put(descriptors)
    await host.ring.ring()
    assert await host.interrupt() == CAUSE_FAULT
    state = await host.ring.state()
    numbers = number if isinstance(number, tuple) else (number,)
    assert not state.busy
    assert state.fault is fault
    assert state.descriptor in [(first + n) % (1 << 16) for n in numbers]
    with pytest.raises(Refused):
        await host.ring.ring()
    await host.ring.clear()
    assert await host.ring.state() == EngineState(False, Fault.NONE, 0)


def damaged(descriptor: bytes, bit: int) -> bytes:
    """A descriptor with a bit turned."""
    flipped = bytearray(descriptor)
    flipped[bit // 8] ^= 1 << bit % 8
    return bytes(flipped)


@cocotb.test(timeout_time=40, timeout_unit="ms")
async def every_fault_names_its_descriptor(dut: Any) -> None:
    """Outputs are untouched, and the next doorbell works: after each fault a product is run."""
    host = await begin(dut, 0.3)
    engine, memory = host.engine, host.memory
    product = Product(host, SHAPE)
    column = next(iter(product.inputs))
    good = product.descriptors()
    kinds = [descriptor[0] for descriptor in good]
    load, read, run = (kinds.index(kind.value) for kind in (Kind.LOAD, Kind.READ, Kind.RUN))
    write = kinds.index(Kind.WRITE.value)
    inputs = product.places["in"][column]
    # Whichever column's answer comes first; with one column's alone the other would be written.
    outputs = dict.fromkeys(product.places["out"].values(), AxiResp.DECERR)
    last_write = write + len(product.counts) - 1
    half = host.line(inputs + 1, 4, 1)
    far = host.line(MEMORY - 16, 4, 4)
    empty = len(product.file) // 4 - 1
    beats = engine.descriptor_bytes // engine.beat_bytes
    assert beats > 1

    def with_one(place: int, descriptor: bytes) -> list[bytes]:
        return [*good[:place], descriptor, *good[place + 1 :]]

    def pattern(place: int, kind: Kind, **fields: Any) -> list[bytes]:
        return with_one(place, host.describe(kind, **fields))

    cases: list[tuple[str, list[bytes], int | tuple, Fault, dict[int, AxiResp]]] = [
        ("SLVERR of inputs", good, read, Fault.SLVERR, {inputs: AxiResp.SLVERR}),
        ("DECERR of inputs", good, read, Fault.DECERR, {inputs + 16: AxiResp.DECERR}),
        ("SLVERR of a program", good, load, Fault.SLVERR, {product.at: AxiResp.SLVERR}),
        ("DECERR of outputs", good, (write, last_write), Fault.DECERR, outputs),
        ("reads unaligned", pattern(read, Kind.READ, pattern=half), read, Fault.UNALIGNED, {}),
        ("writes unaligned", pattern(write, Kind.WRITE, pattern=half), write, Fault.UNALIGNED, {}),
        ("reads far", pattern(read, Kind.READ, pattern=far), read, Fault.OUT_OF_RANGE, {}),
        ("writes far", pattern(write, Kind.WRITE, pattern=far), write, Fault.OUT_OF_RANGE, {}),
        ("zeros", with_one(run, bytes(engine.descriptor_bytes)), run, Fault.BAD_DESCRIPTOR, {}),
        ("no region", pattern(run, Kind.RUN, target=1), run, Fault.BAD_DESCRIPTOR, {}),
        ("high bit", with_one(run, damaged(good[run], 1023)), run, Fault.BAD_DESCRIPTOR, {}),
        ("zero field", with_one(run, damaged(good[run], 16)), run, Fault.BAD_DESCRIPTOR, {}),
        (
            "no channel",
            pattern(read, Kind.READ, target=engine.read_channels, pattern=half),
            read,
            Fault.BAD_DESCRIPTOR,
            {},
        ),
        (
            "a file cut short",
            pattern(load, Kind.LOAD, pattern=host.line(product.at, empty, 2)),
            load,
            Fault.BAD_PROGRAM,
            {},
        ),
    ]
    product.place()
    product.spoil()
    memory.wrong_last = {inputs}
    await fail(host, good, read, Fault.SLVERR)
    memory.wrong_last = set()
    await succeed(host, product)
    for what, descriptors, number, fault, answers in cases:
        product.spoil()
        product.place()
        before = product.outputs()
        memory.faults = answers
        await fail(host, descriptors, number, fault)
        assert product.outputs() == before, what
        memory.faults = {}
        await succeed(host, product)


@cocotb.test(timeout_time=8, timeout_unit="ms")
async def faults_of_programs_and_of_the_ring(dut: Any) -> None:
    """A file with any word turned, a run without a program, too many descriptors, a bad ring."""
    host = await begin(dut)
    product = Product(host, SHAPE)
    product.place()
    await fail(host, [product.run()], 0, Fault.BAD_PROGRAM)
    rng = random.Random(cocotb.RANDOM_SEED)
    for place in (0, 7, *(rng.randrange(len(product.file) // 4) for _ in range(3))):
        product.place()
        host.content[product.at + 4 * place] ^= 1 << rng.randrange(8)
        await fail(host, [product.load(), product.run()], 0, Fault.BAD_PROGRAM)
    await succeed(host, product)

    end = await host.ring.read("DOORBELL")
    await host.ring.write("DOORBELL", (end + (1 << RING_SIZE) + 1) % (1 << 16))
    assert await host.interrupt() == CAUSE_FAULT
    assert await host.ring.state() == EngineState(False, Fault.RING_OVERRUN, end)
    await host.ring.clear()
    await succeed(host, product)

    # Memory ends within the ring; then memory says no to a descriptor.
    await host.ring.write("LIMIT_LOW", RING + (host.engine.descriptor_bytes << RING_SIZE) - 1)
    await fail(host, [product.load()], 0, Fault.OUT_OF_RANGE)
    await host.ring.write("LIMIT_LOW", MEMORY)
    at = RING + host.ring.end % (1 << RING_SIZE) * host.engine.descriptor_bytes
    host.memory.faults = {at + host.engine.descriptor_bytes - 1: AxiResp.SLVERR}
    await fail(host, [product.load()], 0, Fault.SLVERR)
    host.memory.faults = {}
    await succeed(host, product)


@cocotb.test(timeout_time=8, timeout_unit="ms")
async def a_stop_ends_a_fence_for_ever(dut: Any) -> None:
    """A pattern that takes more words than come; what came is swallowed, not kept for the next."""
    host = await begin(dut)
    product = Product(host, SHAPE)
    product.place()
    column = min(product.counts)
    more = host.line(product.places["out"][column], product.counts[column] + 1, product.log_bytes)
    others = [product.write(c) for c in product.counts if c != column]
    host.ring.put(
        [
            product.load(),
            host.describe(Kind.WRITE, target=column, pattern=more),
            *others,
            *map(product.read, product.inputs),
            product.run(),
        ]
    )
    fence = host.ring.put(product.end())
    await host.ring.ring()
    while await host.ring.read("NEXT") != fence:
        pass
    await ClockCycles(dut.clk, 2000)
    assert (await host.ring.state()).busy
    await host.ring.stop()
    assert await host.interrupt() == CAUSE_FAULT
    assert await host.ring.state() == EngineState(False, Fault.STOPPED, fence)
    await host.ring.clear()
    await succeed(host, product)


@cocotb.test(timeout_time=8, timeout_unit="ms")
async def programs_one_after_the_other(dut: Any) -> None:
    """A program is loaded while another one runs; the ring goes round, a doorbell at a time."""
    host = await begin(dut, 0.2)
    products = [Product(host, SHAPE, FILES), Product(host, (8, 8, 8), FILES + 0x4000)]
    fence = host.describe(Kind.FENCE, loader=1)
    for turn in range(6):
        product, following = products[turn % 2], products[1 - turn % 2]
        product.place()
        following.place()
        product.place()
        product.spoil()
        begins = [product.load()] if turn == 0 else []
        host.ring.put([*begins, *product.streams(), product.run(), following.load(), fence])
        await host.ring.ring()
        host.ring.put(product.end(turn))
        await host.ring.ring()
        assert await host.interrupt() == CAUSE_NOTIFY, await host.ring.state()
        assert await host.ring.read("NOTIFIED") == turn
        assert product.outputs() == await product.golden(), turn


def _numbers(content: bytes, step: int) -> list[int]:
    """Numbers of ``step`` bytes each."""
    return [
        int.from_bytes(content[at : at + step], "little") for at in range(0, len(content), step)
    ]


@cocotb.test(timeout_time=8, timeout_unit="ms")
async def dense_words_have_no_bias(dut: Any) -> None:
    """Words of half a channel's width feed and empty streams of elements."""
    host = await begin(dut, 0.2)
    product = Product(host, SHAPE)
    product.place()
    bits, step = host.chip.arch.data_bits, host.chip.arch.data_bits // 8
    assert host.engine.word_bytes == 2 * step
    for c, words in product.inputs.items():
        product.inputs[c] = [(data, 0) for data, _ in words]
        dense = b"".join(data.to_bytes(step, "little") for data, _ in words)
        at = product.places["in"][c]
        host.content[at : at + len(dense)] = dense
    log = step.bit_length() - 1
    reads = [
        host.describe(
            Kind.READ, target=c, pattern=host.line(product.places["in"][c], len(words), log)
        )
        for c, words in product.inputs.items()
    ]
    writes = [
        host.describe(Kind.WRITE, target=c, pattern=host.line(product.places["out"][c], n, log))
        for c, n in product.counts.items()
    ]
    host.ring.put([product.load(), *writes, *reads, product.run(), *product.end()])
    await host.ring.ring()
    assert await host.interrupt() == CAUSE_NOTIFY
    golden, found = await product.golden(), product.outputs()
    mask = (1 << bits) - 1
    for c, n in product.counts.items():
        wide, size = golden[c], host.engine.word_bytes
        wanted = [
            int.from_bytes(wide[k * size : (k + 1) * size], "little") & mask for k in range(n)
        ]
        assert [
            int.from_bytes(found[c][k * step : (k + 1) * step], "little") for k in range(n)
        ] == wanted


@cocotb.test(timeout_time=4, timeout_unit="ms")
async def registers_refuse_what_they_cannot_hold(dut: Any) -> None:
    """And the array's registers are where they are without an engine."""
    host = await begin(dut)
    ring, engine = host.ring, host.engine
    assert await ring.read("ENGINE_ID") == ENGINE_ID
    assert await ring.read("ENGINE") == engine_parameters(engine)
    array = regmap.register_map(host.chip.arch)
    for name, value in regmap.constant_registers(host.chip.arch).items():
        assert await host.read(array[name]) == value
    with pytest.raises(Refused):
        await host.write(array["START"], 1)
    for name, value in (
        ("ENGINE_ID", 0),
        ("NEXT", 0),
        ("ENGINE_STATUS", 0),
        ("NOTIFIED", 0),
        ("RING_BASE_LOW", engine.descriptor_bytes // 2),
        ("RING_BASE_HIGH", 1 << (engine.address_bits - 32)),
        ("RING_SIZE", 16),
        ("LIMIT_HIGH", 1 << (engine.address_bits - 31)),
        ("DOORBELL", 1 << 16),
        ("ENGINE_CONTROL", 4),
        ("INTERRUPT_ENABLE", 4),
        ("INTERRUPT_CAUSE", 4),
    ):
        with pytest.raises(Refused):
            await ring.write(name, value)
    with pytest.raises(Refused):
        await ring.read("ENGINE_CONTROL")
    with pytest.raises(Refused):
        await host.read(0x2000 + 4 * 14)
    host.memory.held = True
    ring.put([host.describe(Kind.NOTIFY, value=7)])
    await ring.ring()
    for name in ("RING_BASE_LOW", "RING_SIZE", "LIMIT_LOW"):
        with pytest.raises(Refused):
            await ring.write(name, 0)
    host.memory.held = False
    assert await host.interrupt() == CAUSE_NOTIFY
    assert (await ring.read("NOTIFIED"), await ring.read("NEXT")) == (7, 1)
    await ring.write("INTERRUPT_ENABLE", 0)
    ring.put([host.describe(Kind.NOTIFY, value=8)])
    await ring.ring()
    while await ring.read("NOTIFIED") != 8:
        pass
    assert not int(dut.irq.value)
    assert await ring.causes() == CAUSE_NOTIFY
