"""Driver: programs, runs, counters, readback and bring-up of an SPU."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from spu.arch import bitstream, regmap
from spu.arch.bitstream import Image
from spu.arch.config import TILE_SPACES, Space, depth, words_per_row
from spu.arch.context import LINKS
from spu.arch.packing import from_words, to_words
from spu.arch.params import Architecture
from spu.driver.port import Port, Refused, Words

#: Looks at a status register before giving up.
PATIENCE = 2_000


class DriverError(RuntimeError):
    """The SPU did not do what it was told; the message says what it answered."""


@dataclass(frozen=True)
class State:
    """A region: what it does, and the signatures of its two banks.

    ``aborted``, ``timed_out`` (by the watchdog) and ``saturated`` are of the last run; ``no_end``:
    a run was asked for of a program that would not end, and did not begin.
    """

    running: bool
    done: bool
    loaded: bool
    starting: bool
    aborted: bool
    timed_out: bool
    saturated: bool
    no_end: bool
    active: int
    shadow: int


@dataclass
class Driver:
    """Drives one SPU of a known architecture.

    ``known`` holds the images that files of this driver left in banks, by signature, so that
    later files need to hold changes only.
    """

    port: Port
    arch: Architecture
    known: dict[int, Image] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.map = regmap.register_map(self.arch)

    async def read(self, name: str) -> int:
        """Register by name."""
        return await self.port.read(self.map[name])

    async def write(self, name: str, value: int) -> None:
        """Write a register by name."""
        await self.port.write(self.map[name], value)

    async def identify(self) -> None:
        """Raise ``DriverError`` unless this is an SPU of the driver's architecture."""
        for name, want in regmap.constant_registers(self.arch).items():
            if (got := await self.read(name)) != want:
                raise DriverError(f"{name} is {got:#x}, {self.arch.name} has {want:#x}")

    # Programs.

    async def load(
        self,
        image: Image,
        regions: Sequence[int] | None = None,
        changes: bool = True,
        wait: bool = True,
    ) -> bytes:
        """Load an image, as changes to the shadow bank if that is known and smaller.

        Returns the file.  With ``wait``, returns when the regions use the image, which they
        do at the end of a run; without, when the file was taken.  Raises ``DriverError`` with
        the loader's reason.
        """
        chosen = list(range(self.arch.region_count)) if regions is None else list(regions)
        content = bitstream.encode(image, chosen)
        # A bank that waits for its swap is not what the loader will find in the shadow.
        settled = not await self.read("STATUS") & regmap.STATUS_COMMITTING
        base, *others = {await self.read(f"SHADOW_FILE_{r}") for r in chosen}
        if changes and settled and not others and base in self.known:
            changed = bitstream.encode(image, chosen, self.known[base], base)
            content = min(content, changed, key=len)
        await self.load_file(content, wait)
        self.known[bitstream.signature(content)] = image.copy()
        return content

    async def load_file(self, content: bytes, wait: bool = True) -> None:
        """Send a program file; see ``load``."""
        await self.port.load(content)
        for _ in range(PATIENCE):
            status = await self.read("STATUS")
            if (status >> regmap.STATUS_ERROR_SHIFT) & 0xFF:
                raise DriverError(f"the loader refused the program: {describe(status)}")
            busy = status & regmap.STATUS_LOADING
            if not busy and not (wait and status & regmap.STATUS_COMMITTING):
                return
            await self.port.wait()
        raise DriverError(f"the program is not active: {describe(status)}")

    async def clear_error(self) -> None:
        """Forget a load error or a refusal, or a file that was not sent to its end."""
        await self.write("CONTROL", regmap.CONTROL_CLEAR)

    # Runs.

    async def state(self, region: int = 0) -> State:
        """What a region does."""
        bits = await self.read(f"REGION_{region}")
        flags = [
            bool(bits & flag)
            for flag in (
                regmap.REGION_RUNNING,
                regmap.REGION_DONE,
                regmap.REGION_LOADED,
                regmap.REGION_STARTING,
                regmap.REGION_ABORTED,
                regmap.REGION_TIMED_OUT,
                regmap.REGION_SATURATED,
                regmap.REGION_NO_END,
            )
        ]
        signatures = [await self.read(f"{name}_FILE_{region}") for name in ("ACTIVE", "SHADOW")]
        return State(*flags, *signatures)

    async def start(self, rounds: Mapping[int, int]) -> None:
        """Ask for a run of so many rounds of each region's outermost loop.

        A region that runs begins it in the cycle after its last, with what was loaded then.
        Raises ``Refused`` with the reason for a region without a program, with a program that would
        not end, or with a run that waits already.
        """
        for region, count in rounds.items():
            await self.write(f"ITERATIONS_{region}", count)
        await self._command("START", rounds)

    async def finish(self, regions: Iterable[int] = (0,)) -> None:
        """Wait until regions have no more runs to do.

        Raises ``DriverError`` if a run was aborted, did not begin, or does not end.
        """
        for region in regions:
            for _ in range(PATIENCE):
                state = await self.state(region)
                if state.aborted or state.no_end:
                    raise DriverError(f"region {region} {_why(state)}")
                if state.done and not state.running and not state.starting:
                    break
                await self.port.wait()
            else:
                raise DriverError(f"region {region} did not finish: {state}")

    async def run(
        self, inputs: Mapping[int, Words], rounds: Mapping[int, int], expected: Mapping[int, int]
    ) -> dict[int, list[tuple[int, int]]]:
        """Send inputs, run, and return the words of the output streams.

        ``expected``: words of each output stream to wait for.
        """
        for column, words in inputs.items():
            await self.port.send(column, words)
        await self.start(rounds)
        await self.finish(rounds)
        outputs: dict[int, list[tuple[int, int]]] = {c: [] for c in range(self.arch.cols)}
        for _ in range(PATIENCE):
            for column, words in outputs.items():
                words += await self.port.receive(column)
            if all(len(outputs[c]) >= count for c, count in expected.items()):
                return outputs
            await self.port.wait()
        got = {c: len(words) for c, words in outputs.items()}
        raise DriverError(f"output streams gave {got} words, expected were {dict(expected)}")

    async def counters(self) -> dict[str, int]:
        """All counters at one moment."""
        await self.write("CONTROL", regmap.CONTROL_SNAPSHOT)
        return {name: await self.read(name) for name in regmap.counter_names(self.arch)}

    async def saturated(self, regions: Iterable[int] = (0,)) -> int:
        """Elements that lay above the top of PAL16, in all tiles of regions since the reset.

        Of each result that a unit gave in an executed cycle, see docs/array.md.  Those of a run are
        the difference over it, modulo 2^32 a tile.
        """
        counters = await self.counters()
        return sum(
            counters[f"SATURATED_{r}_{c}"]
            for region in regions
            for r, c in self.arch.region_tiles(region)
        )

    # Ways out.

    async def abort(self, regions: Iterable[int] = (0,)) -> None:
        """End runs after the cycle under way, and forget those that were asked for."""
        await self._command("ABORT", regions)

    async def flush(self, regions: Iterable[int] = (0,)) -> None:
        """Drop the words in the FIFOs that regions read and emit to; they must not run.

        A word on offer at the edge of the grid stays.  Raises ``Refused``.
        """
        await self._command("FLUSH", regions)

    async def reset(self, regions: Iterable[int] = (0,)) -> None:
        """Abort and flush; the regions then have no program, and wait for no swap of banks."""
        await self._command("RESET", regions)

    async def watchdog(self, cycles: int) -> None:
        """Abort a region that its streams hold for so many cycles in a row; 0 never does."""
        await self.write("WATCHDOG", cycles)

    async def _command(self, name: str, regions: Iterable[int]) -> None:
        """Write a mask of regions; a refusal says why."""
        try:
            await self.write(name, sum(1 << region for region in regions))
        except Refused:
            number = await self.read("STATUS") >> regmap.STATUS_REFUSAL_SHIFT & 0xF
            raise Refused(f"{name} was refused: {regmap.REFUSALS[number]}") from None

    # Readback and bring-up.

    async def read_rows(
        self, space: Space, place: tuple[int, int], rows: Iterable[int], shadow: bool = False
    ) -> list[int]:
        """Rows of a space of a tile, or of region ``place[0]``, in use or in the shadow bank.

        Raises ``Refused`` while the region runs.
        """
        width, out, at = words_per_row(space, self.arch), [], None
        await self._select(space, place, shadow)
        for row in rows:
            if row != at:
                await self.write("WINDOW_ROW", row)
            out.append(from_words([await self.read("WINDOW_DATA") for _ in range(width)]))
            at = row + 1
        return out

    async def read_image(
        self, spaces: Iterable[Space] = tuple(Space), shadow: bool = False
    ) -> Image:
        """Everything that can be configured; zero rows are left out."""
        image, arch = Image(self.arch), self.arch
        for space in spaces:
            places = (
                arch.tiles if space in TILE_SPACES else [(r, 0) for r in range(arch.region_count)]
            )
            for place in places:
                values = await self.read_rows(space, place, range(depth(space, arch)), shadow)
                rows = {row: value for row, value in enumerate(values) if value}
                if rows:
                    image.rows[space, *place] = rows
        return image

    async def write_row(self, space: Space, place: tuple[int, int], row: int, bits: int) -> None:
        """Write a row of the shadow bank, which then has no signature."""
        await self._select(space, place, False)
        await self.write("WINDOW_ROW", row)
        for word in to_words(bits, words_per_row(space, self.arch)):
            await self.write("WINDOW_DATA", word)

    async def commit(self, regions: Iterable[int] = (0,)) -> None:
        """Swap the banks of regions, at the end of their runs.

        Data memories swap, too, if the half that is not in use was written.  Raises ``Refused``
        with the reason if no file filled the bank before, or within a file.
        """
        await self._command("COMMIT", regions)

    async def _select(self, space: Space, place: tuple[int, int], shadow: bool) -> None:
        await self.write(
            "WINDOW_SELECT",
            space.value
            | shadow * regmap.WINDOW_SHADOW
            | place[0] << regmap.WINDOW_ROW_SHIFT
            | place[1] << regmap.WINDOW_COL_SHIFT,
        )

    async def halt(self, regions: Iterable[int]) -> None:
        """Hold these regions, and no others, until each ``step``."""
        await self.write("HALT", sum(1 << region for region in regions))

    async def step(self) -> None:
        """Let halted regions execute a cycle, if their streams do."""
        await self.write("CONTROL", regmap.CONTROL_STEP)

    async def trace(self, tile: tuple[int, int], link: str) -> None:
        """Begin to record a link of a tile, from the next executed cycle on."""
        await self.write(
            "TRACE_SELECT",
            tile[0]
            | tile[1] << regmap.TRACE_COL_SHIFT
            | LINKS.index(link) << regmap.TRACE_LINK_SHIFT,
        )
        await self.write("CONTROL", regmap.CONTROL_TRACE)

    async def traced(self) -> list[int]:
        """Words recorded so far: data, bias and predicate as on the link."""
        out = []
        parts = [name for name in self.map if name.startswith("TRACE_") and name[6:].isdigit()]
        for index in range(await self.read("TRACE_COUNT")):
            await self.write("TRACE_INDEX", index)
            out.append(from_words([await self.read(name) for name in parts]))
        return out


def _why(state: State) -> str:
    """How a run ended early."""
    if state.no_end:
        return "did not begin: its program has no end"
    return "was aborted by the watchdog" if state.timed_out else "was aborted"


def describe(status: int) -> str:
    """STATUS in words."""
    error = status >> regmap.STATUS_ERROR_SHIFT & 0xFF
    section = status >> regmap.STATUS_SECTION_SHIFT
    if error:
        name = regmap.LOAD_ERRORS[error] if error < len(regmap.LOAD_ERRORS) else str(error)
        return f"{name} in section {section}"
    if status & regmap.STATUS_LOADING:
        return "incomplete file"
    return "waiting for a run to end" if status & regmap.STATUS_COMMITTING else "no error"
