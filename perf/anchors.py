"""Published figures of energy and speed, computed again from the inputs that were published.

The first three are arithmetic on published inputs: that they agree says that sizing counts as its
sources do, not that it foresees anything.  The others are predictions, of ``perf.cluster.steady``
and of ``perf.sizing.training``; the constant ``serving`` was chosen with DeepSeek's day in mind.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from perf.cluster.split import Split
from perf.cluster.steady import Replica, steady
from perf.constants import Number
from perf.llm.decoder import decoder
from perf.sizing.chips import h100
from perf.sizing.training import training_flop

_DAY = 86400
_HOUR = 3600


@dataclass(frozen=True)
class Anchor:
    """A figure in ``unit``: as published, as computed, how far off it may be, and what of."""

    name: str
    unit: str
    published: float
    computed: float
    bar: float
    how: str

    @property
    def off(self) -> float:
        """Computed over published, less 1."""
        return self.computed / self.published - 1


def epoch_query(c: Mapping[str, Number]) -> Number:
    """Watt-hours of a query as Epoch AI reckons: time at a utilisation of the peak, times power."""
    seconds = 2 * c["epoch_active_parameters"] * c["epoch_tokens"]
    seconds /= c["epoch_peak"] * c["epoch_utilisation"]
    watts = c["server_watts"] / c["server_chips"] * c["epoch_power_share"] * c["epoch_pue"]
    return seconds * watts / _HOUR


def deepseek_token(c: Mapping[str, Number]) -> Number:
    """Joules an output token of DeepSeek's day: mean nodes at rated power, all input included."""
    return c["deepseek_nodes"] * c["server_watts"] * c["pue"] * _DAY / c["deepseek_output_tokens"]


def nvl72_token(c: Mapping[str, Number]) -> Number:
    """Joules a token of Llama-2-70B on a GB200 NVL72 rack at rated power."""
    return c["nvl72_watts"] * c["nvl72_pue"] / c["nvl72_llama2_70b_rate"]


def mlperf_rate(c: Mapping[str, Number]) -> Number:
    """Output tokens a second of Llama-2-70B on 8 H100 in FP8, offline: all the queries at once.

    Replicas of two chips, the fewest that hold the weights and more than a few queries; each
    matrix split.
    """
    made = steady(
        Replica(decoder("llama-2-70b"), h100(c, "fp8"), Split(tp=2, dp=4)),
        c["mlperf_input_tokens"],
        c["mlperf_output_tokens"],
    )
    return made.rate * made.split.dp


def deepseek_rate(c: Mapping[str, Number]) -> Number:
    """Output tokens a second of 8 chips, prompts filled in, of deepseek-v3 as on DeepSeek's day.

    Experts over 128 chips; DeepSeek spreads them over 144 with 32 of them twice.  Of a query's
    tokens only the ratio of inputs to outputs is published and the mean length of the cache.
    """
    outputs = 1000.0
    fresh = (c["deepseek_input_tokens"] - c["deepseek_cached_tokens"]) / c["deepseek_output_tokens"]
    inputs = fresh * outputs
    cached = c["deepseek_context"] - inputs - outputs / 2
    made = steady(
        Replica(decoder("deepseek-v3"), h100(c, "fp8"), Split(ep=128)),
        inputs,
        outputs,
        c["deepseek_token_seconds"],
        cached,
    )
    return made.chip_rate * c["server_chips"]


def llama2_hours(c: Mapping[str, Number]) -> Number:
    """Hours of A100 that training Llama-2-70B takes at the utilisation that Llama 3 had."""
    flop = training_flop(decoder("llama-2-70b"), c["llama2_70b_tokens"])
    return flop / (c["a100_peak_bf16"] * c["train_utilisation_bf16"]) / _HOUR


def anchors(c: Mapping[str, Number]) -> list[Anchor]:
    """All, of values of the constants."""
    return [
        Anchor(
            "Epoch AI, query of 500 tokens on GPT-4o",
            "Wh",
            0.301,
            epoch_query(c),
            0.01,
            "its own inputs: 2 x 100 G x 500 FLOP at 10 % of 989 TFLOP/s, 1275 W x 0.7 x 1.2",
        ),
        Anchor(
            "DeepSeek's day, output token",
            "J",
            1.43,
            deepseek_token(c),
            0.01,
            "226.75 published nodes; 10.2 kW rated and 1.2 of other sources, H800 taken as H100",
        ),
        Anchor(
            "NVL72, Llama-2-70B, token",
            "J",
            0.183,
            nvl72_token(c),
            0.01,
            "865 k tokens/s published; 132 kW rated and 1.2 are of other sources",
        ),
        Anchor(
            "MLPerf, Llama-2-70B on 8 H100",
            "token/s",
            24.7e3,
            float(mlperf_rate(c)),
            0.10,
            "predicted: 4 replicas of tp 2, FP8, efficiencies of single products as measured",
        ),
        Anchor(
            "DeepSeek's day, output tokens of a node",
            "token/s",
            float(c["deepseek_output_tokens"] / c["deepseek_nodes"] / _DAY),
            float(deepseek_rate(c)),
            0.30,
            "an upper bound: full batches at all hours, ep 128, H100, no speculation",
        ),
        Anchor(
            "Llama-2-70B, training",
            "A100 h",
            1.72e6,
            llama2_hours(c),
            0.10,
            "predicted: 6 x parameters x 2 T tokens at 40 % of the peak, as Llama 3 on H100",
        ),
    ]
