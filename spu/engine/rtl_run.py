"""Run a program on the RTL: build the simulator, run the testbench, read its results."""

import hashlib
import json
import multiprocessing
import os
import signal
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import pal_units
import rtl
import spu.arch
import spu.rtl
from rtl import emit, simulator
from spu.arch.files import check_directory
from spu.arch.packing import to_words
from spu.arch.params import Architecture
from spu.model.array import Result
from spu.model.words import Stream

#: Everything that this project builds.
BUILD = Path("build")


@dataclass(frozen=True)
class RtlResult:
    """What the testbench left.

    ``difference`` is the first word on a link that differs from the golden model
    (cycle, tile, link, expected, got), or None.  ``compared_cycles`` and ``run_cycles``
    are the executed and all cycles of the run, counted by the testbench.  ``counters`` began at 0.
    """

    outputs: dict[int, Stream]
    counters: dict[str, int]
    done: bool
    difference: dict | None
    compared_cycles: int
    run_cycles: int

    @property
    def saturated(self) -> int:
        """Elements above the top of PAL16, in all tiles."""
        return sum(count for name, count in self.counters.items() if name.startswith("SATURATED_"))


def rtl_text(arch: Architecture) -> str:
    """Verilog of an array to simulate, cached under ``build/rtl`` by the sources that make it.

    At power-up its memories hold random words, as in silicon, always the same ones.
    """
    digest = hashlib.sha256(arch.canonical_json().encode())
    for package in (pal_units, spu.arch, spu.rtl, rtl):
        for source in sorted(Path(package.__path__[0]).rglob("*.py")):
            digest.update(source.read_bytes())
    path = BUILD / "rtl" / f"{arch.name.replace(' ', '_')}-{digest.hexdigest()[:16]}.v"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{uuid.uuid4().hex}")
        temporary.write_text(emit.with_random_memories(emit.spu_verilog(arch), seed=1))
        temporary.replace(path)
    return path.read_text()


def check_rtl(
    arch: Architecture,
    sim: str = "verilator",
    waves: bool = False,
    verilog: str | None = None,
    effort: int = simulator.SHORT,
) -> None:
    """Raise ``MissingTool`` or ``OSError`` if ``build_rtl`` cannot work here; before any work."""
    for name in ("rtl", "sim-cache"):
        check_directory(BUILD / name)
    try:
        simulator.require(sim)
    except simulator.MissingTool:
        if sim != "verilator" or not _is_built(arch, sim, waves, verilog, effort):
            raise


def _is_built(
    arch: Architecture,
    sim: str,
    waves: bool,
    verilog: str | None = None,
    effort: int = simulator.SHORT,
) -> bool:
    """Whether ``build_rtl`` would find what it builds."""
    cache = BUILD / "sim-cache"
    if not any(cache.glob(f"{sim}-spu-*")):
        return False
    text = verilog if verilog is not None else rtl_text(arch)
    tiles = emit.tile_modules(arch)
    return simulator.place(text, "spu", cache, sim, waves, tiles, effort).exists()


@contextmanager
def workplace() -> Iterator[Path]:
    """A directory for one run, so that runs side by side do not meet."""
    BUILD.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="run-", dir=BUILD) as name:
        yield Path(name)


def build_rtl(
    arch: Architecture,
    sim: str = "verilator",
    waves: bool = False,
    verilog: str | None = None,
    effort: int = simulator.SHORT,
) -> simulator.Build:
    """Simulator of an array, or of other Verilog with the same ports and modules.

    ``sim``: ``"verilator"`` or ``"icarus"``; ``effort``: see ``rtl.simulator.build``, whose errors
    it raises.
    """
    return simulator.build(
        verilog if verilog is not None else rtl_text(arch),
        "spu",
        BUILD / "sim-cache",
        sim,
        waves,
        emit.tile_modules(arch),
        effort,
    )


@contextmanager
def building_rtl(
    arch: Architecture, sim: str = "verilator", waves: bool = False, verilog: str | None = None
) -> Iterator[Callable[[], simulator.Build]]:
    """Begin ``build_rtl`` in a process of its own; yields what waits for the simulator.

    Which raises as ``build_rtl``: what fails in the process fails again here, and says why.  The
    process ends with the context or with this process at the latest, and all that it started;
    what is half made is removed.  Scripts that are run need ``if __name__ == "__main__":``, as for
    every process that is spawned.
    """
    arguments = (arch, sim, waves, verilog)
    if _is_built(*arguments):
        yield lambda: build_rtl(*arguments)
        return
    process = multiprocessing.get_context("spawn").Process(target=_build_aside, args=arguments)
    process.start()

    def built() -> simulator.Build:
        process.join()
        return build_rtl(*arguments)

    try:
        yield built
    finally:
        process.terminate()
        process.join()


def _build_aside(*arguments: Any) -> None:
    os.setsid()  # a group of its own, with all that it starts
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    signal.signal(signal.SIGTERM, _end)
    threading.Thread(target=_follow, daemon=True).start()
    with suppress(simulator.SimulationError, simulator.MissingTool, OSError):
        build_rtl(*arguments)


def _end(*_: object) -> None:
    """Stop the tools, which then fail, and leave as from an exception."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.killpg(0, signal.SIGTERM)
    raise SystemExit(1)


def _follow() -> None:
    """End with the process that began this one, however that ends."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


def run_rtl(
    build: simulator.Build,
    arch: Architecture,
    content: bytes,
    golden: Result,
    inputs: Mapping[int, Stream],
    iterations: int,
    work: Path,
    stall_share: float = 0.0,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda seen, total: None,
) -> RtlResult:
    """Run ``iterations`` of a program file on an array of one region.

    ``golden`` tells how many words and cycles to expect, and every word on every link.
    ``stall_share`` is the share of cycles in which each end of each stream pauses.
    Raises ``simulator.SimulationError``.
    """
    work.mkdir(parents=True, exist_ok=True)
    for name in ("result.json", "progress"):
        (work / name).unlink(missing_ok=True)
    (work / "program.spub").write_bytes(content)
    (work / "job.json").write_text(
        json.dumps(
            {
                "arch": asdict(arch),
                "iterations": iterations,
                "stall_share": stall_share,
                "seed": seed,
                "expected_words": [len(golden.outputs[c]) for c in range(arch.cols)],
            }
        )
    )
    words = arch.data_bits // 32
    np.savez(
        work / "inputs.npz",
        **{  # type: ignore[arg-type]
            str(c): np.array([[*to_words(data, words), bias] for data, bias in stream], np.uint32)
            for c, stream in inputs.items()
            if stream
        },
    )
    np.save(work / "links.npy", golden.links[0][..., 0, :])
    stop = threading.Event()
    watcher = threading.Thread(target=_watch, args=(work / "progress", stop, progress), daemon=True)
    watcher.start()
    try:
        build.run(
            "spu.engine.bench",
            work,
            expected=1,
            seed=seed,
            environment={"SPU_JOB": str(work.resolve())},
        )
    finally:
        stop.set()
        watcher.join()
    result = json.loads((work / "result.json").read_text())
    outputs = {
        c: [(int(data, 16), bias) for data, bias in words]
        for c, words in enumerate(result["outputs"])
    }
    return RtlResult(
        outputs,
        result["counters"],
        result["done"],
        result["difference"],
        result["compared_cycles"],
        result["run_cycles"],
    )


def run_same(
    build: simulator.Build,
    arch: Architecture,
    content: bytes,
    golden: Result,
    inputs: Mapping[int, Stream],
    iterations: int,
    work: Path,
    stall_share: float = 0.0,
    seed: int = 0,
) -> RtlResult:
    """``run_rtl``; raises ``SimulationError`` where RTL and golden model differ.

    In a word of a link or of an output stream, in the cycles executed, or in what a tile counted
    as saturated.
    """
    result = run_rtl(build, arch, content, golden, inputs, iterations, work, stall_share, seed)
    reason: object = result.difference
    if reason is None and result.outputs != golden.outputs:
        reason = "words of output streams"
    if reason is None and result.counters["ACTIVE_0"] != golden.cycles:
        reason = f"{result.counters['ACTIVE_0']} cycles, the golden model {golden.cycles}"
    for (row, col), counts in golden.tile_saturated.items():
        got = result.counters[f"SATURATED_{row}_{col}"]
        if reason is None and got != counts[0]:
            reason = f"{got} saturated elements in tile ({row},{col}), the golden model {counts[0]}"
    if reason is None and not result.done:
        reason = "the run did not end"
    if reason is not None:
        raise simulator.SimulationError(f"RTL and golden model differ: {reason}")
    return result


def _watch(path: Path, stop: threading.Event, progress: Callable[[int, int], None]) -> None:
    while not stop.wait(0.2):
        try:
            seen, total = path.read_text().split()
        except (OSError, ValueError):
            continue
        progress(int(seen), int(total))
