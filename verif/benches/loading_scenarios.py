"""What loading does, over RTL and golden model alike.

A scenario takes a fresh driver, and ``begin``: it begins a coroutine that may have to wait for what
the scenario does next.
"""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import numpy as np

from spu.arch import bitstream, regmap
from spu.arch.bitstream import Image
from spu.arch.config import SequencerRegister, Space, words_per_row
from spu.arch.params import ALWAYS, Architecture
from spu.driver import Driver, DriverError, Refused
from spu.driver.driver import describe
from spu.model.array import GoldenArray
from verif.stimulus.programs import Case, random_case

Begin = Callable[[Coroutine[Any, Any, Any]], object]
#: Spaces that every tile and region has in full, so that they are read back as they were written.
SPACES = (Space.CONTEXT, Space.SEQUENCER, Space.STREAM)


def words_of(content: bytes) -> np.ndarray:
    """Words of a program file, to change."""
    return np.frombuffer(content, "<u4").copy()


def sealed(words: np.ndarray) -> bytes:
    """Header with right CRCs over changed words; section CRCs stay as they are."""
    words[6] = bitstream.crc(words[bitstream.HEADER_WORDS :])
    words[7] = bitstream.crc(words[:7])
    return words.tobytes()


def section_starts(content: bytes, arch: Architecture) -> list[int]:
    """Word index of every section of a good file."""
    words, out, at = words_of(content), [], bitstream.HEADER_WORDS
    while at < len(words):
        out.append(at)
        count = int(words[at + 2] >> 16) if words[at] & 0xFF == bitstream.OP_WRITE else 0
        space = int(words[at] >> 8 & 0xFF) or 1
        at += bitstream.SECTION_WORDS + 1 + count * words_per_row(Space(space), arch)
    return out


def rows_of(
    image: Image, spaces: tuple[Space, ...] = tuple(Space)
) -> dict[bitstream.Place, dict[int, int]]:
    """Contents of an image, zero rows left out."""
    return {
        place: kept
        for place, rows in image.rows.items()
        if place[0] in spaces and (kept := {row: value for row, value in rows.items() if value})
    }


def differences(found: Image, wanted: Image) -> list[tuple]:
    """Rows of ``SPACES`` that differ: place, row, found, wanted."""
    one, two = rows_of(found, SPACES), rows_of(wanted, SPACES)
    return [
        (*place, row, *values)
        for place in one.keys() | two.keys()
        for row in one.get(place, {}).keys() | two.get(place, {}).keys()
        if (values := [hex(rows.get(place, {}).get(row, 0)) for rows in (one, two)])[0] != values[1]
    ]


async def load_status(driver: Driver) -> tuple[str, int]:
    """The loader's error and section."""
    status = await driver.read("STATUS")
    return (
        regmap.LOAD_ERRORS[status >> regmap.STATUS_ERROR_SHIFT & 0xFF],
        status >> regmap.STATUS_SECTION_SHIFT,
    )


async def refused(access: Awaitable, reason: str = "") -> None:
    """Assert that an access is refused."""
    await fails(access, Refused, reason)


async def fails(access: Awaitable, kind: type[Exception], text: str) -> None:
    """Assert that an access raises an error that says ``text``."""
    try:
        await access
    except kind as error:
        message = str(error)
    else:
        raise AssertionError("an access was not refused")
    assert text in message, message


def _image(driver: Driver, seed: int = 0) -> Image:
    return random_case(driver.arch, seed, "all").image


def _part(image: Image, region: int) -> Image:
    return Image(
        image.arch,
        {
            place: dict(rows)
            for place, rows in image.rows.items()
            if image.place_region(place) == region
        },
    )


def _sibling(image: Image) -> Image:
    """An image that differs in a few rows of every region, and writes no data memory."""
    out = Image(
        image.arch,
        {place: dict(rows) for place, rows in image.rows.items() if place[0] is not Space.MEMORY},
    )
    for region in range(image.arch.region_count):
        out.write(Space.SEQUENCER, (region, 0), SequencerRegister.INPUT, {"predicate": ALWAYS})
        for slot in range(2):
            out.write(Space.CONTEXT, image.arch.region_tiles(region)[-1], slot, {"op": slot + 33})
    return out


async def faulty_files_are_refused_with_reason_and_section(driver: Driver, _: Begin) -> None:
    good = bitstream.encode(_image(driver))
    words = words_of(good)
    starts = section_starts(good, driver.arch)
    first, end = starts[0], starts[-1]
    written = next(i for i in starts if words[i] & 0xFF == bitstream.OP_WRITE)
    number = starts.index(written)
    foreign = 1 << 16 + driver.arch.region_count

    def flipped(*flips: tuple[int, int], seal: bool = True) -> bytes:
        changed = words.copy()
        for index, flip in flips:
            changed[index] ^= np.uint32(flip)
        return sealed(changed) if seal else changed.tobytes()

    def header(index: int, flip: int) -> bytes:
        changed = words.copy()
        changed[index] ^= np.uint32(flip)
        changed[7] = bitstream.crc(changed[:7])
        return changed.tobytes()

    cases: list[tuple[str, int, bytes]] = [
        ("bad magic", 0, flipped((0, 1), seal=False)),
        ("bad format version", 0, flipped((1, 4), seal=False)),
        ("wrong architecture", 0, flipped((2, 1 << 31), seal=False)),
        ("wrong grid or regions", 0, flipped((3, 1), seal=False)),
        ("wrong grid or regions", 0, flipped((3, 1 << 30), seal=False)),
        ("wrong grid or regions", 0, header(3, foreign)),
        ("wrong base", 0, flipped((4, 1), seal=False)),
        ("operation", 0, header(5, 1 << 20)),
        ("header CRC", 0, flipped((7, 4), seal=False)),
        ("operation", 0, flipped((first, 0xFF))),
        ("operation", 0, flipped((first, 1 << 20))),
        ("address", 0, flipped((first, 0x8000))),
        ("address", 0, flipped((first + 1, 1 << 31))),
        ("address", 0, flipped((first + 2, 0xF000))),
        # The first fault is told: neither the CRCs nor what comes after it.
        ("address", 0, flipped((first + 1, 1 << 31), (written + 3, 1))),
        ("section CRC", number, flipped((written + 3, 1 << 9))),
        ("operation", len(starts) - 1, flipped((end, 1 << 9))),
        ("operation", len(starts) - 1, flipped((end + 1, 1))),
        ("operation", len(starts) - 1, flipped((end + 2, 1 << 16))),
        ("total CRC", len(starts), header(6, 1)),
    ]
    for reason, place, content in cases:
        await driver.port.load(content)
        await driver.port.wait()
        assert await load_status(driver) == (reason, place), (reason, await load_status(driver))
        assert not (await driver.state()).loaded
        await refused(driver.commit(), "busy")
        await driver.clear_error()
        assert await load_status(driver) == ("none", 0)
        await refused(driver.commit(), "no bank")
    await driver.load_file(good)
    assert (await driver.state()).active == bitstream.signature(good)
    assert await load_status(driver) == ("none", len(starts))


async def a_refused_file_leaves_no_bank_to_commit(driver: Driver, _: Begin) -> None:
    first = await driver.load(_image(driver))
    good = await driver.load(_image(driver, 1), changes=False)
    header, section = words_of(good), words_of(good)
    header[7] ^= 1
    section[section_starts(good, driver.arch)[2] + 1] ^= np.uint32(1 << 31)
    for content, reason, shadow in (
        (header.tobytes(), "header CRC", bitstream.signature(first)),
        (sealed(section), "address in section 2", 0),
    ):
        await fails(driver.load_file(content), DriverError, reason)
        await driver.clear_error()
        state = await driver.state()
        assert (state.active, state.shadow) == (bitstream.signature(good), shadow), reason
    await refused(driver.commit(), "no bank")
    assert (await driver.state()).active == bitstream.signature(good)


async def a_truncated_file_activates_nothing_and_can_be_cleared(driver: Driver, _: Begin) -> None:
    good = bitstream.encode(_image(driver))
    for length in (4, 28, 40, len(good) // 8 * 4, len(good) - 4):
        await driver.port.load(good[:length])
        await driver.port.wait()
        assert describe(await driver.read("STATUS")) == "incomplete file"
        assert not (await driver.state()).loaded
        await refused(driver.commit(), "busy")
        await driver.clear_error()
        assert not await driver.read("STATUS") & regmap.STATUS_LOADING
    for length in (20, len(good) // 8 * 4):
        await driver.port.load(good[:length])
        await driver.load_file(good[length:])
        assert (await driver.state()).loaded
        await driver.reset(range(driver.arch.region_count))


async def words_after_commit_are_the_next_file(driver: Driver, _: Begin) -> None:
    good = bitstream.encode(_image(driver))
    await driver.port.load(good + bytes(8))
    await driver.port.wait()
    assert (await driver.state()).active == bitstream.signature(good)
    assert (await load_status(driver))[0] == "bad magic"


def results(arch: Architecture, cases: list[Case]) -> list[dict[int, list[tuple[int, int]]]]:
    """Output streams of programs that run one after the other."""
    golden, out = GoldenArray(Image(arch)), []
    for case in cases:
        golden.images = [case.image] * arch.region_count
        for region in range(arch.region_count):
            golden.load_memory(region, case.image)
        out.append(golden.run(case.inputs, case.rounds, keep_links=False).outputs)
    return out


async def a_program_that_waits_is_not_replaced_by_the_next(driver: Driver, begin: Begin) -> None:
    """The loader takes no word of a third program before the second one has been swapped in."""
    cases = [random_case(driver.arch, seed, "alu") for seed in (11, 21, 12)]
    files = [bitstream.encode(case.image) for case in cases]
    want = results(driver.arch, cases)
    assert len({str(outputs) for outputs in want}) == len(cases)
    await driver.load(cases[0].image)
    await driver.start(dict(enumerate(cases[0].rounds)))
    await driver.load(cases[1].image, wait=False)
    await driver.start(dict(enumerate(cases[1].rounds)))
    state = await driver.state()
    assert (state.running, state.starting) == (True, True)
    begin(driver.load(cases[2].image, wait=False))
    for _ in range(8):
        await driver.port.wait()
    state = await driver.state()
    assert [state.active, state.shadow] == [bitstream.signature(file) for file in files[:2]]
    for case in cases:
        for column, words in case.inputs.items():
            await driver.port.send(column, words)
    got: dict[int, list[tuple[int, int]]] = {c: [] for c in range(driver.arch.cols)}

    async def collect(runs: int) -> None:
        await driver.finish(range(driver.arch.region_count))
        for _ in range(8):
            await driver.port.wait()
        for column, words in got.items():
            words += await driver.port.receive(column)
        assert got == {c: [w for run in want[:runs] for w in run[c]] for c in got}

    await collect(2)
    while (await driver.state()).active != bitstream.signature(files[2]):
        await driver.port.wait()
    await driver.start(dict(enumerate(cases[2].rounds)))
    await collect(3)


async def changes_are_those_of_every_region(driver: Driver, _: Begin) -> None:
    """Each region's bank is built on what that region's bank held."""
    image, other = _image(driver), _image(driver, 1)
    sibling = _sibling(image)
    await driver.load(image)
    await driver.load(other, changes=False)
    content = await driver.load(sibling)
    assert len(content) < len(bitstream.encode(sibling)) // 2
    assert differences(await driver.read_image(SPACES), sibling) == []


async def changes_of_one_region_leave_the_others_alone(driver: Driver, _: Begin) -> None:
    """They are found by what a file of all regions left."""
    image, other = _image(driver), _image(driver, 1)
    sibling = _part(_sibling(image), 0)
    await driver.load(image)
    await driver.load(other, changes=False)
    content = await driver.load(sibling, [0])
    assert len(content) < len(bitstream.encode(sibling, [0])) // 2
    found = await driver.read_image(SPACES)
    assert differences(_part(found, 0), sibling) == []
    for region in range(1, driver.arch.region_count):
        assert differences(_part(found, region), _part(other, region)) == []


async def a_base_must_be_there_in_all_regions(driver: Driver, _: Begin) -> None:
    image, other = _image(driver), _image(driver, 1)
    for region in (0, 1):
        base = bitstream.signature(await driver.load(_part(image, region), [region]))
        await driver.load(_part(other, region), [region])
        assert (await driver.state(region)).shadow == base
        await fails(
            driver.load_file(bitstream.encode(_sibling(image), None, image, base)),
            DriverError,
            "wrong base",
        )
        await driver.clear_error()


SCENARIOS = (
    faulty_files_are_refused_with_reason_and_section,
    a_refused_file_leaves_no_bank_to_commit,
    a_truncated_file_activates_nothing_and_can_be_cleared,
    words_after_commit_are_the_next_file,
    a_program_that_waits_is_not_replaced_by_the_next,
    changes_are_those_of_every_region,
)
REGION_SCENARIOS = (
    changes_of_one_region_leave_the_others_alone,
    a_base_must_be_there_in_all_regions,
)


def scenarios(arch: Architecture) -> tuple[Callable[[Driver, Begin], Awaitable[None]], ...]:
    """Those of an architecture: some need several regions."""
    return SCENARIOS + (REGION_SCENARIOS if arch.region_count > 1 else ())
