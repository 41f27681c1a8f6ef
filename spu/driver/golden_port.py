"""The driver's port on the golden model: an SPU without cycles between executed ones."""

from collections.abc import Callable
from functools import partial

import numpy as np

from spu.arch import regmap
from spu.arch.bitstream import Image
from spu.arch.config import TILE_SPACES, Space, depth, stored_word, words_per_row
from spu.arch.packing import from_words, pack, to_words
from spu.arch.params import Architecture
from spu.driver import Port, Refused
from spu.driver.port import Words
from spu.model.array import GoldenArray
from spu.model.loader import GoldenLoader
from spu.model.region import has_end


class GoldenPort(Port):
    """Registers, loader and streams over ``GoldenArray``.

    Runs are executed as far as the inputs go, whenever a register is accessed or words
    arrive; a run that has ended swaps banks and begins the next one as the RTL does.
    Counters of holds, of units' work and CONFIG_WORDS stay 0: time passes only in executed cycles.
    Not there: HALT, single steps and the trace, which are about signals; they are refused.  Nor is
    a word ever on offer at an edge, so that FLUSH drops them all.  A program file that comes while
    banks wait for their swap is kept until then, as on the bus; ``load`` does not wait for that.
    Rows of units that a tile has not are read back as they were written, in RTL as 0.
    """

    def __init__(self, arch: Architecture) -> None:
        self.arch = arch
        self.names = {address: name for name, address in regmap.register_map(arch).items()}
        self.constants = regmap.constant_registers(arch)
        self.golden = GoldenArray(Image(arch))
        count = arch.region_count
        self.loader = GoldenLoader(arch)
        self.registers = dict.fromkeys(
            (*(f"ITERATIONS_{r}" for r in range(count)), "WINDOW_SELECT", "WINDOW_ROW", "WATCHDOG"),
            0,
        )
        self.done, self.aborted, self.timed_out, self.no_end = ([False] * count for _ in range(4))
        self.rounds: list[int | None] = [None] * count  # runs asked for
        self.refusal, self.cycles = 0, [0] * count
        self.run_saturated = [False] * count
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
            moved |= self.loader.proceed()

    def _between_runs(self, region: int) -> bool:
        model = self.golden.regions[region]
        if self._running(region):
            return False
        if model is not None:
            self._leave(region)
            self.done[region] = True
        swapped = self.loader.waiting[region]
        if swapped:
            self.loader.swap(region, self.golden.memory)
            self.golden.images[region] = self.loader.banks[region][0].image
        rounds, self.rounds[region] = self.rounds[region], None
        if rounds:
            self.done[region] = False
            self.no_end[region] = not has_end(self.golden.images[region], region)
            self.run_saturated[region] = False
            if not self.no_end[region]:
                self.golden.start(region, rounds)
        elif rounds == 0:
            self.done[region] = True
        return swapped or rounds is not None or model is not None

    def _leave(self, region: int) -> None:
        """Take down what a run that is over, or that is given up, has counted."""
        model = self.golden.regions[region]
        if model is not None:
            self.cycles[region] += model.cycle
            self.run_saturated[region] = bool(model.saturated.any())
            for tile, counts in zip(model.tiles, model.saturated, strict=True):
                self.saturated[tile] += int(counts[0])
        self.golden.regions[region] = None

    # Port.

    async def load(self, content: bytes) -> None:
        whole = content + bytes(-len(content) % 4)
        self.loader.offer(np.frombuffer(whole, "<u4").tolist())
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
        """Let time pass: longer than any watchdog, if a region cannot execute a cycle."""
        self._advance()
        for region in range(self.arch.region_count):
            if self.registers["WATCHDOG"] and self._running(region):
                self._end(region)
                self.timed_out[region] = True
        self._advance()

    async def read(self, address: int) -> int:
        self._advance()
        name = self.names.get(address)
        if name in self.constants:
            return self.constants[name]
        if name in self.registers:
            return self.registers[name]
        if name in self.kept:
            return self.kept[name]
        reader = {
            "STATUS": self._status,
            "CONFIG_WORDS": lambda: 0,
            "WINDOW_DATA": lambda: self._window(None),
        }.get(name or "")
        if reader is not None:
            return reader()
        for prefix, of_region in (
            ("REGION_", self._flags),
            ("ACTIVE_FILE_", lambda r: self.loader.banks[r][0].signature),
            ("SHADOW_FILE_", lambda r: self.loader.banks[r][1].signature),
        ):
            if name is not None and name.startswith(prefix):
                return of_region(int(name.removeprefix(prefix)))
        raise Refused(f"read of {address:#x}: the golden model has no such register")

    def _status(self) -> int:
        loader = self.loader
        return (
            loader.loading * regmap.STATUS_LOADING
            | any(loader.waiting) * regmap.STATUS_COMMITTING
            | self.refusal << regmap.STATUS_REFUSAL_SHIFT
            | loader.error << regmap.STATUS_ERROR_SHIFT
            | loader.section << regmap.STATUS_SECTION_SHIFT
        )

    def _flags(self, region: int) -> int:
        model = self.golden.regions[region]
        saturated = self.run_saturated[region] or (model is not None and model.saturated.any())
        flags = (
            self._running(region),
            self.done[region],
            self.loader.loaded[region],
            self.rounds[region] is not None,
            self.aborted[region],
            self.timed_out[region],
            bool(saturated),
            self.no_end[region],
        )
        return sum(flag << i for i, flag in enumerate(flags))

    async def write(self, address: int, value: int) -> None:
        name = self.names.get(address, "")
        actions: dict[str, Callable[[int], None]] = {
            "CONTROL": self._control,
            **{
                command: partial(self._command, command)
                for command in ("START", "COMMIT", "ABORT", "RESET", "FLUSH")
            },
            "WINDOW_DATA": lambda bits: (self._window(bits), None)[1],
        }
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
            self.refusal = 0
            self.loader.clear()
        if value & regmap.CONTROL_SNAPSHOT:
            self._advance()
            for r in range(self.arch.region_count):
                model = self.golden.regions[r]
                spent = self.cycles[r] + (model.cycle if model is not None else 0)
                self.kept |= {f"CYCLES_{r}": spent, f"ACTIVE_{r}": spent}
                under_way = (
                    dict(zip(model.tiles, model.saturated, strict=True))
                    if model is not None
                    else {}
                )
                for tile in self.arch.region_tiles(r):
                    self.kept["SATURATED_{}_{}".format(*tile)] = self.saturated[tile] + int(
                        under_way.get(tile, [0])[0]
                    )

    def _command(self, name: str, mask: int) -> None:
        """START, COMMIT, ABORT, RESET or FLUSH of regions: of all of them, or refused."""
        regions = [r for r in range(self.arch.region_count) if mask >> r & 1]
        reason = (
            "no region"
            if mask >> self.arch.region_count
            else next(
                (reason for region in regions if (reason := self._against(name, region))), "none"
            )
        )
        if reason != "none":
            self.refusal = regmap.REFUSALS.index(reason)
            raise Refused(f"{name} {mask:#x}: {reason}")
        for region in regions:
            if name == "START":
                self.rounds[region] = self.registers[f"ITERATIONS_{region}"]
                self.aborted[region] = self.timed_out[region] = self.no_end[region] = False
            if name == "COMMIT":
                self.loader.waiting[region] = True
            if name in ("ABORT", "RESET"):
                self._end(region)
            if name == "RESET":
                self.loader.reset(region)
                self.done[region] = self.aborted[region] = self.no_end[region] = False
                self.timed_out[region] = False
            if name in ("RESET", "FLUSH"):
                for fifo in [
                    *(self.golden.entering[p] for p in self.arch.inputs(region)),
                    *(self.golden.leaving[p] for p in self.arch.outputs(region)),
                ]:
                    fifo.head = fifo.tail.copy()

    def _against(self, name: str, region: int) -> str:
        """Why a region cannot follow a command, or nothing."""
        loader = self.loader
        if name == "START":
            if not (loader.loaded[region] or loader.waiting[region]):
                return "no program"
            if self.rounds[region] is not None:
                return "start pending"
            coming = loader.banks[region][int(loader.waiting[region])].image
            return "" if has_end(coming, region) else "no end"
        if name == "COMMIT" and loader.busy:
            return "busy"
        if name == "COMMIT" and not loader.banks[region][1].filled:
            return "no bank"
        return "running" if name == "FLUSH" and self._running(region) else ""

    def _end(self, region: int) -> None:
        """End a run early, and forget one that was asked for."""
        self.aborted[region] |= self._running(region) or self.rounds[region] is not None
        if self._running(region):
            self.done[region] = False
        self._leave(region)
        self.rounds[region], self.timed_out[region] = None, False

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
        exists = (
            place in arch.tiles
            if space in TILE_SPACES
            else place[0] < arch.region_count and place[1] == 0
        )
        if not exists or row >= depth(space, arch) or word >= words_per_row(space, arch):
            raise Refused(f"no word {word} of {space.name} row {row} at {place}")
        region = arch.region(*place) if space in TILE_SPACES else place[0]
        shadow = bool(select & regmap.WINDOW_SHADOW)
        if value is None and self._running(region):
            raise Refused(f"region {region} runs")
        if value is not None and self.loader.busy:
            raise Refused("the loader is busy")
        width = words_per_row(space, arch)
        at_end = word == width - 1
        self.registers["WINDOW_ROW"] = row + at_end | (
            0 if at_end else word + 1 << regmap.WINDOW_WORD_SHIFT
        )
        if value is None:
            return to_words(self._row(space, place, region, row, shadow), width)[word]
        self.loader.banks[region][1].signature = 0
        self.loader.memory[region] |= space is Space.MEMORY
        words = to_words(self._row(space, place, region, row, True), width)
        words[word] = value
        self.loader.write((space, *place), row, from_words(words))
        return 0

    def _row(
        self, space: Space, place: tuple[int, int], region: int, row: int, shadow: bool
    ) -> int:
        """A row of a bank, or of a half of a data memory."""
        if space is Space.MEMORY:
            if place not in self.golden.memory:
                return 0
            half = self.loader.halves if shadow else self.golden.memory
            *lanes, bias = half[place][0, row].tolist()
            data = sum(lane << 16 * i for i, lane in enumerate(lanes))
            return pack(stored_word(self.arch), {"data": data, "bias": bias})
        image = self.loader.banks[region][int(shadow)].image
        return image.rows.get((space, *place), {}).get(row, 0)
