"""What the benches share that hold channels against their models in every cycle."""

import random
from collections import deque
from typing import Any

from spu.arch.external import ExternalMemory
from spu.arch.memory import Fault
from spu.model.chip.memory import MemoryModel
from spu.model.chip.read_channel import Job
from spu.rtl.memory import layouts
from verif.benches.memory_streams import bits, given_engine
from verif.stimulus.patterns import random_pattern

MEMORY_BYTES, LIMIT = 16384, 12288
ENGINE = given_engine()


def _long(rng: random.Random) -> tuple[dict[str, Any], list[int]]:
    """Rows of whole words, long ones."""
    word = ENGINE.word_bytes
    count, rows = rng.choice((16, 33, 80)), rng.randint(1, 3)
    loops = [{"count_less_1": count - 1, "stride": word}, {"count_less_1": rows - 1}]
    loops[1]["stride"] = rng.choice((count * word, 1024))
    base = rng.randrange((LIMIT - 4096) // word) * word
    return {"base": base, "size": word.bit_length() - 1, "loops": loops}, []


class ChannelBench:
    """Jobs, indices and words that are offered with pauses, and a memory that pauses."""

    def __init__(self, dut: Any, rng: random.Random, faulty: float) -> None:
        self.dut, self.rng = dut, rng
        self.share = rng.choice((0.0, 0.0, 0.3))
        self.jobs: deque[Job] = deque()
        self.indices: deque[int] = deque()
        for tag in range(rng.randint(1, 8)):
            pattern, indices = (
                _long(rng) if rng.random() < 0.4 else random_pattern(ENGINE, rng, LIMIT, 60, faulty)
            )
            self.jobs.append(Job(pattern, tag))
            self.indices.extend(indices)
        self.content = bytearray(rng.randbytes(MEMORY_BYTES))
        memory = ExternalMemory(
            MEMORY_BYTES,
            latency_cycles=rng.choice((2, 5, 40)),
            bytes_per_cycle=rng.choice((3, ENGINE.beat_bytes)),
            bursts=rng.choice((2, 16)),
        )
        self.memory = MemoryModel(ENGINE, memory, self.content)
        self.job: Job | None = None
        self.index: int | None = None

    def wait(self) -> bool:
        """Whether something pauses in this cycle."""
        return self.rng.random() < self.share

    def offer(self) -> None:
        """Jobs and indices of this cycle."""
        dut = self.dut
        if self.job is None and self.jobs and not self.wait():
            self.job = self.jobs.popleft()
            dut.i__payload.value = bits(layouts.job(ENGINE), self.job._asdict())
        if self.index is None and self.indices and not self.wait():
            self.index = self.indices.popleft()
            dut.index__payload.value = self.index
        dut.i__valid.value, dut.index__valid.value = self.job is not None, self.index is not None

    def taken(self, model: Any) -> None:
        """Forget what was taken; before the model goes on."""
        self.job = None if model.ready else self.job
        self.index = None if model.takes_index() else self.index


def shown(dut: Any, *names: str) -> dict[str, int]:
    return {name: int(getattr(dut, name).value) for name in names}


def check_burst(dut: Any, way: str, burst: Any) -> None:
    """A burst is on the bus, or none."""
    assert int(getattr(dut, f"bus__{way}valid").value) == (burst is not None), way
    if burst is not None:
        found = [int(getattr(dut, f"bus__{way}{name}").value) for name in ("id", "addr", "len")]
        assert found == [burst.id, burst.address, burst.beats - 1], way


def fault_shown(model: Any) -> tuple[Fault, int] | None:
    return None if model.fault is Fault.NONE else (model.fault, model.tag)
