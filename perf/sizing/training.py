"""Energy, time and money of training runs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from perf.constants import Number
from perf.llm.decoder import Decoder, decoder
from perf.machines import machine
from perf.sizing.chips import chip, h100
from perf.sizing.service import YEARS, chip_dollars, chip_watts

_YEAR = 365 * 86400
_GIGA = 1e9


@dataclass(frozen=True)
class Run:
    """A training run on a chip: FLOP, years of one chip, joules of the hall, dollars."""

    name: str
    flop: Any
    chip_years: Any
    joules: Any
    dollars: Any


def training_flop(shape: Decoder, tokens: Any) -> Any:
    """6 operations a parameter that a token passes, without attention (arXiv:2001.08361)."""
    return 6 * shape.active_parameters * tokens


def runs(c: Mapping[str, Number], name: str) -> list[Run]:
    """Of 2.1, 70 and 175 G parameters on a chip of ``perf.sizing.chips``.

    An H100 in bfloat16 has the utilisation of Llama 3; other chips are faster as their sustained
    rates are: that a run converges in 8 or 4 bits is not shown by this.
    """
    peak = machine("h100").peak("bfloat16")
    faster = chip(c, name).flop_rate / h100(c, "bf16").flop_rate
    achieved = peak * c["train_utilisation_bf16"] * faster
    each = (
        ("2.1 G", 6 * (2.1 * _GIGA) ** 2 * c["train_tokens_per_parameter"]),
        ("70 G", training_flop(decoder("llama-2-70b"), c["llama2_70b_tokens"])),
        ("175 G", training_flop(decoder("gpt-3-175b"), c["gpt3_tokens"])),
    )
    return [_run(c, name, label, flop, flop / achieved) for label, flop in each]


def _run(c: Mapping[str, Number], name: str, label: str, flop: Any, seconds: Any) -> Run:
    joules = seconds * chip_watts(c) * c["train_power_share"]
    share = seconds / (YEARS * _YEAR * c["availability"])
    dollars = chip_dollars(c, name.partition("-")[0]) * share
    return Run(label, flop, seconds / _YEAR, joules, dollars)
