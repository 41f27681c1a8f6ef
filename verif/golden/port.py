"""The driver's port on the golden model: an SPU without cycles between executed ones."""

from collections.abc import Callable

import numpy as np

from spu.arch import bitstream, regmap
from spu.arch.bitstream import BitstreamError, Image
from spu.arch.config import TILE_SPACES, Space, depth, stored_word, words_per_row
from spu.arch.packing import from_words, pack, to_words
from spu.arch.params import Architecture
from spu.driver import Port, Refused
from spu.driver.port import Words
from verif.golden.array import GoldenArray

#: Load errors by what the decoder says of a file; the first that matches.
_REASONS = (("magic", "bad magic"), ("format version", "bad format version"),
            ("wrong architecture", "wrong architecture"), ("region mask", "wrong grid or regions"),
            ("not there", "wrong base"), ("header CRC", "header CRC"), ("operation", "operation"),
            ("total CRC", "total CRC"), ("CRC", "section CRC"), ("words of payload",
                                                               "section too long"))


class GoldenPort(Port):
    """Registers, loader and streams over ``GoldenArray``.

    Runs are executed as far as the inputs go, whenever a register is accessed or words
    arrive; a run that has ended swaps banks and begins the next one as the RTL does.
    Counters of holds, of units' work and CONFIG_WORDS stay 0: time passes only in executed cycles.
    Not there: HALT, single steps and the trace, which are about signals; they are refused.
    """

    def __init__(self, arch: Architecture) -> None:
        self.arch = arch
        self.names = {address: name for name, address in regmap.register_map(arch).items()}
        self.golden = GoldenArray(Image(arch))
        count = arch.region_count
        #: Per region: image and signature of the bank in use and of the shadow bank.
        self.banks = [[(Image(arch), 0), (Image(arch), 0)] for _ in range(count)]
        self.registers = dict.fromkeys((*(f"ITERATIONS_{r}" for r in range(count)),
                                        "WINDOW_SELECT", "WINDOW_ROW"), 0)
        self.loaded, self.done, self.waiting = ([False] * count for _ in range(3))
        self.rounds: list[int | None] = [None] * count   # runs asked for
        self.memory = [False] * count                    # data memories swap with the banks
        self.error, self.cycles = 0, [0] * count
        self.saturated = dict.fromkeys(arch.tiles, 0)
        self.kept = dict.fromkeys(regmap.counter_names(arch), 0)

    # Time.

    def _running(self, region: int) -> bool:
        model = self.golden.regions[region]
        return model is not None and not model.done

    def _advance(self) -> None:
        """Execute, swap and begin until nothing more can happen."""
        moved = True
        while moved:
            moved = self.golden.advance()
            for region in range(self.arch.region_count):
                moved |= self._between_runs(region)

    def _between_runs(self, region: int) -> bool:
        model = self.golden.regions[region]
        if self._running(region):
            return False
        if model is not None:
            self.cycles[region] += model.cycles
            for tile, counts in zip(model.tiles, model.saturated, strict=True):
                self.saturated[tile] += int(counts[0])
            self.done[region] = True
            self.golden.regions[region] = None
        swapped = self.waiting[region]
        if swapped:
            self.banks[region].reverse()
            self.waiting[region], self.loaded[region] = False, True
            image = self.banks[region][0][0]
            self.golden.images[region] = image
            if self.memory[region]:
                self.golden.load_memory(region, image)
        rounds, self.rounds[region] = self.rounds[region], None
        if rounds:
            self.done[region] = False
            self.golden.start(region, rounds)
        elif rounds == 0:
            self.done[region] = True
        return swapped or rounds is not None or model is not None

    # Port.

    async def load(self, content: bytes) -> None:
        if self.error:
            return
        bases = {signature: image for banks in self.banks for image, signature in banks[1:]
                 if signature}
        try:
            program = bitstream.decode(content, self.arch, bases)
        except BitstreamError as error:
            name = next((name for text, name in _REASONS if text in str(error)), "address")
            self.error = regmap.LOAD_ERRORS.index(name)
            return
        for region in program.regions:
            places = {place: rows for place, rows in program.image.rows.items()
                      if program.image.place_region(place) == region}
            self.banks[region][1] = (Image(self.arch, places), program.signature)
            self.waiting[region], self.memory[region] = True, program.memory
        self._advance()

    async def send(self, column: int, words: Words) -> None:
        self.golden.feed(column, [list(words)])
        self._advance()

    async def receive(self, column: int) -> list[tuple[int, int]]:
        self._advance()
        fifo = self.golden.output(column)
        out = [self._pair(word) for word in fifo.left(0)]
        fifo.head = fifo.tail.copy()
        return out

    @staticmethod
    def _pair(word: np.ndarray) -> tuple[int, int]:
        *lanes, bias, _ = word.tolist()
        return sum(lane << 16 * i for i, lane in enumerate(lanes)), bias

    async def wait(self) -> None:
        self._advance()

    async def read(self, address: int) -> int:
        self._advance()
        name = self.names.get(address)
        constants = regmap.constant_registers(self.arch)
        if name in constants:
            return constants[name]
        if name in self.registers:
            return self.registers[name]
        if name in self.kept:
            return self.kept[name]
        reader = {"STATUS": self._status, "CONFIG_WORDS": lambda: 0,
                  "WINDOW_DATA": lambda: self._window(None)}.get(name or "")
        if reader is not None:
            return reader()
        for prefix, of_region in (("REGION_", self._flags),
                                  ("ACTIVE_FILE_", lambda r: self.banks[r][0][1]),
                                  ("SHADOW_FILE_", lambda r: self.banks[r][1][1])):
            if name is not None and name.startswith(prefix):
                return of_region(int(name.removeprefix(prefix)))
        raise Refused(f"read of {address:#x}: the golden model has no such register")

    def _status(self) -> int:
        return any(self.waiting) * regmap.STATUS_COMMITTING \
            | self.error << regmap.STATUS_ERROR_SHIFT

    def _flags(self, region: int) -> int:
        flags = (self._running(region), self.done[region], self.loaded[region],
                 self.rounds[region] is not None)
        return sum(flag << i for i, flag in enumerate(flags))

    async def write(self, address: int, value: int) -> None:
        name = self.names.get(address, "")
        actions: dict[str, Callable[[int], None]] = {
            "CONTROL": self._control, "START": self._start, "COMMIT": self._commit,
            "WINDOW_DATA": lambda bits: (self._window(bits), None)[1]}
        if name in self.registers:
            if name.startswith("ITERATIONS") and value >> 16:
                raise Refused(f"{name} takes 16 bits, not {value:#x}")
            self.registers[name] = value
        elif name in actions:
            actions[name](value)
        else:
            raise Refused(f"write to {address:#x}: the golden model has no such register")
        self._advance()

    def _control(self, value: int) -> None:
        if value & ~(regmap.CONTROL_CLEAR | regmap.CONTROL_SNAPSHOT):
            raise Refused(f"CONTROL {value:#x} is not in the golden model")
        if value & regmap.CONTROL_CLEAR:
            self.error = 0
        if value & regmap.CONTROL_SNAPSHOT:
            self._advance()
            for r in range(self.arch.region_count):
                model = self.golden.regions[r]
                spent = self.cycles[r] + (model.cycle if model is not None else 0)
                self.kept |= {f"CYCLES_{r}": spent, f"ACTIVE_{r}": spent}
                under_way = dict(zip(model.tiles, model.saturated, strict=True)) \
                    if model is not None else {}
                for tile in self.arch.region_tiles(r):
                    self.kept["SATURATED_{}_{}".format(*tile)] = self.saturated[tile] \
                        + int(under_way.get(tile, [0])[0])

    def _start(self, mask: int) -> None:
        self._check_mask(mask)
        for region in range(self.arch.region_count):
            if mask >> region & 1 and self.loaded[region]:
                self.rounds[region] = self.registers[f"ITERATIONS_{region}"]

    def _commit(self, mask: int) -> None:
        self._check_mask(mask)
        for region in range(self.arch.region_count):
            if mask >> region & 1:
                self.waiting[region], self.memory[region] = True, False

    def _check_mask(self, mask: int) -> None:
        if mask >> self.arch.region_count:
            raise Refused(f"{mask:#x} is not a mask of {self.arch.region_count} regions")

    def _window(self, value: int | None) -> int:
        """Read or write the word that WINDOW_SELECT and WINDOW_ROW name, and move on."""
        select, position = self.registers["WINDOW_SELECT"], self.registers["WINDOW_ROW"]
        row, word = position & 0xFFFF, position >> regmap.WINDOW_WORD_SHIFT & 0xFF
        place = (select >> regmap.WINDOW_ROW_SHIFT & 0xFF, select >> regmap.WINDOW_COL_SHIFT & 0xFF)
        arch = self.arch
        try:
            space = Space(select & 0xFF)
        except ValueError:
            raise Refused(f"no space {select & 0xFF}") from None
        exists = place in arch.tiles if space in TILE_SPACES \
            else place[0] < arch.region_count and place[1] == 0
        if not exists or row >= depth(space, arch) or word >= words_per_row(space, arch):
            raise Refused(f"no word {word} of {space.name} row {row} at {place}")
        region = arch.region(*place) if space in TILE_SPACES else place[0]
        shadow = bool(select & regmap.WINDOW_SHADOW)
        if value is None and self._running(region):
            raise Refused(f"region {region} runs")
        if value is not None and any(self.waiting):
            raise Refused("the loader is busy")
        width = words_per_row(space, arch)
        at_end = word == width - 1
        self.registers["WINDOW_ROW"] = row + at_end | (0 if at_end else
                                                       word + 1 << regmap.WINDOW_WORD_SHIFT)
        if value is None:
            return to_words(self._row(space, place, region, row, shadow), width)[word]
        image, _ = self.banks[region][1]
        words = to_words(image.rows.get((space, *place), {}).get(row, 0), width)
        words[word] = value
        image.rows.setdefault((space, *place), {})[row] = from_words(words)
        self.banks[region][1] = (image, 0)
        return 0

    def _row(self, space: Space, place: tuple[int, int], region: int, row: int, shadow: bool
             ) -> int:
        """A row of a bank; data memories in use are those of the model."""
        if space is Space.MEMORY and not shadow and place in self.golden.memory:
            *lanes, bias = self.golden.memory[place][0, row].tolist()
            data = sum(lane << 16 * i for i, lane in enumerate(lanes))
            return pack(stored_word(self.arch), {"data": data, "bias": bias})
        image, _ = self.banks[region][int(shadow)]
        return image.rows.get((space, *place), {}).get(row, 0)
