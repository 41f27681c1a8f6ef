"""Proofs of streams, loader, host registers and holds, and that they can fail."""

import pytest

from spu.arch.params import KINDS
from spu.rtl.fifo import StreamFifo
from spu.rtl.loader import Loader
from verif.formal import loader, streams
from verif.formal.array import PROOFS, prove
from verif.formal.hold_proof import prove_tile_holds
from verif.formal.units import NotProven


@pytest.mark.parametrize("proof", PROOFS, ids=lambda p: p.name)
def test_property_is_proven_by_induction(proof):
    prove(proof.make, proof.depth)


@pytest.mark.parametrize(
    "kind", ["a", *(pytest.param(k, marks=pytest.mark.regress) for k in KINDS if k != "a")]
)
def test_a_tile_that_holds_keeps_every_register(kind):
    assert prove_tile_holds(kind) > 900


def test_a_fifo_that_drops_a_word_is_not_proven(monkeypatch):
    class Leaky(StreamFifo):
        def elaborate(self, platform):
            m = super().elaborate(platform)
            with m.If(self.level == self.depth):
                m.d.sync += self.level.eq(self.depth - 1)
            return m

    monkeypatch.setattr(streams, "StreamFifo", Leaky)
    with pytest.raises(NotProven):
        prove(lambda: streams.fifo(4), 2)


def test_a_tile_that_ignores_the_hold_is_not_proven(monkeypatch):
    monkeypatch.setattr("spu.rtl.tile.EnableInserter", lambda step: lambda core: core)
    with pytest.raises(NotProven):
        prove_tile_holds("a")


def test_a_loader_that_activates_in_spite_of_an_error_is_not_proven(monkeypatch):
    class Careless(Loader):
        def elaborate(self, platform):
            m = super().elaborate(platform)
            with m.If(self.error != 0):
                m.d.sync += self.commit.eq(self.clear)
            return m

    monkeypatch.setattr(loader, "Loader", Careless)
    with pytest.raises(NotProven):
        prove(loader.loader, 2)
