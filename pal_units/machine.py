"""Compiled functions (numba), for the whole project: kept on disk, safe in threads and forks.

They let go of Python's lock, and ``in_pieces`` runs them on all cores by threads of its own
that end with the call.  Numba's threads are not used: those of GNU OpenMP end a process that
forks, those of its work queue one that calls from two threads.
"""

import contextlib
import hashlib
import os
import pickle
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numba
from llvmlite.binding import ffi
from numba.core import config as _config
from numba.core.compiler_lock import global_compiler_lock
from numba.core.serialize import dumps

#: Of numba; it has its members from the environment.
config: Any = _config
#: Elements of work that are worth a thread, some milliseconds.
WORTH_A_THREAD = 1 << 16
#: Pieces a thread, so that none waits long for a slow one.
_PIECES = 4
#: Of llvmlite, around every call of LLVM; without it the import fails, not a fork.
_LLVM: Any = ffi.lib._lock


def _lock() -> None:
    """Taken before a fork, in the order in which numba takes them when it compiles."""
    global_compiler_lock.acquire()
    _LLVM.__enter__()


def _release() -> None:
    try:
        _LLVM.__exit__(None, None, None)
    finally:
        global_compiler_lock.release()


# A child that is forked while another thread compiles, or lets go of what was compiled, would wait
# for a lock for ever.
os.register_at_fork(before=_lock, after_in_parent=_release, after_in_child=_release)


def compiled(
    function: Callable | None = None, *, sources: tuple[Path, ...] = (), **options: Any
) -> Any:
    """A function compiled at its first call, as a decorator with or without options.

    The machine code is kept beside the source, or in the user's cache; where neither can be
    written, or has no space, it is not kept.  It is compiled anew when what is kept is damaged,
    when its file changes, or one of ``sources``, which it needs to name if it calls functions of
    other files.  ``options`` are numba's.
    """
    if function is None:
        return lambda f: compiled(f, sources=sources, **options)
    dispatcher: Any = numba.njit(nogil=True, **options)(function)
    directory = code_directory(sources) if sources else config.CACHE_DIR
    if directory is None or config.DISABLE_JIT:
        return dispatcher
    elsewhere, config.CACHE_DIR = config.CACHE_DIR, directory
    try:
        dispatcher.enable_caching()
        _forgive(dispatcher._cache)
    except RuntimeError:  # numba found no place
        pass
    finally:
        config.CACHE_DIR = elsewhere
    return dispatcher


@cache
def code_directory(sources: tuple[Path, ...]) -> str | None:
    """A directory for this version of some files; others beside it are deleted.

    A copy of them is another version: numba goes by their times.
    """
    times = repr([path.stat().st_mtime for path in sources]).encode()
    digest = hashlib.sha256(
        b"".join((times, *(path.read_bytes() for path in sources)))
    ).hexdigest()[:16]
    beside = sources[0].parent / "__pycache__"
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    for place in (Path(config.CACHE_DIR or beside), Path(home, "pal-spu")):
        directory = place / f"kernels-{digest}"
        try:
            directory.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=directory).close()
        except OSError:
            continue
        for old in beside.glob("kernels-*") if place == beside else ():
            if old != directory:
                shutil.rmtree(old, ignore_errors=True)
        return str(directory)
    return None


def _forgive(cache: Any) -> None:
    """A cache that cannot be written any more, or whose files are damaged, is no error.

    Pickles that are damaged raise whatever they like, and machine code that is runs: a digest
    is kept with it.
    """
    load, save = cache.load_overload, cache.save_overload
    file = cache._cache_file
    file.load, file.save = _checked(file.load), _with_digest(file.save)

    def load_overload(*arguments: Any) -> Any:
        try:
            return load(*arguments)
        except Exception:
            with contextlib.suppress(OSError):
                cache.flush()
        return None

    def save_overload(*arguments: Any) -> None:
        with contextlib.suppress(Exception):
            save(*arguments)

    cache.load_overload, cache.save_overload = load_overload, save_overload


def _digest(key: Any, content: bytes) -> bytes:
    return hashlib.sha256(repr(key).encode() + content).digest()


def _with_digest(save: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
    def checked(key: Any, data: Any) -> None:
        content = dumps(data)
        save(key, (_digest(key, content), content))

    return checked


def _checked(load: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """What ``_with_digest`` kept under a key, None if nothing; ``ValueError`` if it is damaged."""

    def checked(key: Any) -> Any:
        kept = load(key)
        if kept is None:
            return None
        digest, content = kept
        if digest != _digest(key, content):
            raise ValueError("a damaged file of the cache")
        return pickle.loads(content)

    return checked


def in_pieces(kernel: Callable[..., object], count: int, work: int, *arguments: Any) -> None:
    """``kernel(start, stop, *arguments)`` for ranges that make up ``range(count)``.

    On all cores where ``work``, the elements of the whole, is worth it; the kernel writes
    only what belongs to its range.
    """
    threads = min(config.NUMBA_NUM_THREADS, work // WORTH_A_THREAD, count)
    if threads > 1:
        pieces = min(_PIECES * threads, count)
        edges = [count * i // pieces for i in range(pieces + 1)]
        try:
            with ThreadPoolExecutor(threads) as pool:
                for _ in pool.map(
                    lambda start, stop: kernel(start, stop, *arguments), edges[:-1], edges[1:]
                ):
                    pass
            return
        except RuntimeError:  # no thread can be started: a limit, or Python is ending
            pass
    kernel(0, count, *arguments)
