"""The main job: agreement on every word and cycle, and its failure when anything is wrong."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from pal_units import tables
from spu.arch import bitstream
from spu.arch.config import Space
from spu.arch.params import CONFIGS
from spu.engine import codec
from spu.engine.rtl_run import rtl_text
from spu.model.array import GoldenArray
from verif.digits.data import split
from verif.simulate import Job, simulate

ROOT = Path(__file__).parents[3]
TINY, BASIC = CONFIGS["tiny"], CONFIGS["basic"]
SUMMARY_KEYS = {
    "images",
    "accuracy_rtl",
    "accuracy_golden",
    "accuracy_float",
    "mismatching_words",
    "cycles_rtl",
    "cycles_golden",
    "cycles_compiler",
    "macs_per_cycle",
    "peak_macs_per_cycle",
    "seconds",
}


def test_basic_classifies_all_held_out_images_as_the_golden_model_does(tmp_path, console, compiled):
    outcome = simulate(Job(BASIC, compiled=compiled("basic"), out=tmp_path), console)
    assert outcome.failures == []
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert set(summary) == SUMMARY_KEYS
    assert summary["images"] >= 300
    assert summary["mismatching_words"] == 0
    assert summary["cycles_rtl"] == summary["cycles_golden"] == summary["cycles_compiler"]
    assert summary["accuracy_rtl"] == summary["accuracy_golden"]
    assert abs(summary["accuracy_rtl"] - summary["accuracy_float"]) <= 0.01


def test_random_stalls_cost_exactly_the_held_cycles(tmp_path, console, compiled):
    outcome = simulate(
        Job(BASIC, images=60, stall_share=0.5, seed=5, compiled=compiled("basic"), out=tmp_path),
        console,
    )
    assert outcome.failures == []  # outputs and links unchanged, cycles = active + held
    counters = outcome.counters
    assert counters["HELD_INPUT_0"] > 0
    assert counters["HELD_OUTPUT_0"] > 0
    assert outcome.summary["cycles_golden"] == counters["ACTIVE_0"]
    held = counters["HELD_INPUT_0"] + counters["HELD_OUTPUT_0"]
    assert counters["CYCLES_0"] == counters["ACTIVE_0"] + held
    # Only one stream goes in and one comes out, so its own counter tells the same.
    assert sum(counters[f"INPUT_HOLDS_{c}"] for c in range(4)) == counters["HELD_INPUT_0"]
    assert sum(counters[f"OUTPUT_HOLDS_{c}"] for c in range(4)) >= counters["HELD_OUTPUT_0"]


def test_a_format_of_4_bits_runs_as_well(tmp_path, console):
    outcome = simulate(Job(TINY, images=2, fmt="PAL4T", out=tmp_path), console)
    assert outcome.failures == []


def _flipped(compiled, space, bit, tmp_path):
    """The program with one bit of a row flipped, all CRCs right; the first row that matters."""
    inputs = codec.encode_inputs(split()[2][:2], compiled.report, compiled.arch)
    want = GoldenArray(compiled.image).run(inputs, 2).outputs
    rows = [(k, r) for k, rows in compiled.image.rows.items() if k[0] is space for r in rows]
    for key, row in rows:
        image = bitstream.decode(compiled.content, compiled.arch).image
        image.rows[key][row] = image.rows[key].get(row, 0) ^ 1 << bit
        if GoldenArray(image).run(inputs, 2).outputs != want:
            path = tmp_path / "flipped.spub"
            path.write_bytes(bitstream.encode(image))
            return path, key, row
    raise AssertionError("no row whose flip changes an output")


def test_a_flipped_weight_bit_fails_and_is_named(tmp_path, console, compiled):
    path, (_, r, c), row = _flipped(compiled("tiny"), Space.WEIGHT, 7, tmp_path)  # a sign
    outcome = simulate(
        Job(TINY, images=2, compiled=compiled("tiny"), program=path, out=tmp_path), console
    )
    assert any(
        re.search(
            rf"program: tile \({r},{c}\) weight row {row} word 0: "
            r"expected 0x\w+, got 0x\w+",
            f,
        )
        for f in outcome.failures
    )
    assert any(
        re.search(
            r"first difference on a link: tile \(\d,\d\) \w+, cycle \d+: "
            r"expected 0x\w+, got 0x\w+",
            f,
        )
        for f in outcome.failures
    )


def test_a_flipped_context_bit_fails_and_is_named(tmp_path, console, compiled):
    path, (_, r, c), row = _flipped(compiled("tiny"), Space.CONTEXT, 16, tmp_path)
    outcome = simulate(
        Job(TINY, images=2, compiled=compiled("tiny"), program=path, out=tmp_path), console
    )
    assert any(
        f.startswith(f"program: tile ({r},{c}) context row {row} word 0: expected 0x")
        for f in outcome.failures
    )
    assert any("first difference on a link" in f for f in outcome.failures)
    assert any(
        re.search(r"outputs: tile \(1,\d\) output word \d+: expected [\w/]+, got [\w/]+", f)
        for f in outcome.failures
    )


@pytest.mark.parametrize("space", [s for s in Space if s is not Space.MEMORY])
def test_every_flipped_bit_of_a_row_is_found(space, compiled):
    """Also bits that change no output, such as those of padding columns."""
    from verif.expected.compare import image_differences

    image = bitstream.decode(compiled("tiny").content, TINY).image
    key = next(k for k in image.rows if k[0] is space)
    row = next(iter(image.rows[key]))
    for bit in range(32):
        changed = bitstream.decode(compiled("tiny").content, TINY).image
        changed.rows[key][row] ^= 1 << bit
        again = bitstream.decode(bitstream.encode(changed), TINY).image
        assert len(image_differences(image, again)) == 1


@pytest.mark.regress
def test_a_changed_table_entry_in_the_rtl_fails(tmp_path, console, compiled):
    """Entry 77 of the logarithm's base table, in every unit that has one."""
    text, value = rtl_text(TINY), int(tables.log_base()[77])
    entry = re.compile(rf"(log_base\[77\] = 13'[hd]){value:04x};")
    assert entry.search(text), "table entry not found in the Verilog"
    verilog = tmp_path / "spu.v"
    verilog.write_text(entry.sub(rf"\g<1>{value ^ 64:04x};", text))
    outcome = simulate(
        Job(TINY, images=3, compiled=compiled("tiny"), verilog=verilog, out=tmp_path), console
    )
    assert any(
        re.search(r"first difference on a link: tile \(\d,\d\)", f) for f in outcome.failures
    )


def test_a_miswired_crossbar_of_one_tile_fails_and_the_tile_is_named(tmp_path, console, compiled):
    """Tile (1,1) gets the word from its west where the one from its north belongs."""
    text = rtl_text(TINY)
    start = text.index("tile_memory tile_1_1")
    instance = text[start : text.index(");", text.index(".west_o", start))]
    miswired = re.sub(
        r"\.north_i\(\w+\)",
        re.search(r"\.west_i\(\w+\)", instance)[0].replace("west_i", "north_i"),
        instance,
    )
    assert miswired != instance
    verilog = tmp_path / "spu.v"
    verilog.write_text(text.replace(instance, miswired))
    outcome = simulate(
        Job(TINY, images=2, compiled=compiled("tiny"), verilog=verilog, out=tmp_path), console
    )
    assert any("first difference on a link: tile (1,1)" in f for f in outcome.failures)


#: Names of what is complete in a cache of simulators.
DONE = re.compile(r"[\w-]+-[0-9a-f]{16}(\.lock)?")
#: Begins to build the RTL of an array that nobody has built, says so, and waits.
BUILD = """
import dataclasses, sys, time
from spu.arch.params import CONFIGS
from spu.engine.rtl_run import building_rtl
if __name__ == "__main__":
    with building_rtl(dataclasses.replace(CONFIGS["tiny"], name="never")):
        print("begun", flush=True)
        time.sleep(600)
"""


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_a_build_beside_ends_with_who_began_it_and_leaves_nothing_half_made(how, tmp_path):
    (tmp_path / "begin.py").write_text(BUILD)
    with subprocess.Popen(
        [sys.executable, "begin.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        cache = tmp_path / "build" / "sim-cache"
        assert _comes(lambda: any(p.is_dir() for p in cache.glob("*")))
        process.send_signal(how)
    assert _comes(lambda: not _of(tmp_path))
    # What was done by then is kept by its digest; aside, names are longer.
    assert [p.name for p in cache.iterdir() if not DONE.fullmatch(p.name)] == []


def _comes(true):
    """Whether something comes true within a minute."""
    end = time.monotonic() + 60
    while not (found := true()) and time.monotonic() < end:
        time.sleep(0.1)
    return found


def _of(directory):
    """Processes that work in a directory."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if Path(os.readlink(entry / "cwd")).is_relative_to(directory):
                found.append(entry.name)
    return found
