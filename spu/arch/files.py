"""Output files: looked at before the work, then written completely or not at all."""

import contextlib
import errno
import os
import tempfile
import uuid
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

#: Writes the content of a file into a sink.
Writer = Callable[[Any], object]
#: How files are called until they are complete, with the suffix ``.new``.
NEW = ".spu-"


def check_file(path: Path) -> None:
    """Raise ``OSError`` if a file cannot be written there; changes nothing."""
    if path.is_dir():
        raise OSError(errno.EISDIR, "is a directory, a file is wanted", str(path))
    if not _special(path):
        if not path.parent.exists():
            raise OSError(errno.ENOENT, "no such directory", str(path.parent))
        _probe(path.parent, path)


def check_directory(path: Path, names: Iterable[str] = ()) -> None:
    """Raise ``OSError`` if a directory cannot be made or files ``names`` not be written there.

    Changes nothing.
    """
    place = path
    while not os.path.lexists(place) and place != place.parent:
        place = place.parent
    if not place.is_dir():
        raise OSError(errno.ENOTDIR, "is no directory, a directory is wanted", str(place))
    _probe(place, path)
    for name in names:
        if (path / name).is_dir():
            raise OSError(errno.EISDIR, "is a directory, a file is wanted", str(path / name))


def replace_file(path: Path, write: Writer) -> None:
    """Write a file completely or not at all; raises ``OSError`` with the file's name."""
    replace_files({path: write})


def replace_files(files: Mapping[Path, Writer]) -> None:
    """Write all files or none, making the directories that are missing.

    The last file is gone before another one changes, and comes last: where it is, everything is.
    Raises ``OSError`` that names the file; then nothing is left behind.
    """
    made: list[Path] = []  # directories, the outermost first
    new: dict[Path, Path] = {}  # new file by its place
    try:
        for path, write in files.items():
            if _special(path):
                with _named(path), open(path, "wb") as sink:
                    write(_Sink(sink))
                continue
            place = Path(os.path.realpath(path))
            with _named(path):
                _make(place.parent, made)
                # Threads write side by side, and machines that share a directory share numbers.
                new[place] = place.with_name(f"{NEW}{uuid.uuid4().hex}.new")
                with open(new[place], "wb") as sink:
                    write(_Sink(sink))
        if new:
            with _named(last := list(new)[-1]):
                last.unlink(missing_ok=True)
        for place, temporary in new.items():
            with _named(place):
                temporary.replace(place)
        made = []
    finally:
        for temporary in new.values():
            temporary.unlink(missing_ok=True)
        for directory in reversed(made):
            with contextlib.suppress(OSError):
                directory.rmdir()


class _Sink:
    """Only writes: numpy and zipfile then report a full disk as Python does."""

    def __init__(self, sink: BinaryIO) -> None:
        self.write, self.flush = sink.write, sink.flush
        self.read = sink.read  # numpy asks whether there is one


class _named:
    """Errors of the system get the name of the file that the user asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
            raise OSError(error.errno, error.strerror or str(error), str(self.path)) from None


def _special(path: Path) -> bool:
    """Whether this is a device or a pipe, which is written to and not replaced."""
    return path.exists() and not path.is_file() and not path.is_dir()


def _probe(directory: Path, path: Path) -> None:
    with _named(path), tempfile.TemporaryFile(dir=directory):
        pass


def _make(directory: Path, made: list[Path]) -> None:
    """Make a directory and those above; ``made`` gets the ones that were not there."""
    if not directory.exists():
        _make(directory.parent, made)
        directory.mkdir()
        made.append(directory)
