"""A compiled model on disk: its report, program files and arrays, in a directory.

``report.json`` is the manifest.  It has the ``version`` of this layout, the ``kind`` of model, the
``array`` by all its parameters with their hash ``arch_hash``, its ``programs`` and ``arrays`` (in
``arrays.bin``) by name with their digests, and a ``digest`` of itself.  The report, programs and
the size of the arrays' file are looked at when a model is read, each array when it is used: before
a run has given a number.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from spu.arch.bitstream import MAGIC
from spu.arch.errors import PackageError
from spu.arch.files import Writer, replace_files
from spu.arch.package import arrays as array_files
from spu.arch.package.arrays import ArrayFile, Arrays
from spu.arch.params import CONFIGS, Architecture, from_parameters

REPORT, ARRAYS, PROGRAMS, PROGRAM = "report.json", "arrays.bin", "programs", "program.spub"
#: What held the arrays up to version 6.
EARLIER_ARRAYS = "arrays.npz"
#: File of ``spu map`` with the places of all operations.
MAPPING = "mapping.json"
#: Of the layout; another one is refused.
VERSION = 7
_NAME = re.compile(r"(programs/)?\w+\.spub")
#: How reports begin, also those of before there were versions.
_BEGIN = re.compile(r'\{\n "(version|kind|name)": ')


@dataclass(frozen=True)
class Contents:
    """Report, program files by name, arrays by name, of a compiled model for an array."""

    report: dict
    programs: dict[str, bytes]
    arrays: Arrays
    arch: Architecture


def write(
    directory: Path,
    kind: str,
    report: Mapping[str, Any],
    programs: Mapping[str, bytes],
    arrays: Mapping[str, NDArray],
    arch: Architecture,
) -> dict:
    """Write a compiled model, everything or nothing, the report last; returns the report.

    Files of an older one there go.  Raises ``OSError`` with the file's name.
    """
    file = ArrayFile(arrays)
    whole = {
        "version": VERSION,
        "kind": kind,
        **report,
        "arch": arch.name,
        "arch_hash": f"{arch.hash:#010x}",
        "array": asdict(arch),
        "bytes": sum(map(len, programs.values())),
        "programs": {name: _digest(content) for name, content in programs.items()},
        "arrays": file.entries,
    }
    whole = json.loads(json.dumps(whole))  # lists for tuples, as it will be read
    whole["digest"] = _report_digest(whole)
    writers: dict[Path, Writer] = {}
    if arrays:
        writers[directory / ARRAYS] = file.write
    writers |= {directory / name: partial(_write, content) for name, content in programs.items()}
    writers[directory / REPORT] = partial(_write, (json.dumps(whole, indent=1) + "\n").encode())
    _replace(directory, writers)
    return whole


def _replace(directory: Path, writers: Mapping[Path, Writer]) -> None:
    """Write the files of a compiled model, the last one its report; those of an older one go."""
    old = _earlier(directory) or set()
    replace_files(writers)
    for path in old - writers.keys():
        path.unlink(missing_ok=True)
    with suppress(OSError):  # of other files
        (directory / PROGRAMS).rmdir()


def contents_of(directory: Path) -> dict[str, bytes]:
    """All files of a compiled model by name, every digest looked at, the report last; raises as
    ``read``."""
    found = read(directory)
    files = dict(found.programs)
    if found.arrays.entries:
        files[ARRAYS] = (directory / ARRAYS).read_bytes()
        found.arrays.check(files[ARRAYS])
    return files | {REPORT: (directory / REPORT).read_bytes()}


def put(directory: Path, files: Mapping[str, bytes]) -> None:
    """Write what ``contents_of`` found, as ``write`` does."""
    _replace(directory, {directory / name: partial(_write, x) for name, x in files.items()})


def remove(directory: Path) -> None:
    """Delete what ``write`` left in a directory, and the directory unless it holds other files."""
    for path in [directory / REPORT, *(_earlier(directory) or ())]:
        path.unlink(missing_ok=True)
    for place in (directory / PROGRAMS, directory):
        with suppress(OSError):  # of other files
            place.rmdir()


def _earlier(directory: Path) -> set[Path] | None:
    """Files that an earlier ``write`` left: those that the report lists; where it is damaged or of
    before there were versions, those that look so.  None if the report is of someone else.
    """
    try:
        text = (directory / REPORT).read_text()
    except FileNotFoundError:
        return set()
    except (OSError, ValueError):
        return None
    try:
        report = json.loads(text)
    except (ValueError, RecursionError):
        if not _BEGIN.match(text):
            return None
    else:
        if (
            not isinstance(report, dict)
            or "arch" not in report
            or not ({"io", "steps"} & report.keys())
        ):
            return None
        if isinstance(report.get("programs"), dict):
            listed = {
                *report["programs"],
                *([ARRAYS, EARLIER_ARRAYS] if report.get("arrays") else []),
            }
            return {
                path
                for path in _named(directory)
                if path.relative_to(directory).as_posix() in listed
            }
    return {path for path in _named(directory) if _looks_ours(path)}


def own_files(directory: Path) -> list[Path]:
    """Files there that have names of a compiled model's."""
    return [path for path in (directory / REPORT, *_named(directory)) if path.exists()]


def _named(directory: Path) -> list[Path]:
    """What is there of the names that ``write`` uses, but for the report."""
    return [
        path
        for path in (
            directory / ARRAYS,
            directory / EARLIER_ARRAYS,
            directory / PROGRAM,
            *sorted(
                path
                for kind in ("kernel", "product", "reblock")
                for path in (directory / PROGRAMS).glob(f"{kind}_*.spub")
            ),
        )
        if path.exists()
    ]


def _looks_ours(path: Path) -> bool:
    """Whether a file begins, or has members, as those of compiled models do."""
    try:
        if path.name == ARRAYS:
            with open(path, "rb") as source:
                return source.read(len(array_files.MAGIC)) == array_files.MAGIC
        if path.name == EARLIER_ARRAYS:
            with np.load(path, allow_pickle=False) as file:
                return all(re.fullmatch(r"(constant|index)_\d+", name) for name in file.files)
        with open(path, "rb") as source:
            return source.read(4) == MAGIC.to_bytes(4, "little")
    except Exception:  # whatever numpy and zipfile have for other files
        return False


def _write(content: bytes, sink: BinaryIO) -> None:
    sink.write(content)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _report_digest(report: Mapping[str, Any]) -> str:
    return _digest(json.dumps(report, sort_keys=True).encode())


def read(directory: Path) -> Contents:
    """What ``write`` wrote.

    Raises ``PackageError`` if it is not that, or was changed or damaged since, or is for an array
    that is not what its name says here; ``OSError`` for files that cannot be read.
    """
    try:
        return _read(directory)
    except OSError as error:
        if error.filename:
            raise
        raise PackageError(f"{directory}: not what spu compile wrote: {error}") from None
    except Exception as error:  # whatever numpy, zipfile, json and this reader have for damage
        what = str(error) or type(error).__name__
        raise PackageError(f"{directory}: not what spu compile wrote: {what}") from None


def foreign(directory: Path) -> Path | None:
    """A file of a name that ``write`` uses, and that is of no compiled model, or None."""
    own = _earlier(directory)
    return (
        directory / REPORT
        if own is None
        else next(
            (path for path in _named(directory) if path not in own and not _looks_ours(path)), None
        )
    )


def _read(directory: Path) -> Contents:
    try:
        report = json.loads((directory / REPORT).read_text())
    except (ValueError, RecursionError) as error:
        raise PackageError(f"{REPORT} is damaged: {error}") from None
    if not isinstance(report, dict) or report.get("version") != VERSION:
        version = report.get("version", "none") if isinstance(report, dict) else "none"
        raise PackageError(
            f"{REPORT} has version {version}, this spu reads {VERSION}; spu compile writes it anew"
        )
    digest = report.pop("digest")
    _check(REPORT, _report_digest(report), digest)
    if wrong := [name for name in report["programs"] if not _NAME.fullmatch(name)]:
        raise PackageError(f"{wrong[0]!r} is no name of a program file")
    programs = {}
    for name, digest in report["programs"].items():
        programs[name] = (directory / name).read_bytes()
        _check(name, _digest(programs[name]), digest)
    return Contents(report, programs, Arrays(directory / ARRAYS, report["arrays"]), _array(report))


def _check(name: str, found: str, written: str) -> None:
    if found != written:
        raise PackageError(f"{name} was changed or damaged; spu compile writes all anew")


def _array(report: Mapping[str, Any]) -> Architecture:
    """The array of a report, as its parameters say; by name only if it is that one."""
    arch, given = from_parameters(report["array"]), int(report["arch_hash"], 16)
    known = CONFIGS.get(arch.name, arch)
    for each in (arch, known):
        if each.hash != given:
            raise PackageError(
                f"is for an array {arch.name!r} of hash {given:#010x}, that of this "
                f"spu has {each.hash:#010x}; compile the model again"
            )
    return arch
