"""When words leave a region, as a run of the golden model shows it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from spu.arch.bitstream import Image
from spu.model import words as w
from spu.model.array import GoldenArray
from spu.model.region import RegionModel
from spu.model.words import Stream


class _Traced(RegionModel):
    """A region that writes down when it emits."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.trace: dict[int, list[int]] = {}

    def emits(self) -> list:
        found = super().emits()
        for stream, words in found:
            if w.valid(words).any():
                self.trace.setdefault(stream, []).append(self.cycle)
        return found


@dataclass(frozen=True)
class Observed:
    """By region: executed cycles of a run, and those in which words left, by stream."""

    cycles: list[int]
    emitted: list[dict[int, list[int]]] = field(repr=False)


def observe(image: Image, inputs: Mapping[int, Stream], rounds: int | Sequence[int]) -> Observed:
    """Run a program on the golden model; raises what ``GoldenArray.run`` does."""
    array = GoldenArray(image, region_model=_Traced)
    result = array.run(inputs, rounds, keep_links=False)
    traces = [region.trace for region in array.regions if isinstance(region, _Traced)]
    return Observed(result.region_cycles, traces)
