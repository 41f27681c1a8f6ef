"""Units of a tile, and the contexts of a slot."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spu.arch.bitstream import Image
from spu.arch.config import ADDRESS_WORDS, Space, TileRegister
from spu.arch.context import SINKS, Close, Op, Source
from spu.arch.params import REGISTERS
from spu.model import matrix, units


class TileUnits:
    """Units, memories and configuration of one tile; ``images`` as of a region."""

    def __init__(
        self, images: Sequence[Image], tile: tuple[int, int], batch: int, memory: NDArray
    ) -> None:
        image = images[0]
        arch = image.arch
        self.kind, self.memory = arch.kind(*tile), memory
        rows = [image.read(Space.REGISTER, tile, r) for r in range(TileRegister.COUNT)]
        self.modes = [
            matrix.MatrixMode([each.read(Space.REGISTER, tile, r) for each in images], arch)
            for r in range(TileRegister.MODE, TileRegister.VECTOR_MODE)
        ]
        self.vector_modes = rows[TileRegister.VECTOR_MODE : TileRegister.GUARD]
        self.guards = rows[TileRegister.GUARD : TileRegister.REBLOCK]
        written = [
            each.rows.get((Space.WEIGHT, *tile), {}) if self.kind.matrix else {} for each in images
        ]
        self.weights = matrix.Weights(written, arch)
        self.matrix = matrix.MatrixUnit(arch, batch)
        self.accumulators = units.Accumulators(arch, batch)
        self.reblock = units.Reblock(
            arch,
            arch.data_formats[min(rows[TileRegister.REBLOCK]["format"], len(arch.formats) - 1)],
            batch,
        )
        self.access, self.generators = {}, {}
        for name, first, size, accesses in (
            ("weight", TileRegister.WEIGHT, arch.weight_rows, 0),
            ("read", TileRegister.READ, arch.memory_words, 0),
            ("write", TileRegister.WRITE, arch.memory_words, np.zeros(batch, np.int64)),
        ):
            self.access[name] = rows[first]["guard"]
            self.generators[name] = units.AddressGenerator(
                rows[first : first + ADDRESS_WORDS], size, accesses
            )

    def weight_row(self, mode: matrix.MatrixMode) -> tuple:
        """The next mac's weights, see ``Weights.row``."""
        return self.weights.row(int(self.generators["weight"].next()), mode)


class Slot:
    """What the tiles of a region do in a slot, by unit: lists of (tile, context)."""

    def __init__(self, contexts: Sequence[dict[str, int]], tiles: Sequence[TileUnits]) -> None:
        every = list(enumerate(contexts))
        self.chosen = np.array([[c[sink] for sink in SINKS] for c in contexts])
        self.register_a = [c["register_a"] for c in contexts]
        self.register_b = [c["index"] % REGISTERS for c in contexts]
        self.constant = [c["index"] for c in contexts]
        self.kept = [t for t, c in every if c["register"] != Source.NONE.value]
        self.kept_in = [contexts[t]["register_write"] for t in self.kept]
        self.ops = [(t, Op(c["op"]), c) for t, c in every if c["op"] != Op.NOP.value]
        matrix = [(t, c) for t, c in every if tiles[t].kind.matrix]
        self.drains = [t for t, c in matrix if c["drain"]]
        self.macs = [
            (t, c["slice"], tiles[t].modes[c["mode"]], Close(c["close"]))
            for t, c in matrix
            if c["mac"]
        ]
        memory = [(t, c) for t, c in every if tiles[t].kind.memory]
        self.reads = [t for t, c in memory if c["read"]]
        self.stores = [t for t, c in memory if c["memory"] != Source.NONE.value]
        self.pops = [t for t, c in memory if c["pop"]]
