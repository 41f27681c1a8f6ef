"""How a decoder is split over chips, and which splits there are."""

from collections.abc import Iterator
from dataclasses import dataclass

from perf.llm.decoder import Decoder
from spu.arch.errors import UserError


class SplitError(UserError):
    """A decoder that cannot be split so."""


@dataclass(frozen=True)
class Split:
    """Ways to split: ``tp`` each matrix, ``pp`` the layers, ``ep`` the experts, ``dp`` the queries.

    A replica is tp x pp x ep chips.  Its ``ep`` groups of ``tp`` chips hold all but the experts
    each, and decode their own queries; the experts are spread over tp x ep chips.
    """

    tp: int = 1
    pp: int = 1
    ep: int = 1
    dp: int = 1

    @property
    def replica(self) -> int:
        """Chips of a replica."""
        return self.tp * self.pp * self.ep

    @property
    def chips(self) -> int:
        """Chips in all."""
        return self.replica * self.dp

    def check(self, decoder: Decoder) -> None:
        """Raise ``SplitError`` if a decoder cannot be split so; the message says by which rule."""
        d = decoder
        for name, ways in (("tp", self.tp), ("pp", self.pp), ("ep", self.ep), ("dp", self.dp)):
            if ways < 1:
                raise SplitError(f"{d.name}: {name} must be 1 or more, not {ways}")
        for what, size in (("heads", d.heads), ("hidden", d.hidden)):
            if size % self.tp:
                raise SplitError(f"{d.name}: {size} {what} cannot be split over tp {self.tp} chips")
        if max(self.tp, d.kv_heads) % min(self.tp, d.kv_heads):
            raise SplitError(
                f"{d.name}: {d.kv_heads} heads of keys and values neither divide tp {self.tp} nor "
                "are divided by it"
            )
        if self.pp > d.layers:
            raise SplitError(
                f"{d.name}: {d.layers} layers cannot be split over pp {self.pp} stages"
            )
        if self.ep > 1 and not d.experts:
            raise SplitError(f"{d.name}: has no experts to split over ep {self.ep}")
        if d.experts and d.experts % self.ep:
            raise SplitError(
                f"{d.name}: {d.experts} experts cannot be split over ep {self.ep} groups"
            )


def over(decoder: Decoder, chips: int, tp: int = 0, pp: int = 0, ep: int = 0) -> Split:
    """A split over so many chips with the ways that are given, 1 for those that are 0.

    Raises ``SplitError`` where the chips are not a multiple of a replica, or ``Split.check`` does.
    """
    made = Split(tp or 1, pp or 1, ep or 1)
    made.check(decoder)
    if chips < 1 or chips % made.replica:
        raise SplitError(
            f"{decoder.name}: {chips} chips are not a multiple of tp {made.tp} x pp {made.pp} x "
            f"ep {made.ep} = {made.replica}"
        )
    return Split(made.tp, made.pp, made.ep, chips // made.replica)


def splits(decoder: Decoder, chips: int, server: int) -> Iterator[Split]:
    """Splits over so many chips: tp within a ``server``, pp up to 16, any divisors."""
    for tp in (x for x in _divisors(chips) if x <= server):
        for pp in (x for x in _divisors(chips // tp) if x <= 16):
            for ep in _divisors(chips // tp // pp) if decoder.experts else (1,):
                made = Split(tp, pp, ep, chips // (tp * pp * ep))
                try:
                    made.check(decoder)
                except SplitError:
                    continue
                yield made


def _divisors(number: int) -> list[int]:
    return [x for x in range(1, number + 1) if number % x == 0]
