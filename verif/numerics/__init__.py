"""The accuracy study: PAL formats and their peers on the same data."""


class MissingPackage(RuntimeError):
    """A package that only the study needs is not installed."""

    def __init__(self, name: str | None) -> None:
        super().__init__(f"{name} is not installed: run `make numerics`, which installs it")
