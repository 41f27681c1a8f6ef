"""What a driver needs of the hardware."""

from abc import ABC, abstractmethod
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

#: Words of a stream: data and block bias.
Words = Sequence[tuple[int, int]]
T = TypeVar("T")


class Refused(RuntimeError):
    """A register access that the SPU answered with an error."""


class Port(ABC):
    """The buses of one SPU.

    Methods are coroutines, so that a port may live in a simulator; one that does not wait
    for anything can be used from ordinary code with ``run``.
    """

    @abstractmethod
    async def read(self, address: int) -> int:
        """A 32-bit register by byte address.  Raises ``Refused``."""

    @abstractmethod
    async def write(self, address: int, value: int) -> None:
        """Write a 32-bit register.  Raises ``Refused``."""

    @abstractmethod
    async def load(self, content: bytes) -> None:
        """Send words to the loader and return when they were taken."""

    @abstractmethod
    async def send(self, column: int, words: Words) -> None:
        """Queue words for the input stream of a column; need not wait for them to be taken."""

    @abstractmethod
    async def receive(self, column: int) -> list[tuple[int, int]]:
        """All words that the output stream of a column gave since it was last asked."""

    @abstractmethod
    async def wait(self) -> None:
        """Let some time pass: called between looks at a register that must change."""


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Result of a coroutine over a port that never waits for anything outside.

    Raises ``RuntimeError`` if it does wait.
    """
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    coroutine.close()
    raise RuntimeError("the port waits for something outside; run it in an event loop")
