"""A service of so many queries a day: chips, power, money, of values or of arrays of samples."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from perf.cluster.split import SplitError, splits
from perf.cluster.steady import Chip, Replica, steady
from perf.constants import Number
from perf.llm.decoder import Decoder
from perf.machines import machine
from perf.sizing.chips import chip

_DAY = 86400
_YEAR = 365 * _DAY
_JOULES_PER_KWH = 3.6e6
#: Years over which servers are written off.
YEARS = 4
#: Chips over which splits of a model are looked for.
CHIPS_OF_SPLITS = 32


@dataclass(frozen=True)
class Service:
    """What a decoder on a chip costs.  ``rate``: output tokens a second of a chip in production;
    ``joules``: of an output token, of the whole hall, its prompt included; ``dollars``: of a
    million output tokens over ``YEARS``; ``chips`` and ``megawatts``, mean, of all queries."""

    rate: Any
    joules: Any
    dollars: Any
    chips: Any
    megawatts: Any


def rate(c: Mapping[str, Number], decoder: Decoder, made: Chip) -> Any:
    """Output tokens a second of a chip with batches that memory and latency allow, the best split.

    Raises ``SplitError`` if no split over ``CHIPS_OF_SPLITS`` holds the model in any sample.
    """
    best: Any = 0.0
    for split in splits(decoder, CHIPS_OF_SPLITS, int(c["server_chips"])):
        found = steady(
            Replica(decoder, made, split),
            c["query_input_tokens"],
            c["query_output_tokens"],
            c["token_seconds"],
        )
        best = np.maximum(best, found.chip_rate)
    if np.max(best) <= 0:
        raise SplitError(
            f"{decoder.name}: no split over {CHIPS_OF_SPLITS} chips holds the weights and a query "
            f"of {np.max(c['query_input_tokens'] + c['query_output_tokens']):.0f} tokens in time"
        )
    return best


def service(c: Mapping[str, Number], decoder: Decoder, name: str, queries: float) -> Service:
    """A service of ``queries`` a day; raises ``SplitError`` as ``rate`` does."""
    kind = name.partition("-")[0]
    full = rate(c, decoder, chip(c, name))
    with np.errstate(divide="ignore"):  # samples in which no query is possible cost without bound
        made = full * c["serving"]
        joules = chip_watts(c) * c["power_share"] / made
        tokens = queries * c["query_output_tokens"] / _DAY
        worked = c["load_factor"] * c["availability"]
        dollars = chip_dollars(c, kind) / (made * worked * YEARS * _YEAR) * 1e6
        return Service(made, joules, dollars, tokens / made / worked, tokens * joules / 1e6)


def chip_watts(c: Mapping[str, Number]) -> Any:
    """Rated watts of a chip with its share of server and hall."""
    return c["server_watts"] / c["server_chips"] * c["pue"]


def chip_dollars(c: Mapping[str, Number], kind: str) -> Any:
    """Dollars of a chip over ``YEARS``: server, its share of the hall, upkeep, electricity.

    A server without load takes as much as one with load; electricity counts all hours.
    """
    server = c["server_price"] / c["server_chips"] * (c["price_ratio"] if kind == "spu" else 1.0)
    hall = c["hall_price"] * c["server_watts"] / c["server_chips"] * YEARS / c["hall_years"]
    energy = chip_watts(c) * c["power_share"] * YEARS * _YEAR / _JOULES_PER_KWH
    return server * (1 + YEARS * c["upkeep"]) + hall + energy * c["electricity_price"]


def zetta(c: Mapping[str, Number], name: str, watts: float) -> tuple[Any, Any]:
    """ZFLOP/s of all chips that ``watts`` of a hall feed, at peak and sustained by large products.

    The array's peak is that of its area.
    """
    kind, fmt = name.split("-")
    count = watts / chip_watts(c)
    if kind == "h100":
        peak: Any = machine("h100").peak("bfloat16" if fmt == "bf16" else fmt)
    else:
        peak = machine("h100").peak("fp8") * c["arithmetic_density"] / c[f"area_{fmt}"]
    return count * peak / 1e21, count * chip(c, name).flop_rate / 1e21
