"""What is built once and kept: by one process at a time, complete or not there."""

import contextlib
import fcntl
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path


@contextlib.contextmanager
def lock(path: Path) -> Iterator[None]:
    """Let one process at a time make a build; others wait and find it done."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def kept(directory: Path, fill: Callable[[Path], None]) -> Path:
    """The directory, which ``fill`` filled if it was not there.

    Built aside and moved into place: what is there is complete.  Others that want the same wait.
    Raises what ``fill`` raises, and leaves nothing but the lock then.
    """
    if directory.exists():
        return directory
    with lock(directory.with_name(f"{directory.name}.lock")):
        if not directory.exists():
            aside = Path(tempfile.mkdtemp(prefix=f"{directory.name}-", dir=directory.parent))
            try:
                fill(aside)
                aside.rename(directory)
            finally:
                shutil.rmtree(aside, ignore_errors=True)
    return directory
