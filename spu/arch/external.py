"""The memory outside the chip, as simulations have it: how large it is, how late, how fast."""

from dataclasses import dataclass

from spu.arch.memory import MemoryEngine


@dataclass(frozen=True)
class ExternalMemory:
    """Parameters of a memory; raises ``ValueError`` for one that is out of range.

    ``size_bytes``: a multiple of the bytes of a beat, up to 4 GiB.  ``latency_cycles``: 2 to 1024,
    from an address that is taken on AR to the first beat on R, and from the last beat that is taken
    on W to the response on B.  ``bytes_per_cycle``: what reads and writes move together, 1 to twice
    the bytes of a beat.  ``bursts``: of reads, and as many of writes, that are under way; a power
    of two from 2 to 1024.
    """

    size_bytes: int
    latency_cycles: int = 100
    bytes_per_cycle: int = 32
    bursts: int = 64

    def __post_init__(self) -> None:
        for name, least, most in (
            ("size_bytes", 1, 1 << 32),
            ("latency_cycles", 2, 1024),
            ("bytes_per_cycle", 1, 256),
            ("bursts", 2, 1024),
        ):
            value = getattr(self, name)
            if not least <= value <= most:
                raise ValueError(f"{name} must be {least} to {most}, not {value}")
        if self.bursts & (self.bursts - 1):
            raise ValueError(f"bursts must be a power of two, not {self.bursts}")

    def check(self, engine: MemoryEngine) -> None:
        """Raise ``ValueError`` if the memory does not fit the bus of an engine."""
        beat = engine.beat_bytes
        if self.size_bytes % beat or self.size_bytes > 1 << engine.address_bits:
            raise ValueError(
                f"size_bytes must be a multiple of {beat} up to 2^{engine.address_bits}, "
                f"not {self.size_bytes}"
            )
        if self.bytes_per_cycle > 2 * beat:
            raise ValueError(
                f"bytes_per_cycle must be at most {2 * beat}, a beat on R and one on W, "
                f"not {self.bytes_per_cycle}"
            )
