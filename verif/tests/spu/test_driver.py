"""The driver over the golden model: what it does over the RTL, without a simulator."""

import asyncio

import numpy as np
import pytest

from compiler.map.product.gemm import gemm
from spu.arch import bitstream, regmap
from spu.arch.bitstream import Image
from spu.arch.config import SequencerRegister, Space
from spu.arch.params import ALWAYS, CONFIGS
from spu.driver import Driver, DriverError, Refused, run
from spu.driver.golden_port import GoldenPort
from spu.engine.streams import expected_words, input_streams, result_codes
from spu.model.array import GoldenArray
from verif.benches.loading_scenarios import differences, results, rows_of, scenarios
from verif.expected.products import predicted_codes
from verif.random_programs import ARRAYS
from verif.stimulus.programs import random_case

SMALL = ARRAYS["2x2"]


def _driver(arch=SMALL):
    return Driver(GoldenPort(arch), arch)


@pytest.mark.parametrize("name", ["2x2", "two regions", "wide"])
def test_programs_run_as_on_the_array(name):
    arch = ARRAYS[name]
    driver, golden = _driver(arch), GoldenArray(Image(arch))
    run(driver.identify())
    found = False
    for seed in range(4):
        case = random_case(arch, seed)
        golden.images = [case.image] * arch.region_count
        for region in range(arch.region_count):
            golden.load_memory(region, case.image)
        want = golden.run(case.inputs, case.rounds, keep_links=False)
        run(driver.load(case.image))
        before = run(driver.counters())
        got = run(
            driver.run(
                case.inputs,
                dict(enumerate(case.rounds)),
                {c: len(words) for c, words in want.outputs.items()},
            )
        )
        assert got == want.outputs
        after = run(driver.counters())
        assert [
            after[f"ACTIVE_{r}"] - before[f"ACTIVE_{r}"] for r in range(arch.region_count)
        ] == want.region_cycles
        for tile in arch.memory_tiles:
            rows = run(driver.read_rows(Space.MEMORY, tile, range(arch.memory_words)))
            assert rows == [
                sum(int(part) << 16 * i for i, part in enumerate(word))
                for word in golden.memory[tile][0]
            ]
            found |= any(rows)
    assert found


@pytest.mark.parametrize(
    ("name", "scenario"),
    [(name, scenario) for name in ("2x2", "two regions") for scenario in scenarios(ARRAYS[name])],
)
def test_loading(name, scenario):
    run(scenario(_driver(ARRAYS[name]), run))


def test_an_image_that_changes_after_its_load_is_loaded_as_it_is_then():
    driver, image = _driver(), random_case(SMALL, 0, "alu").image
    run(driver.load(image))
    run(driver.load(Image(SMALL), changes=False))
    image.write(Space.CONTEXT, (0, 0), 0, {"op": 7})
    run(driver.load(image))
    assert rows_of(run(driver.read_image())) == rows_of(image)


def test_a_file_that_is_loaded_while_another_waits_needs_no_base():
    driver, case = _driver(), random_case(SMALL, 11, "alu")
    run(driver.load(case.image))
    run(driver.start({0: case.rounds[0]}))
    assert run(driver.state()).running
    other = random_case(SMALL, 21, "alu").image
    changed = other.copy()
    changed.write(Space.CONTEXT, (0, 0), 0, {"op": 7})
    run(driver.load(other, wait=False))
    run(driver.load(changed, wait=False))
    for column, words in case.inputs.items():
        run(driver.port.send(column, words))
    assert run(driver.read("STATUS")) >> regmap.STATUS_ERROR_SHIFT & 0xFF == 0
    assert differences(run(driver.read_image()), changed) == []


def test_later_files_hold_changes_only_and_read_back_whole():
    driver = _driver()
    image = random_case(SMALL, 0, "all").image
    sibling = image.copy()
    sibling.write(Space.SEQUENCER, (0, 0), SequencerRegister.INPUT, {"predicate": ALWAYS})
    for place in [p for p in sibling.rows if p[0] is Space.MEMORY]:
        del sibling.rows[place]
    full = run(driver.load(image))
    run(driver.load(image, changes=False))
    changes = run(driver.load(sibling))
    assert len(changes) <= len(full) // 4
    found = run(driver.read_image([s for s in Space if s is not Space.MEMORY]))
    assert rows_of(found) == rows_of(sibling)
    with pytest.raises(DriverError, match="wrong base"):
        run(driver.load_file(bitstream.encode(sibling, None, image, 12345)))
    with pytest.raises(DriverError, match="wrong base"):  # sticky
        run(driver.load_file(full))
    run(driver.clear_error())
    run(driver.load_file(full))


def test_preloaded_programs_follow_each_other():
    driver = _driver()
    cases = [random_case(SMALL, seed, "alu") for seed in (11, 21)]
    run(driver.load(cases[0].image))
    run(driver.start({0: cases[0].rounds[0]}))
    assert run(driver.state()).running
    run(driver.load(cases[1].image, wait=False))
    run(driver.start({0: cases[1].rounds[0]}))
    state = run(driver.state())
    assert state.starting
    assert state.active != state.shadow
    for case in cases:
        for column, words in case.inputs.items():
            run(driver.port.send(column, words))
    run(driver.finish())
    assert run(driver.state()).active == state.shadow
    first, second = results(SMALL, cases)
    assert first != second
    for column in range(SMALL.cols):
        assert run(driver.port.receive(column)) == first[column] + second[column]


def test_what_is_not_there_is_refused():
    driver = _driver()
    for access in (
        driver.port.read(1 << 20),
        driver.port.write(0, 1),
        driver.halt([0]),
        driver.step(),
        driver.write("START", 2),
        driver.write("ITERATIONS_0", 1 << 16),
    ):
        with pytest.raises(Refused):
            run(access)
    with pytest.raises(DriverError, match="ARCH_HASH"):
        run(Driver(GoldenPort(SMALL), CONFIGS["tiny"]).identify())
    run(driver.load(random_case(SMALL, 0, "all").image))
    run(driver.start({0: 1}))
    with pytest.raises(Refused, match="region 0 runs"):
        run(driver.read_rows(Space.CONTEXT, (0, 0), [0]))


def test_a_run_that_lacks_input_is_reported():
    driver = _driver()
    case = random_case(SMALL, 0, "all")
    run(driver.load(case.image))
    with pytest.raises(DriverError, match="region 0 did not finish"):
        run(driver.run({}, {0: case.rounds[0]}, {}))


def test_a_port_that_waits_needs_an_event_loop():
    class Slow(GoldenPort):
        async def wait(self):
            await asyncio.sleep(0)

    driver = Driver(Slow(SMALL), SMALL)
    case = random_case(SMALL, 0, "all")
    run(driver.load(case.image))
    with pytest.raises(RuntimeError, match="waits for something outside"):
        run(driver.run({}, {0: 1}, {}))
    with pytest.raises(DriverError, match="did not finish"):
        asyncio.run(driver.finish())


def test_a_matrix_product_through_the_driver():
    arch, rng = CONFIGS["basic"], np.random.default_rng(3)
    x, weight = rng.uniform(-1, 1, (6, 96)), rng.normal(size=(96, 24))
    plan = gemm(arch, weight, len(x))
    driver = _driver(arch)
    run(driver.load(plan.image))
    outputs = run(driver.run(input_streams(plan, x), {0: plan.rounds}, expected_words(plan)))
    assert np.array_equal(result_codes(plan, outputs), predicted_codes(plan, x, weight))
    assert run(driver.counters())["ACTIVE_0"] == plan.cycles


def test_a_program_written_word_by_word_runs_with_its_data_memory():
    driver, case = _driver(), random_case(SMALL, 0, "all")
    assert any(place[0] is Space.MEMORY for place in case.image.rows)
    want = GoldenArray(case.image).run(case.inputs, case.rounds).outputs
    with pytest.raises(Refused, match="COMMIT was refused: no bank"):
        run(driver.commit())
    run(driver.load(Image(SMALL)))
    run(driver.load(Image(SMALL), changes=False))
    for (space, *place), rows in case.image.rows.items():
        for row, bits in rows.items():
            run(driver.write_row(space, tuple(place), row, bits))
    run(driver.commit())
    assert rows_of(run(driver.read_image())) == rows_of(case.image)
    got = run(
        driver.run(
            case.inputs, dict(enumerate(case.rounds)), {c: len(words) for c, words in want.items()}
        )
    )
    assert got == want


@pytest.mark.parametrize("way", ["abort", "reset", "watchdog"])
def test_a_run_that_waits_for_ever_can_be_left(way):
    driver, case = _driver(), random_case(SMALL, 0, "all")
    want = GoldenArray(case.image).run(case.inputs, case.rounds).outputs
    rounds = dict(enumerate(case.rounds))
    run(driver.load(case.image))
    for column, words in case.inputs.items():
        run(driver.port.send(column, words[: len(words) // 2]))
    run(driver.start(rounds))
    run(driver.start(rounds))
    with pytest.raises(Refused, match="start pending"):
        run(driver.start(rounds))
    with pytest.raises(Refused, match="FLUSH was refused: running"):
        run(driver.flush())
    run(driver.load(Image(SMALL), wait=False))
    if way == "watchdog":
        run(driver.watchdog(100))
        with pytest.raises(DriverError, match="region 0 was aborted by the watchdog"):
            run(driver.finish())
        run(driver.watchdog(0))
    else:
        run(getattr(driver, way)())
    state = run(driver.state())
    assert (state.running, state.starting, state.done) == (False, False, False)
    assert (state.aborted, state.timed_out, state.loaded) == (
        way != "reset",
        way == "watchdog",
        way != "reset",
    )
    run(driver.flush())
    for column in want:
        run(driver.port.receive(column))
    run(driver.load(case.image))
    assert run(driver.run(case.inputs, rounds, {c: len(w) for c, w in want.items()})) == want


def test_a_program_without_end_does_not_begin():
    driver, image = _driver(), Image(SMALL)
    image.write(Space.SEQUENCER, (0, 0), SequencerRegister.SPAN, {"slot": 1})
    run(driver.load(image))
    with pytest.raises(Refused, match="START was refused: no end"):
        run(driver.start({0: 1}))
    case = random_case(SMALL, 0, "all")
    run(driver.load(case.image))
    run(driver.start(dict(enumerate(case.rounds))))
    run(driver.start({0: 1}))
    run(driver.load(image, wait=False))
    for column, words in case.inputs.items():
        run(driver.port.send(column, words))
    with pytest.raises(DriverError, match="did not begin: its program has no end"):
        run(driver.finish())


def test_saturated_elements_are_counted_and_flagged():
    driver = _driver()
    found = []
    for seed in range(1003, 1008):
        case = random_case(SMALL, seed)
        run(driver.load(case.image))
        expected = GoldenArray(case.image).run(case.inputs, case.rounds, keep_links=False)
        before = run(driver.saturated())
        run(
            driver.run(
                case.inputs,
                dict(enumerate(case.rounds)),
                {c: len(w) for c, w in expected.outputs.items()},
            )
        )
        found.append(run(driver.saturated()) - before)
        assert found[-1] == expected.saturated
        assert run(driver.state()).saturated == (expected.saturated > 0)
    assert any(found)
    assert not all(found)
