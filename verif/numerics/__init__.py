"""The accuracy study: PAL formats and their peers on the same data."""

from importlib.util import find_spec


class MissingPackage(RuntimeError):
    """A package that only the study needs is not installed."""

    def __init__(self, name: str | None) -> None:
        super().__init__(f"{name} is not installed: run `make numerics`, which installs it")


def require(name: str) -> None:
    """Raise ``MissingPackage`` if a package is not installed."""
    if find_spec(name) is None:
        raise MissingPackage(name)
