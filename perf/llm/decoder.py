"""Decoders: parameters, operations and bytes of prefill and of a decoding step, from shapes.

Operations are FLOP, two a multiply-accumulate, of matrix products alone.  Counts of attention:
Vaswani et al. (arXiv:1706.03762); grouped queries: Ainslie et al. (arXiv:2305.13245); multi-head
latent attention, decoded with the latent's matrices absorbed: DeepSeek-V2 (arXiv:2405.04434).
"""

import tomllib
from dataclasses import dataclass, fields
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from spu.arch.errors import UserError

PATH = Path(__file__).parent / "decoders.toml"


class DecoderError(UserError):
    """A decoder that there is not, or a shape that is none."""


@dataclass(frozen=True)
class Decoder:
    """A decoder by its shape; all sizes are numbers of elements.

    ``hidden`` is of a feed-forward block without experts, and of each expert where
    ``expert_hidden`` is 0.  Raises ``DecoderError`` for sizes that contradict each other.
    """

    name: str
    source: str
    layers: int
    width: int
    heads: int
    kv_heads: int
    head_width: int
    hidden: int
    vocabulary: int
    published: float
    active: float = 0.0
    experts: int = 0
    active_experts: int = 0
    shared_experts: int = 0
    expert_hidden: int = 0
    dense_layers: int = 0
    query_latent: int = 0
    latent: int = 0
    latent_rope: int = 0
    positions: int = 0
    gated: bool = True
    tied: bool = False

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int) and value < (field.name in _POSITIVE):
                raise DecoderError(f"{self.name}: {field.name} must not be {value}")
        if self.heads % self.kv_heads:
            raise DecoderError(
                f"{self.name}: {self.heads} heads do not share {self.kv_heads} of keys and values"
            )
        if not self.active_experts <= self.experts or bool(self.experts) != bool(
            self.active_experts
        ):
            raise DecoderError(
                f"{self.name}: {self.active_experts} active experts of {self.experts}"
            )
        if self.dense_layers > self.layers:
            raise DecoderError(f"{self.name}: {self.dense_layers} dense of {self.layers} layers")

    @property
    def expert_layers(self) -> int:
        """Layers with experts."""
        return self.layers - self.dense_layers if self.experts else 0

    @property
    def attention_parameters(self) -> int:
        """Of one layer."""
        inner = self.heads * self.head_width
        if not self.latent:
            return 2 * self.width * (inner + self.kv_heads * self.head_width)
        queries = self.query_latent * (self.width + self.heads * self._query_width)
        keys = self.width * (self.latent + self.latent_rope) + self.latent * 2 * inner
        return queries + keys + inner * self.width

    @property
    def expert_parameters(self) -> int:
        """Of one expert."""
        return (3 if self.gated else 2) * self.width * (self.expert_hidden or self.hidden)

    @property
    def block_parameters(self) -> int:
        """Of one feed-forward block without experts."""
        return (3 if self.gated else 2) * self.width * self.hidden

    @property
    def parameters(self) -> int:
        """All, without biases and norms."""
        return self._with_experts(self.experts) + self._embeddings

    @property
    def active_parameters(self) -> int:
        """Those that a token passes, embeddings of both ends counted as ``parameters`` does."""
        return self._with_experts(self.active_experts) + self._embeddings

    @property
    def token_flop(self) -> int:
        """Operations a token without attention to other tokens: 2 for each matrix element."""
        return 2 * (self._with_experts(self.active_experts) + self.vocabulary * self.width)

    @property
    def cache_numbers(self) -> int:
        """Numbers of the KV cache a token."""
        if self.latent:
            return self.layers * (self.latent + self.latent_rope)
        return 2 * self.layers * self.kv_heads * self.head_width

    def attention_flop(self, context: Any) -> Any:
        """Operations of one token's attention to ``context`` others while it is decoded."""
        each = 2 * self.latent + self.latent_rope if self.latent else 2 * self.head_width
        return 2 * self.layers * self.heads * each * context

    def prefill_flop(self, tokens: Any) -> Any:
        """Operations of a prompt; only the last token's logits are computed."""
        each = self._query_width + self.head_width
        attention = 2 * self.layers * self.heads * each * tokens * (tokens + 1) / 2
        body = 2 * self._with_experts(self.active_experts)
        return body * tokens + attention + 2 * self.vocabulary * self.width

    def experts_touched(self, tokens: Any) -> Any:
        """Distinct experts of a layer that ``tokens`` choose, expected, if all are as likely."""
        if not self.experts:
            return 0.0 * tokens
        return self.experts * (1 - (1 - self.active_experts / self.experts) ** tokens)

    @property
    def shared_parameters(self) -> int:
        """Parameters that every step loads: all but the experts that tokens choose among.

        The table of embeddings is not: a step takes rows of it.
        """
        return self._with_experts(0) + self.vocabulary * self.width

    def routed_parameters(self, tokens: Any) -> Any:
        """Parameters of the experts that a step over ``tokens`` loads, expected."""
        return self.expert_layers * self.experts_touched(tokens) * self.expert_parameters

    @property
    def moved_numbers(self) -> int:
        """Numbers a token that operators between products read and write, each fused into one
        kernel: sums with norms (2 operands, sum and normed one), rotations with the cache's entry,
        operands and results of attention, activations."""
        queries = self.heads * self._query_width
        keys = self.cache_numbers // self.layers
        attention = 2 * (3 * self.width + self.width // 2) + 2 * queries + 2 * keys
        attention += queries + self.heads * self.head_width // 2
        ways = 2 if self.gated else 1
        blocks = (self.layers - self.expert_layers) * self.hidden
        each = self.active_experts + self.shared_experts
        blocks += self.expert_layers * each * (self.expert_hidden or self.hidden)
        return self.layers * attention + ways * blocks + blocks // 2

    @property
    def _query_width(self) -> int:
        return self.head_width + self.latent_rope

    @property
    def _embeddings(self) -> int:
        ends = 1 if self.tied else 2
        return self.width * (ends * self.vocabulary + self.positions)

    def _with_experts(self, experts: Any) -> Any:
        """Parameters of all layers where each has so many experts beside the shared ones."""
        made = self.layers * self.attention_parameters
        made += (self.layers - self.expert_layers) * self.block_parameters
        routers = self.width * self.experts
        return made + self.expert_layers * (
            (experts + self.shared_experts) * self.expert_parameters + routers
        )


_POSITIVE = ("layers", "width", "heads", "kv_heads", "head_width", "hidden", "vocabulary")


@cache
def decoders() -> dict[str, Decoder]:
    """The decoders of ``decoders.toml`` by name."""
    return {n: Decoder(n, **shape) for n, shape in tomllib.loads(PATH.read_text()).items()}


def decoder(name: str) -> Decoder:
    """A decoder by its name; raises ``DecoderError`` if there is none."""
    known = decoders()
    if name not in known:
        near = get_close_matches(name, known, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
        raise DecoderError(f"no decoder {name!r}; {hint}")
    return known[name]
