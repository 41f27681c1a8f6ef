"""Loader: a program file over a stream, checked, into the shadow bank."""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import crc as crc_lib
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from spu.arch.bitstream import (
    HEADER_WORDS,
    MAGIC,
    MAX_PAYLOAD,
    OP_CLEAR,
    OP_COMMIT,
    OP_WRITE,
    VERSION,
    grid_word,
)
from spu.arch.config import TILE_SPACES, Space, depth, words_per_row
from spu.arch.params import Architecture
from spu.arch.regmap import LOAD_ERRORS
from spu.rtl.ports import ConfigBus


class State(enum.Enum):
    """What the next word is, or what happens without one."""

    HEADER = 0
    OPERATION = 1
    MASKS = 2
    RANGE = 3
    PAYLOAD = 4
    SECTION_CRC = 5
    CHECK = 6  # no word: the total CRC, once the last section is in the shadow banks
    COMMIT = 7  # no word: waits for the regions' banks to swap
    ERROR = 8  # swallows everything until ``clear``


def space_geometry(m: Module, space: Value, arch: Architecture) -> tuple[Signal, Signal, Signal]:
    """32-bit words a row, rows (0 if there is no such space), whether it is in tiles."""
    width, rows, in_tiles = Signal(8), Signal(13), Signal()
    with m.Switch(space):
        for s in Space:
            with m.Case(s.value):
                m.d.comb += [
                    width.eq(words_per_row(s, arch)),
                    rows.eq(depth(s, arch)),
                    in_tiles.eq(int(s in TILE_SPACES)),
                ]
    return width, rows, in_tiles


class Loader(wiring.Component):
    """Parses a ``.spub`` file into the shadow banks.

    A section is kept until its CRC was right, then goes to the shadow bank, one word a cycle,
    while the next one comes in; CLEAR takes a cycle a row.
    A file becomes active only through its COMMIT section, after every section CRC and the
    total CRC were right: each of its regions swaps banks at the end of its run.

    Parameters
    ----------
    arch: what it is a file for.

    Members
    -------
    i : In(stream of 32)
    clear : In(1) - forget an error or a half-read file, wait for a header
    stall : In(1) - write nothing in this cycle
    request : In(regions) - swap these regions' banks, while ``idle``
    spoilt : In(regions) - somebody else wrote these shadow banks; spoilt_memory : In(1) - the
        data memory
    swapping : In(regions) - their banks swap at the end of this cycle
    reset : In(regions) - they have no program, and do not wait for a swap
    commit : Out(regions) - wait for the swap; commit_data : Out(regions) - of data memories,
        too, since the half that is not in use was written
    loaded : Out(regions) - a program was activated; filled : Out(regions) - a whole file went to
        the shadow bank; idle, loading : Out(1) - within a file
    active, shadow : Out(regions x 32) - signatures of the banks
    error : Out(8) - index into LOAD_ERRORS; section : Out(16) - sections completely taken
    words : Out(32) - words taken
    config : Out(ConfigBus); rows, cols : Out(16) - tiles, or rows are regions

    Contract
    --------
    Latency: 2 from the last word to ``commit``, if all sections before have been written.
    Throughput: a word a cycle, in and to the shadow bank; rows are cleared at one a cycle.
    Holds: ``i.ready`` is 0 while a file waits for its swap, and at the end of a section until the
        one before was written; ``stall`` stops writing alone.
    Reset: waits for a header; no program, no bank filled.
    Corner cases: the first fault stops the load: ``error`` and ``section`` stay until ``clear``,
        further words are swallowed, the active programs are untouched, the regions' shadow banks
        have no signature; ``clear`` does not take back a commit that waits.

    Example
    -------
    >>> from spu.arch.bitstream import MAGIC, VERSION
    >>> from spu.arch.regmap import LOAD_ERRORS
    >>> from spu.rtl.observe import ONE, observe
    >>> words = [{"i.valid": 1, "i.payload": MAGIC}, {"i.payload": VERSION + 1}, {"i.valid": 0}]
    >>> observe(Loader(ONE), words, "loading", "error")
    [(0, 0), (1, 0), (0, 2)]
    >>> LOAD_ERRORS[2]
    'bad format version'
    """

    latency = 2

    def __init__(self, arch: Architecture) -> None:
        self.arch = arch
        regions = arch.region_count
        signatures = data.ArrayLayout(32, regions)
        super().__init__(
            {
                "i": In(stream.Signature(32)),
                "clear": In(1),
                "stall": In(1),
                "request": In(regions),
                "spoilt": In(regions),
                "spoilt_memory": In(1),
                "swapping": In(regions),
                "reset": In(regions),
                "commit": Out(regions),
                "commit_data": Out(regions),
                "loaded": Out(regions),
                "filled": Out(regions),
                "idle": Out(1),
                "loading": Out(1),
                "active": Out(signatures),
                "shadow": Out(signatures),
                "error": Out(8),
                "section": Out(16),
                "words": Out(32),
                "config": Out(ConfigBus()),
                "rows": Out(16),
                "cols": Out(16),
            }
        )
        #: For proofs: ``applying`` a section to the shadow bank.
        self.state, self.applying = Signal(State), Signal()
        #: Regions that the file is for, and whether it wrote data memory.
        self.mask, self.memory = Signal(regions), Signal()
        #: Regions of which a file filled the bank in use.
        self.in_use = Signal(regions)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        arch, word = self.arch, self.i.payload
        state = self.state
        index = Signal(range(MAX_PAYLOAD + 1))
        sections, total_crc, signature = Signal(16), Signal(32), Signal(32)
        op, space = Signal(8), Signal(8)
        take = Signal()
        requested = Signal.like(self.request)  # kept until the loader is idle
        m.d.comb += [
            self.i.ready.eq(
                ~state.matches(State.CHECK, State.COMMIT)
                & ~((state == State.SECTION_CRC) & self.applying)
                & ~(self.idle & (requested.any() | self.request.any() | self.clear))
            ),
            take.eq(self.i.valid & self.i.ready),
            self.idle.eq((state == State.HEADER) & (index == 0)),
            self.loading.eq(~self.idle & ~state.matches(State.ERROR, State.COMMIT)),
        ]
        m.d.sync += self.words.eq(self.words + take)

        # CRCs: of the header or the section, and of everything after the header.
        engine = crc_lib.catalog.CRC32_ISO_HDLC(data_width=32)
        m.submodules.part_crc = part_crc = engine.create()
        m.submodules.file_crc = file_crc = engine.create()
        header_end, section_end = Signal(), Signal()
        m.d.comb += [
            part_crc.data.eq(word),
            file_crc.data.eq(word),
            # A word that comes with ``clear`` belongs to what is forgotten.
            part_crc.valid.eq(take & ~header_end & ~section_end & ~self.clear),
            file_crc.valid.eq(take & (state != State.HEADER) & ~self.clear),
            header_end.eq((state == State.HEADER) & (index == HEADER_WORDS - 1)),
            section_end.eq(state == State.SECTION_CRC),
            part_crc.start.eq(self.clear | (take & (header_end | section_end))),
            file_crc.start.eq(self.clear | (take & header_end)),
        ]

        # What comes in: its place, rows left, the word within the row, the half of the buffer.
        width, depth_rows, in_tiles = space_geometry(m, space, arch)
        masks, first, count = Signal(32), Signal(16), Signal(16)
        left, sub, half = Signal(16), Signal(8), Signal()
        row_done = sub == width - 1

        m.submodules.buffer = buffer = Memory(shape=32, depth=2 * MAX_PAYLOAD, init=[])
        write, read = buffer.write_port(), buffer.read_port()
        m.d.comb += [
            write.addr.eq(Cat(index[:-1], half)),
            write.data.eq(word),
            write.en.eq(take & (state == State.PAYLOAD)),
        ]
        start_applying = Signal()
        self._apply(m, start_applying, read, half, Cat(op, space, masks, first, count))

        def fail(name: str) -> list:
            return [state.eq(State.ERROR), self.error.eq(LOAD_ERRORS.index(name))]

        with m.If(take), m.Switch(state):
            with m.Case(State.HEADER):
                self._header(m, word, index, sections, total_crc, part_crc.crc, fail)
                with m.If(header_end & (word == part_crc.crc)):
                    m.d.sync += [
                        state.eq(State.OPERATION),
                        index.eq(0),
                        self.section.eq(0),
                        signature.eq(word),
                        self.memory.eq(0),
                        self.filled.eq(self.filled & ~self.mask),
                    ]
                    self._forget(m, self.mask)
            with m.Case(State.OPERATION):
                m.d.sync += [op.eq(word[:8]), space.eq(word[8:16]), state.eq(State.MASKS)]
                last = self.section == sections - 1
                allowed = (word[16:] == self.section) & Mux(
                    last, word[:16] == OP_COMMIT, word[:8].matches(OP_WRITE, OP_CLEAR)
                )
                with m.If(~allowed):
                    m.d.sync += fail("operation")
            with m.Case(State.MASKS):
                m.d.sync += [masks.eq(word), state.eq(State.RANGE)]
                with m.If(op == OP_COMMIT), m.If(word != 0):
                    m.d.sync += fail("operation")
                with m.Elif(
                    (depth_rows == 0)
                    | Mux(in_tiles, self._outside(word), (word[:16] | self.mask) != self.mask)
                ):
                    m.d.sync += fail("address")
            with m.Case(State.RANGE):
                m.d.sync += [
                    first.eq(word[:16]),
                    count.eq(word[16:]),
                    left.eq(word[16:]),
                    sub.eq(0),
                    index.eq(0),
                    state.eq(
                        Mux((op == OP_WRITE) & (word[16:] != 0), State.PAYLOAD, State.SECTION_CRC)
                    ),
                ]
                with m.If(op == OP_COMMIT), m.If(word != 0):
                    m.d.sync += fail("operation")
                with m.Elif(word[:16] + word[16:] > depth_rows):
                    m.d.sync += fail("address")
            with m.Case(State.PAYLOAD):
                m.d.sync += [
                    sub.eq(Mux(row_done, 0, sub + 1)),
                    left.eq(left - row_done),
                    index.eq(index + 1),
                ]
                with m.If(row_done & (left == 1)):
                    m.d.sync += state.eq(State.SECTION_CRC)
                with m.If(index == MAX_PAYLOAD):
                    m.d.sync += fail("section too long")
            with m.Case(State.SECTION_CRC):
                m.d.sync += [index.eq(0), state.eq(State.OPERATION)]
                with m.If(word != part_crc.crc):
                    m.d.sync += fail("section CRC")
                with m.Else():
                    m.d.sync += self.section.eq(self.section + 1)
                    with m.If(op == OP_COMMIT):
                        m.d.sync += state.eq(State.CHECK)
                    with m.Elif(count != 0):
                        m.d.comb += start_applying.eq(1)
                        m.d.sync += half.eq(~half)

        # The file CRC is complete one cycle after the last word.
        with m.If((state == State.CHECK) & ~self.applying):
            with m.If(file_crc.crc != total_crc):
                m.d.sync += fail("total CRC")
            with m.Else():
                m.d.sync += [
                    state.eq(State.COMMIT),
                    self.commit.eq(self.mask),
                    index.eq(0),
                    self.filled.eq(self.filled | self.mask),
                    self.commit_data.eq(self.commit_data | Mux(self.memory, self.mask, 0)),
                ]
                for r in range(arch.region_count):
                    with m.If(self.mask[r]):
                        m.d.sync += self.shadow[r].eq(signature)
        with m.If(state == State.COMMIT):
            left = self.commit & ~self.swapping & ~self.reset
            m.d.sync += self.commit.eq(left)
            with m.If(left == 0):
                m.d.sync += state.eq(State.HEADER)
        with m.If(self.idle & requested.any()):
            m.d.sync += [
                state.eq(State.COMMIT),
                self.commit.eq(requested),
                requested.eq(self.request),
            ]
        with m.Else():
            m.d.sync += requested.eq(requested | self.request)
        for r in range(arch.region_count):
            with m.If(self.swapping[r]):
                m.d.sync += [
                    self.active[r].eq(self.shadow[r]),
                    self.shadow[r].eq(self.active[r]),
                    self.loaded[r].eq(1),
                    self.filled[r].eq(self.in_use[r]),
                    self.in_use[r].eq(self.filled[r]),
                    self.commit_data[r].eq(0),
                ]
            with m.If(self.reset[r]):
                m.d.sync += [self.loaded[r].eq(0), self.active[r].eq(0), self.in_use[r].eq(0)]
        self._forget(m, self.spoilt)
        for r in range(arch.region_count):
            with m.If(self.spoilt[r] & self.spoilt_memory):
                m.d.sync += self.commit_data[r].eq(1)
        with m.If(self.clear & (state != State.COMMIT)):
            m.d.sync += [
                state.eq(State.HEADER),
                index.eq(0),
                self.error.eq(0),
                self.section.eq(0),
                self.commit.eq(0),
            ]
        return m

    def _apply(self, m: Module, start: Value, read: Any, half: Value, section: Value) -> None:
        """Write a section from its half of the buffer, beginning in the cycle after ``start``.

        ``section``: operation, space, masks, first row, rows.  An error or ``clear`` ends it.
        """
        op, space, index = Signal(8), Signal(8), Signal(range(MAX_PAYLOAD))
        row, left, sub, own, fetched = Signal(16), Signal(16), Signal(8), Signal(), Signal()
        width, _, _ = space_geometry(m, space, self.arch)
        row_done = (sub == width - 1) | (op == OP_CLEAR)
        going = self.applying & ~self.stall & (self.state != State.ERROR)
        m.d.comb += [
            read.addr.eq(Cat(index, own)),
            read.en.eq(~self.stall),
            self.config.write.eq(going & fetched),
            self.config.space.eq(space),
            self.config.row.eq(row),
            self.config.word.eq(sub),
            self.config.whole.eq(op == OP_CLEAR),
            self.config.data.eq(Mux(op == OP_CLEAR, 0, read.data)),
        ]
        with m.If(going):
            m.d.sync += [fetched.eq(1), index.eq(index + 1)]
            with m.If(fetched):
                m.d.sync += [
                    sub.eq(Mux(row_done, 0, sub + 1)),
                    row.eq(row + row_done),
                    left.eq(left - row_done),
                ]
                with m.If(row_done & (left == 1)):
                    m.d.sync += self.applying.eq(0)
            with m.If(space == Space.MEMORY):
                # A half that holds part of a file is nobody's until the file is complete.
                m.d.sync += [self.memory.eq(1), self.commit_data.eq(self.commit_data & ~self.mask)]
        with m.If(start):
            m.d.sync += [
                Cat(op, space, self.rows, self.cols, row, left).eq(section),
                sub.eq(0),
                index.eq(0),
                fetched.eq(0),
                own.eq(half),
                self.applying.eq(1),
            ]
        with m.If((self.state == State.ERROR) | (self.clear & (self.state != State.COMMIT))):
            m.d.sync += self.applying.eq(0)

    def _forget(self, m: Module, regions: Value) -> None:
        """The shadow banks of these regions hold nothing that a file could build on."""
        for r in range(self.arch.region_count):
            with m.If(regions[r]):
                m.d.sync += self.shadow[r].eq(0)

    def _outside(self, masks: Value) -> Value:
        """Whether masks name tiles outside the grid, or of regions that the file is not for."""
        arch = self.arch
        foreign = [masks[r] & masks[16 + c] & ~self.mask[arch.region(r, c)] for r, c in arch.tiles]
        return (
            (masks[:16] >> arch.rows).any() | (masks[16:] >> arch.cols).any() | Cat(*foreign).any()
        )

    def _header(
        self,
        m: Module,
        word: Signal,
        index: Signal,
        sections: Signal,
        total_crc: Signal,
        crc: Signal,
        fail: object,
    ) -> None:
        """Check or keep header word ``index``."""
        arch = self.arch
        m.d.sync += index.eq(index + 1)
        expected = (
            ("bad magic", MAGIC),
            ("bad format version", VERSION),
            ("wrong architecture", arch.hash),
        )
        regions = word[16:]
        with m.Switch(index):
            for i, (error, value) in enumerate(expected):
                with m.Case(i), m.If(word != value):
                    m.d.sync += fail(error)
            with m.Case(3):
                m.d.sync += self.mask.eq(regions)
                with m.If(
                    (word[:16] != grid_word(arch))
                    | (regions == 0)
                    | (regions >> arch.region_count).any()
                ):
                    m.d.sync += fail("wrong grid or regions")
            with m.Case(4):
                unlike = Cat(
                    *(self.mask[r] & (self.shadow[r] != word) for r in range(arch.region_count))
                ).any()
                with m.If((word != 0) & unlike):
                    m.d.sync += fail("wrong base")
            with m.Case(5):
                m.d.sync += sections.eq(word)
                with m.If((word == 0) | (word[16:] != 0)):
                    m.d.sync += fail("operation")
            with m.Case(6):
                m.d.sync += total_crc.eq(word)
            with m.Case(7), m.If(word != crc):
                m.d.sync += fail("header CRC")
