"""Build simulators from Verilog, cached by content, and run cocotb testbenches in them."""

import contextlib
import hashlib
import os
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cocotb_tools.config

from rtl.kept import kept
from rtl.tools import (
    SIMULATORS,
    MissingTool,
    SimulationError,
    available,
    require,
    tail,
    verilator_version,
)
from rtl.verilate import LONG, RECIPE, SHORT, THREADED, verilate

__all__ = [
    "LONG",
    "SHORT",
    "SIMULATORS",
    "THREADED",
    "Build",
    "MissingTool",
    "SimulationError",
    "available",
    "build",
    "place",
    "require",
]

#: Modules whose assertions show their operands.  cocotb would have pytest rewrite all that a
#: testbench imports, numba and SciPy too: 6 seconds a simulation.
_ASSERTING = "*bench.py"


@dataclass(frozen=True)
class Build:
    """A compiled simulation of ``top`` in ``directory``."""

    simulator: str
    top: str
    directory: Path
    waves: bool

    def run(
        self,
        module: str,
        work: Path,
        expected: int,
        environment: Mapping[str, str] = {},
        seed: int = 0,
        tests: Sequence[str] = (),
        plusargs: Sequence[str] = (),
    ) -> None:
        """Run the cocotb tests of a module in directory ``work``; they must all pass.

        ``expected`` is the number of tests that must have run: a filter that matches
        nothing is a failure.  The log is ``work/cocotb.log``, the waves (if built with
        them) ``work/waves.fst``.  Raises ``SimulationError`` with the failure messages.
        """
        work = work.resolve()
        work.mkdir(parents=True, exist_ok=True)
        log, results = work / "cocotb.log", work / "results.xml"
        results.unlink(missing_ok=True)
        runner = _runner(self.simulator)
        arguments, plusargs = [], list(plusargs)
        if self.waves and self.simulator == "verilator":
            arguments = ["--trace-file", str(work / "waves.fst")]
        if self.waves and self.simulator == "icarus":
            plusargs.append(f"+dumpfile_path={work / 'waves.fst'}")
        try:
            with _outside_pytest():
                runner.test(
                    test_module=module,
                    hdl_toplevel=self.top,
                    hdl_toplevel_lang="verilog",
                    build_dir=self.directory,
                    test_dir=work,
                    results_xml=str(results),
                    log_file=log,
                    seed=seed,
                    waves=self.waves,
                    test_args=arguments,
                    plusargs=plusargs,
                    testcase=list(tests) or None,
                    extra_env={
                        "COCOTB_ANSI_OUTPUT": "0",
                        "COCOTB_REWRITE_ASSERTION_FILES": _ASSERTING,
                        "LD_LIBRARY_PATH": os.pathsep.join(
                            filter(
                                None,
                                (
                                    str(cocotb_tools.config.libs_dir),
                                    os.environ.get("LD_LIBRARY_PATH"),
                                ),
                            )
                        ),
                        **environment,
                    },
                )
        except SystemExit:
            pass  # judged by the results file
        if not results.exists():
            raise SimulationError(f"{self.simulator} left no results: {tail(log)}")
        cases = list(ET.parse(results).iter("testcase"))
        failures = [f for case in cases for f in (*case.iter("failure"), *case.iter("error"))]
        if failures:
            raise SimulationError(
                "; ".join(
                    f.get("error_msg") or f.get("message") or f.text or "failed" for f in failures
                )
            )
        if len(cases) != expected:
            raise SimulationError(f"{len(cases)} tests of {module} ran, {expected} were expected")


@contextlib.contextmanager
def _outside_pytest() -> Iterator[None]:
    """cocotb's runner judges results itself under pytest; ``Build.run`` does it always."""
    saved = {
        k: os.environ.pop(k) for k in ("PYTEST_CURRENT_TEST", "WAVES", "GUI") if k in os.environ
    }
    try:
        yield
    finally:
        os.environ.update(saved)


def _runner(simulator: str) -> Any:
    """cocotb's, imported with all of cocotb when something is simulated."""
    from cocotb_tools.runner import get_runner

    return get_runner(simulator)


def build(
    verilog: str,
    top: str,
    cache: Path,
    simulator: str = "verilator",
    waves: bool = False,
    blocks: Sequence[str] = (),
    effort: int = SHORT,
) -> Build:
    """Compile Verilog for a simulator; a build of the same text is reused.

    ``blocks`` are modules that Verilator compiles once each, however often they are
    instantiated: clocked by rising edges alone, all outputs registers.  ``effort``: of
    ``SHORT``, ``LONG``, ``THREADED``, the last in as many threads as there are cores.  Raises
    ``SimulationError``, and ``MissingTool`` before any work.
    """
    directory = place(verilog, top, cache, simulator, waves, blocks, effort)

    def fill(aside: Path) -> None:
        if simulator == "verilator":
            verilate(verilog, aside, top, waves, blocks, effort)
        else:
            (aside / f"{top}.v").write_text(verilog)
            _build_icarus(aside, top, waves)

    if not directory.exists():
        require(simulator)
    return Build(simulator, top, kept(directory, fill), waves)


def place(
    verilog: str,
    top: str,
    cache: Path,
    simulator: str,
    waves: bool = False,
    blocks: Sequence[str] = (),
    effort: int = SHORT,
) -> Path:
    """Where ``build`` leaves the same; it is there if it was built before."""
    key = hashlib.sha256(
        "\0".join(
            [
                verilog,
                top,
                simulator,
                str(waves),
                str(effort),
                *blocks,
                RECIPE,
                sys.prefix,
                verilator_version() if simulator == "verilator" else "",
                str(cache.resolve()),
            ]
        ).encode()
    ).hexdigest()[:16]
    return cache.resolve() / f"{simulator}-{top}-{key}"


def _build_icarus(directory: Path, top: str, waves: bool) -> None:
    with _outside_pytest():
        _runner("icarus").build(
            sources=[directory / f"{top}.v"],
            hdl_toplevel=top,
            build_dir=directory,
            waves=waves,
            timescale=("1ns", "1ps"),
            log_file=directory / "build.log",
        )
