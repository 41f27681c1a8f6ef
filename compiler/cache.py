"""Compiled models kept by what they were made of, so that none is compiled twice.

An entry is a directory, named by its key, with the package and ``told.json``, what the command said
of it.  It comes whole, under a name of its own until it is; what is damaged is no entry.  Where
there is no place to keep anything, nothing is kept, and nobody is told.
"""

import hashlib
import json
import os
import re
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from spu.arch.errors import UserError
from spu.arch.files import NEW
from spu.arch.package import manifest
from spu.arch.params import Architecture

#: Names the directory of the entries; empty, there are none.
VARIABLE = "SPU_CACHE"
#: Of all entries together; the least recently used go first.  40 packages of a sentence encoder.
MOST_BYTES = 1 << 31
#: What decides how a model is compiled: packages of this distribution, and others by version.
SOURCES = ("compiler", "spu", "pal_units")
OTHERS = ("pal-spu", "numpy", "numba", "onnx", "ortools", "networkx")
TOLD = "told.json"
_KEY = re.compile("[0-9a-f]{64}")
#: What is written to until it is complete, and the seconds after which nobody does any more: a
#: package is copied in some seconds.
_UNFINISHED, ABANDONED = re.compile(rf"{_KEY.pattern}\.[0-9a-f]{{32}}\.new"), 3600


def directory() -> Path | None:
    """Where entries are: ``SPU_CACHE``, else below ``XDG_CACHE_HOME`` or ``~/.cache``; None for no
    place."""
    if (named := os.environ.get(VARIABLE)) is not None:
        return Path(named) if named else None
    shared = os.environ.get("XDG_CACHE_HOME", "")
    if Path(shared).is_absolute():
        return Path(shared) / "pal-spu"
    try:
        return Path.home() / ".cache" / "pal-spu"
    except RuntimeError:  # no home
        return None


def key_of(
    model: Path, arch: Architecture, samples: Sequence[Path], options: Mapping[str, Any]
) -> str | None:
    """Of a model with its external data, an array, files of calibration data in their order and
    options that JSON takes, for the compiler that is installed; None if something cannot be read,
    which compiling tells.
    """
    whole = hashlib.sha256()
    shown = ((path.suffix, path.read_bytes()) for path in samples)
    about = [asdict(arch), dict(options), {name: _version(name) for name in OTHERS}]
    try:
        for part in (_sources(), _model(model), shown):
            for name, content in part:
                whole.update(f"{name} {len(content)} ".encode())
                whole.update(content)
            whole.update(b"\n")
    except (OSError, ValueError):
        return None
    whole.update(json.dumps(about, sort_keys=True).encode())
    return whole.hexdigest()


@dataclass(frozen=True)
class Told:
    """What the command says of a package: ``notes``, and a ``line`` of a ``file`` of it, or of the
    directory."""

    notes: tuple[str, ...]
    file: str
    line: str


def copied(key: str, out: Path) -> Told | None:
    """Write the package of a key into a directory; returns what was told of it, or None if there is
    no such entry.

    Raises ``OSError`` for a directory that cannot be written to.
    """
    place = directory()
    if place is None:
        return None
    entry = place / key
    try:
        found = json.loads((entry / TOLD).read_text())
        told = Told(tuple(map(str, found["notes"])), str(found["file"]), str(found["line"]))
        files = manifest.contents_of(entry)
    except (OSError, ValueError, LookupError, TypeError):
        return None
    with suppress(OSError):
        os.utime(entry)
    manifest.put(out, files)
    return told


def keep(key: str, package: Path, told: Told) -> None:
    """Make an entry of what was written, if that is possible, in the place of a damaged one."""
    place = directory()
    if place is None:
        return
    new = place / f"{key}.{uuid.uuid4().hex}.new"
    try:
        with suppress(OSError, UserError):  # full, read only; or another one came first
            manifest.put(new, manifest.contents_of(package))
            (new / TOLD).write_text(json.dumps(asdict(told)))
            _remove(place / key)
            new.rename(place / key)
    finally:
        _remove(new)
    with suppress(OSError):
        _bound(place)


def _bound(place: Path) -> None:
    """Remove the least recently used entries until the others are of ``MOST_BYTES``, and what
    processes that ended within left."""
    for path in place.iterdir():
        if _UNFINISHED.fullmatch(path.name) and time.time() - path.stat().st_mtime > ABANDONED:
            _remove(path)
    entries = sorted(
        (path for path in place.iterdir() if _KEY.fullmatch(path.name)),
        key=lambda path: path.stat().st_mtime,
        reverse=True,
    )
    size = 0
    for entry in entries:
        size += sum(path.stat().st_size for path in _files(entry) if path.is_file())
        if size > MOST_BYTES:
            _remove(entry)


def _files(entry: Path) -> Iterator[Path]:
    """What entries hold, and files that were not completed: nothing else is removed."""
    yield from (entry / TOLD, *manifest.own_files(entry))
    for place in (entry, entry / manifest.PROGRAMS):
        yield from place.glob(f"{NEW}*.new")


def _remove(entry: Path) -> None:
    for path in _files(entry):
        with suppress(OSError):
            path.unlink()
    for path in (entry / manifest.PROGRAMS, entry):
        with suppress(OSError):
            path.rmdir()


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _sources() -> Iterator[tuple[str, bytes]]:
    """Names and contents of the files of the compiler and of what it is made of."""
    root = Path(__file__).resolve().parent.parent
    for path in sorted(path for name in SOURCES for path in (root / name).rglob("*.py")):
        yield path.relative_to(root).as_posix(), path.read_bytes()


def _model(path: Path) -> Iterator[tuple[str, bytes]]:
    """A model and the files of its external data: one that has some says ``location``."""
    content = path.read_bytes()
    yield path.stem, content
    if b"location" not in content:
        return
    from google.protobuf.message import DecodeError
    from onnx import ModelProto

    try:
        parsed = ModelProto.FromString(content)
    except DecodeError as error:
        raise ValueError(str(error)) from None
    for name in sorted({*_locations(parsed)}):
        yield name, (path.parent / name).read_bytes()


def _locations(message: Any) -> Iterator[str]:
    """Names of the files of external data of a message of protobuf, and of those within."""
    from google.protobuf.message import Message

    for field, value in message.ListFields():
        if field.name == "external_data":
            yield from (entry.value for entry in value if entry.key == "location")
        elif field.message_type is not None:
            for each in [value] if isinstance(value, Message) else value:
                yield from _locations(each)
