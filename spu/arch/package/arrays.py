"""Arrays of a compiled model in one file, each read, and its digest looked at, when it is used.

Of an array the file has the bytes in the narrowest type that holds all its numbers exactly; an axis
along which nothing changes has length 1 there; what compresses well is compressed.  Arrays of equal
bytes share them.  The report has the rest: ``Entry``.
"""

import errno
import hashlib
import os
import stat
import weakref
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from spu.arch.errors import PackageError

#: How the file begins.
MAGIC = b"SPUA\x01\x00\x00\x00"
#: Of a type by its kind, narrowest first; what is none of these stays as it is.
NARROWER = {"i": ("i1", "i2", "i4"), "f": ("f4",)}
#: An array is compressed where that leaves at most this share: indices of layouts and sparse
#: weights, not codes, which have 0.9 of their size after ten times the time to read them.
WORTHWHILE = 0.5
#: Bytes of the beginning by which it is seen whether compressing may be worthwhile.
TRIED = 1 << 16


@dataclass(frozen=True)
class Entry:
    """An array in the file: ``dtype`` and ``shape`` as it was given, ``held`` type and ``kept``
    shape of its bytes, at ``offset``, ``size`` of them, SHA-256 ``digest``; ``packed`` by zlib."""

    dtype: str
    shape: tuple[int, ...]
    held: str
    kept: tuple[int, ...]
    offset: int
    size: int
    digest: str
    packed: bool

    def __post_init__(self) -> None:
        if self.offset < len(MAGIC) or self.size < 0 or min(self.shape + self.kept, default=0) < 0:
            raise ValueError(f"no array: {self}")


class ArrayFile:
    """Bytes of arrays by name, to be written, and ``entries`` of them for the report."""

    def __init__(self, arrays: Mapping[str, NDArray]) -> None:
        self.entries: dict[str, dict[str, Any]] = {}
        self._parts: list[bytes] = [MAGIC]
        places: dict[str, tuple[int, int, bool]] = {}
        end = len(MAGIC)
        for name, values in arrays.items():
            held = _narrowed(_without_repeats(values))
            content = held.tobytes()
            packed = _compressed(content)
            stored = content if packed is None else packed
            digest = _digest(stored)
            if digest not in places:
                places[digest] = end, len(stored), packed is not None
                self._parts.append(stored)
                end += len(stored)
            offset, size, is_packed = places[digest]
            entry = Entry(
                values.dtype.str,
                values.shape,
                held.dtype.str,
                held.shape,
                offset,
                size,
                digest,
                is_packed,
            )
            self.entries[name] = asdict(entry)

    def write(self, sink: BinaryIO) -> None:
        """Into a file."""
        for part in self._parts:
            sink.write(part)


class Arrays:
    """Arrays of a file by name, read when they are asked for.

    The file stays open: of one that is removed, or made anew, these are still the arrays.
    """

    def __init__(self, path: Path, entries: Mapping[str, Mapping[str, Any]]) -> None:
        """Raises ``PackageError`` for a file that has not the size that the entries say."""
        self._name, self._read = path.name, dict[tuple[Any, ...], NDArray]()
        self.entries = {
            name: Entry(**{**entry, "shape": tuple(entry["shape"]), "kept": tuple(entry["kept"])})
            for name, entry in entries.items()
        }
        if self.entries:
            end = max(entry.offset + entry.size for entry in self.entries.values())
            self._source = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
            weakref.finalize(self, os.close, self._source)
            found = os.fstat(self._source)
            if stat.S_ISDIR(found.st_mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
            if found.st_size != end:
                raise self._damaged()

    def __contains__(self, name: str) -> bool:
        return name in self.entries

    def __getitem__(self, name: str) -> NDArray:
        """The array, not to be written to.

        Raises ``PackageError`` if the file was changed since it was written, ``OSError``.
        """
        entry = self.entries[name]
        key = entry.offset, entry.held, entry.kept, entry.dtype, entry.shape
        if key not in self._read:
            self._read[key] = self._array(entry)
        return self._read[key]

    def check(self, content: bytes) -> None:
        """Raise ``PackageError`` if any array is not as written in the content of the file."""
        for entry in self.entries.values():
            if _digest(content[entry.offset : entry.offset + entry.size]) != entry.digest:
                raise self._damaged()

    def _array(self, entry: Entry) -> NDArray:
        content = os.pread(self._source, entry.size, entry.offset)
        if _digest(content) != entry.digest:
            raise self._damaged()
        if entry.packed:
            content = zlib.decompress(content)
        held = np.frombuffer(content, np.dtype(entry.held)).reshape(entry.kept)
        return np.broadcast_to(held.astype(np.dtype(entry.dtype), copy=False), entry.shape)

    def _damaged(self) -> PackageError:
        return PackageError(f"{self._name} was changed or damaged; spu compile writes all anew")


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _without_repeats(values: NDArray) -> NDArray:
    """With one of each axis along which nothing changes, bit for bit."""
    bits = np.ascontiguousarray(values).reshape(values.shape)
    bits = bits.view(f"u{values.dtype.itemsize}")
    for axis, length in enumerate(values.shape):
        first = bits.take([0], axis) if length > 1 else bits
        # The last one tells most apart at once.
        if length > 1 and (first == bits.take([-1], axis)).all() and (first == bits).all():
            bits = first
    return bits.view(values.dtype)


def _narrowed(values: NDArray) -> NDArray:
    """In the narrowest type that holds all of them exactly, and of floats zero's sign."""
    for name in NARROWER.get(values.dtype.kind, ()):
        if np.dtype(name).itemsize < values.dtype.itemsize:
            with np.errstate(over="ignore"):
                held = values.astype(name)
            if held.astype(values.dtype).tobytes() == values.tobytes():
                return held
    return values


def _compressed(content: bytes) -> bytes | None:
    """By zlib, or None where that is not worthwhile."""
    if not content or len(zlib.compress(content[:TRIED])) > WORTHWHILE * len(content[:TRIED]):
        return None
    packed = zlib.compress(content)
    return packed if len(packed) <= WORTHWHILE * len(content) else None
