"""The whole study of sizes: anchors first, then a service, its drivers, factors, training."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from perf.anchors import Anchor, anchors
from perf.constants import Constant, Number, draw, values
from perf.llm.decoder import Decoder
from perf.sizing.chips import CHIPS
from perf.sizing.factors import EQUAL, STEPS, factors
from perf.sizing.interval import Driver, Interval, corners, drivers, interval
from perf.sizing.service import Service, service, zetta
from perf.sizing.training import runs
from spu.arch.errors import UserError

#: What is said of a service, in the order of the tables.
FIGURES = ("rate", "joules", "dollars", "chips", "megawatts")
#: Figures in which more is better; of the others a ratio is turned round.
_MORE = ("rate",)
#: The chip that the others are set beside.
_BASES = ("h100-bf16", "h100-fp8")


class StudyError(UserError):
    """A request for a study that cannot be."""


@dataclass(frozen=True)
class Study:
    """Results by name; every figure an ``Interval`` of 90 %.

    ``services``: by chip and figure of ``Service``.  ``gains``: of an array over an H100 by (array,
    H100) and figure, above 1 where the array is better, sample by sample.  ``drivers`` and
    ``corners`` are of the megawatts of ``driven``.  ``factors``: by format and step, ``equal`` the
    product of those at equal area, power, memory and process, ``all`` of all.  ``zetta``: ZFLOP/s,
    peak and sustained.  ``training``: by chip and run: joules and dollars.
    """

    decoder: Decoder
    queries: float
    megawatts: float
    samples: int
    seed: int
    constants: Mapping[str, Constant]
    anchors: list[Anchor]
    services: dict[str, dict[str, Interval]]
    gains: dict[tuple[str, str], dict[str, Interval]]
    driven: str
    drivers: list[Driver]
    corners: tuple[float, float]
    factors: dict[str, dict[str, Interval]]
    zetta: dict[str, tuple[Interval, Interval]]
    training: dict[str, dict[str, tuple[Interval, Interval]]]


def study(
    constants: Mapping[str, Constant],
    decoder: Decoder,
    queries: float,
    megawatts: float,
    samples: int = 2000,
    seed: int = 1,
    driven: str = "spu-pal8",
) -> Study:
    """The study of a service of ``queries`` a day, and of a hall of ``megawatts``.

    Raises ``StudyError`` for numbers that are not positive, ``SplitError`` for a decoder that the
    chips cannot hold.
    """
    for name, number in (("queries", queries), ("megawatts", megawatts)):
        if not 0 < number < np.inf:
            raise StudyError(f"{name}: must be a positive number, not {number}")
    if samples < 100:
        raise StudyError(f"samples: an interval of 90 % needs 100 or more, not {samples}")
    centre, drawn = values(constants), draw(constants, samples, seed)
    services = {
        chip: tuple(service(c, decoder, chip, queries) for c in (centre, drawn)) for chip in CHIPS
    }

    def power(c: Mapping[str, Number]) -> Any:
        return service(c, decoder, driven, queries).megawatts

    moved = drivers(constants, power)
    return Study(
        decoder,
        queries,
        megawatts,
        samples,
        seed,
        constants,
        anchors(centre),
        {
            chip: {f: interval(*(getattr(s, f) for s in pair)) for f in FIGURES}
            for chip, pair in services.items()
        },
        {
            (chip, base): {f: _gain(services[chip], services[base], f) for f in FIGURES}
            for chip in CHIPS
            for base in _BASES
            if chip.startswith("spu")
        },
        driven,
        moved,
        corners(constants, power, moved),
        {fmt: _factors(centre, drawn, decoder, fmt) for fmt in ("pal8", "pal4")},
        {
            chip: _pair(*(zetta(c, chip, megawatts * 1e6) for c in (centre, drawn)))
            for chip in CHIPS
        },
        {
            chip: {
                here.name: (
                    interval(here.joules, there.joules),
                    interval(here.dollars, there.dollars),
                )
                for here, there in zip(runs(centre, chip), runs(drawn, chip), strict=True)
            }
            for chip in CHIPS
        },
    )


def _gain(ours: tuple[Service, ...], base: tuple[Service, ...], figure: str) -> Interval:
    with np.errstate(divide="ignore", invalid="ignore"):
        pairs = [
            getattr(a, figure) / getattr(b, figure)
            if figure in _MORE
            else getattr(b, figure) / getattr(a, figure)
            for a, b in zip(ours, base, strict=True)
        ]
    return interval(*pairs)


def _factors(
    centre: Mapping[str, Number], drawn: Mapping[str, Number], decoder: Decoder, fmt: str
) -> dict[str, Interval]:
    pair = [factors(c, decoder, fmt) for c in (centre, drawn)]
    for each in pair:
        parts = [each[step] for step in STEPS]
        each["equal"], each["all"] = _product(parts[:EQUAL]), _product(parts)
    return {name: interval(*(each[name] for each in pair)) for name in pair[0]}


def _product(parts: list[Any]) -> Any:
    made: Any = 1.0
    for part in parts:
        made = made * part
    return made


def _pair(value: tuple[Any, Any], samples: tuple[Any, Any]) -> tuple[Interval, Interval]:
    return interval(value[0], samples[0]), interval(value[1], samples[1])
