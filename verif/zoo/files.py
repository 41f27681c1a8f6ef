"""Files of installed packages, by distribution and name; nothing of these packages is imported."""

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from spu.command.extras import MissingPackage

COMMAND = "make zoo"


def file_of(package: str, ending: str) -> Path:
    """The file of an installed distribution whose path ends so.

    Raises ``MissingPackage`` where the distribution is not installed, and ``LookupError`` where
    it has no such file, or several.
    """
    try:
        files = distribution(package).files or ()
    except PackageNotFoundError:
        raise MissingPackage(f"{package} is not installed: {COMMAND} installs it") from None
    found = [Path(str(f.locate())) for f in files if f"/{f.as_posix()}".endswith(f"/{ending}")]
    if len(found) != 1:
        raise LookupError(f"{package} has {len(found)} files that end in {ending!r}, not one")
    return found[0]


def version_of(package: str) -> str:
    """Name and version of an installed distribution; raises ``MissingPackage``."""
    try:
        return f"{package}=={distribution(package).version}"
    except PackageNotFoundError:
        raise MissingPackage(f"{package} is not installed: {COMMAND} installs it") from None
