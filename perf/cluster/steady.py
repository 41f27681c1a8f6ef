"""Steps of a replica in closed form: a batch that decodes while prompts are filled in between.

A step has four parts: products with weights, attention, operators between them, and what chips
send each other.  A part takes as long as it computes or as long as it loads, whichever is longer.
Of all parts but the longest a share is ``exposed``: 1 where they run one after another.  Chips are
given by sustained rates, not by peaks.  All numbers may be arrays of samples.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from perf.cluster.links import Fabric, all_reduce, scatter, send
from perf.cluster.split import Split, SplitError, splits
from perf.llm.decoder import Decoder

#: Share of a chip's memory for weights and cache; the rest is for what a step works on, as serving
#: stacks keep it (vLLM's gpu_memory_utilization is 0.9).
USABLE = 0.9
#: Bits of the numbers that chips exchange.
_SENT_BITS = 16


@dataclass(frozen=True)
class Chip:
    """Sustained FLOP/s and bytes/s, bytes of memory, ``exposed`` of 0 to 1; bits of a weight and
    of a number of the cache, scales included.

    ``fused``: operators between products take their operands from where these leave them, not from
    memory.
    """

    flop_rate: Any
    bandwidth: Any
    memory: Any
    exposed: Any
    fabric: Fabric
    weight_bits: Any = 8.0
    cache_bits: Any = 8.0
    fused: bool = False


@dataclass(frozen=True)
class Replica:
    """A decoder on the chips of one replica.  Raises ``SplitError`` where it cannot be split so."""

    decoder: Decoder
    chip: Chip
    split: Split

    def __post_init__(self) -> None:
        self.split.check(self.decoder)

    @property
    def weight_bytes(self) -> Any:
        """Bytes of weights on the chip that has most."""
        d, s = self.decoder, self.split
        kept = d.parameters - d.expert_layers * d.experts * d.expert_parameters
        routed = d.parameters - kept
        stage = _stage(d, s)
        return (kept * stage / s.tp + routed * stage / (s.tp * s.ep)) * self.chip.weight_bits / 8

    def cache_bytes(self, tokens: Any) -> Any:
        """Bytes of a chip's cache for ``tokens`` of all queries of the replica."""
        d, s = self.decoder, self.split
        copies = s.tp if d.latent else max(1, s.tp // d.kv_heads)
        share = copies / (s.tp * s.ep) * _stage(d, s)
        return tokens * d.cache_numbers * share * self.chip.cache_bits / 8

    def most_tokens(self) -> Any:
        """Tokens whose cache the memory has room for; not positive where the weights have none."""
        room = USABLE * self.chip.memory - self.weight_bytes
        return room / self.cache_bytes(1.0)

    def step(self, batch: Any, context: Any, prefill: Any = 0.0, prefill_flop: Any = 0.0) -> Any:
        """Seconds in which ``batch`` queries get a token each, with ``context`` tokens before, and
        ``prefill`` tokens of prompts, of ``prefill_flop`` operations in all, are filled in.

        With stages the queries are split into as many parts, so that all stages work.
        """
        d, s, chip = self.decoder, self.split, self.chip
        parts, stage, ways = s.pp, _stage(d, s), s.tp * s.ep
        tokens = (batch + prefill) / parts
        attended = batch * d.attention_flop(context) / parts
        flop = (batch * d.token_flop + prefill_flop) / parts
        read = d.shared_parameters / s.tp + d.routed_parameters(tokens) / ways
        products = np.maximum(
            flop / ways / chip.flop_rate, read * chip.weight_bits / 8 / chip.bandwidth
        )
        attention = np.maximum(
            attended / ways / chip.flop_rate,
            self.cache_bytes(batch * context) / stage / parts / chip.bandwidth,
        )
        moved = 0.0 if chip.fused else d.moved_numbers * _SENT_BITS / 8 / ways
        between = tokens * moved / chip.bandwidth
        times = (products * stage, attention * stage, between * stage, self._send(tokens))
        return parts * _together(chip.exposed, *times)

    def _send(self, tokens: Any) -> Any:
        """Seconds of a stage's collectives for a part of a step."""
        d, s, fabric = self.decoder, self.split, self.chip.fabric
        each = tokens / s.ep * d.width * _SENT_BITS / 8
        layers = d.layers * _stage(d, s)
        time = 2 * layers * all_reduce(fabric, s.tp, each)
        if s.ep > 1:
            own = tokens / (s.ep * s.tp)
            there, back = (  # a token in the bits of the weights, results as they are
                scatter(fabric, s.tp * s.ep, own * d.width * bits / 8, d.active_experts)
                for bits in (self.chip.weight_bits, _SENT_BITS)
            )
            time = time + d.expert_layers * _stage(d, s) * (there + back)
        if s.pp > 1:
            time = time + send(fabric, s.tp * s.ep, each)
        return time


@dataclass(frozen=True)
class Steady:
    """A replica in balance: queries in it, seconds a step, output tokens a second of it."""

    split: Split
    batch: Any
    step: Any

    @property
    def rate(self) -> Any:
        """Output tokens a second of a replica."""
        return self.batch / self.step

    @property
    def chip_rate(self) -> Any:
        """Output tokens a second of a chip."""
        return self.rate / self.split.replica


def steady(
    replica: Replica, inputs: Any, outputs: Any, token_seconds: Any = np.inf, cached: Any = 0.0
) -> Steady:
    """The largest batch of queries of so many tokens that memory and latency allow.

    ``cached``: tokens of a query that are in the cache already, and only attended to.

    Batches are powers of 2^(1/4), and the one that fills the memory.  A batch of 0 with a rate of 0
    where not one query is possible.
    """
    d = replica.decoder
    context = cached + inputs + outputs / 2
    most = np.maximum(np.floor(replica.most_tokens() / context), 0.0)
    flop = (d.prefill_flop(cached + inputs) - d.prefill_flop(cached)) / outputs
    best = np.zeros(np.shape(most + 0.0 * (outputs + token_seconds)))
    time = np.full(best.shape, np.inf)
    for exponent in range(4 * 17):
        batch = np.minimum(np.floor(2.0 ** (exponent / 4)), most)
        seconds = replica.step(batch, context, batch * inputs / outputs, batch * flop)
        taken = (batch >= 1) & (seconds <= token_seconds)
        if not taken.any():  # nor would a larger one be
            break
        better = taken & (batch > best)
        best, time = np.where(better, batch, best), np.where(better, seconds, time)
    return Steady(replica.split, best, time)


def fastest(
    decoder: Decoder,
    chip: Chip,
    chips: int,
    server: int,
    inputs: float,
    outputs: float,
    token_seconds: float = np.inf,
    cached: float = 0.0,
) -> Steady:
    """The split of so many chips with most tokens a second; raises ``SplitError`` if none holds
    the decoder and a query."""
    found = [
        steady(Replica(decoder, chip, split), inputs, outputs, token_seconds, cached)
        for split in splits(decoder, chips, server)
    ]
    found = [each for each in found if each.rate > 0]
    if not found:
        raise SplitError(
            f"{decoder.name}: no split over {chips} chips holds the weights and a query of "
            f"{cached + inputs + outputs:.0f} tokens in time"
        )
    return max(found, key=lambda each: float(each.chip_rate))


def _stage(decoder: Decoder, split: Split) -> float:
    """Share of the layers in the largest stage."""
    return -(-decoder.layers // split.pp) / decoder.layers


def _together(exposed: Any, *times: Any) -> Any:
    """Seconds of parts of which the longest hides others as far as they are not ``exposed``."""
    longest, total = times[0], times[0]
    for each in times[1:]:
        longest, total = np.maximum(longest, each), total + each
    return longest + exposed * (total - longest)
