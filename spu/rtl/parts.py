"""Parts of an array and the signals between them, for those who connect them."""

from amaranth.hdl import Module, Signal, Value

from spu.arch.context import LINKS
from spu.arch.params import Architecture, Port
from spu.rtl.host import HostRegisters
from spu.rtl.layouts import word_layout
from spu.rtl.loader import Loader
from spu.rtl.ports import ConfigBus
from spu.rtl.sequencer import Sequencer
from spu.rtl.window import Window
from spu.rtl.zeroing import Zeroing


class Parts:
    """What an array has once, or once a region, and what joins it.

    ``config``: the one bus for zeroing, loader and window; ``config_data``: the answer of all that
    listen to it; ``links``: the word on each outgoing link of a tile; ``entering``: the words that
    come into a region from outside; ``saturated``: a run of the region had a result above the top.
    """

    def __init__(self, arch: Architecture) -> None:
        self.arch = arch
        self.host, self.loader = HostRegisters(arch), Loader(arch)
        self.window, self.zeroing = Window(arch), Zeroing(arch)
        self.sequencers = [Sequencer(arch, r) for r in range(arch.region_count)]
        self.config = ConfigBus().create(path=("config",))
        self.config_data = Signal(32)
        self.saturated = Signal(arch.region_count)
        word = word_layout(arch)
        self.links = {
            Port(r, c, link): Signal(word, name=f"link_{r}_{c}_{link}")
            for r, c in arch.tiles
            for link in LINKS
        }
        self.entering = {
            port: Signal(word, name=f"input_{port.row}_{port.col}_{port.link}")
            for r in range(arch.region_count)
            for port in arch.inputs(r)
        }

    def sequencer(self, row: int, col: int) -> Sequencer:
        """The sequencer of a tile's region."""
        return self.sequencers[self.arch.region(row, col)]

    def count(self, m: Module, name: str, event: Value) -> None:
        """Let the host count ``event`` under a name of ``regmap``."""
        m.d.comb += getattr(self.host, f"event_{name.lower()}").eq(event)


def any_of(words: list[Value]) -> Value:
    """Bitwise or of one word or more."""
    total = words[0]
    for word in words[1:]:
        total = total | word
    return total
