"""Loader: a program file over a stream, checked, into the shadow bank."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import crc as crc_lib
from amaranth.lib import enum, stream, wiring
from amaranth.lib.wiring import In, Out

from spu.arch.bitstream import HEADER_WORDS, MAGIC, OP_COMMIT, OP_WRITE, VERSION, grid_word
from spu.arch.config import TILE_SPACES, Space, depth, words_per_row
from spu.arch.params import Architecture
from spu.arch.regmap import LOAD_ERRORS
from spu.ports import ConfigWrite


class State(enum.Enum):
    """What the next word is."""

    HEADER = 0
    OPERATION = 1
    MASKS = 2
    RANGE = 3
    PAYLOAD = 4
    SECTION_CRC = 5
    COMMIT = 6   # no word: waits for the region to be idle
    ERROR = 7    # swallows everything until ``clear``


class Loader(wiring.Component):
    """Parses a ``.spub`` file, one 32-bit word a cycle.

    Payload goes to the shadow bank as it arrives; a file becomes active only through its
    COMMIT section, after every section CRC and the total CRC were right, at the next
    moment in which the region does not run.  The first fault stops the load: ``error``
    and ``section`` stay until ``clear``, further words are swallowed, the active program
    is untouched.

    Members
    -------
    i : In(stream of 32) - ready in every state but COMMIT
    clear : In(1) - forget an error or a half-read file, wait for a header
    running : In(1); bank : Out(1); loaded : Out(1) - a program was activated
    loading : Out(1) - within a file; error : Out(8) - index into LOAD_ERRORS
    section : Out(16) - sections completely read; words : Out(32) - words taken
    config : Out(ConfigWrite); rows, cols : Out(16) - tiles that a write is for
    """

    def __init__(self, arch: Architecture) -> None:
        self.arch = arch
        super().__init__({
            "i": In(stream.Signature(32)), "clear": In(1), "running": In(1),
            "bank": Out(1), "loaded": Out(1), "loading": Out(1), "error": Out(8),
            "section": Out(16), "words": Out(32),
            "config": Out(ConfigWrite()), "rows": Out(16), "cols": Out(16),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        arch, word = self.arch, self.i.payload
        state = Signal(State)
        index = Signal(range(HEADER_WORDS))
        sections, total_crc = Signal(16), Signal(32)
        op, space_number = Signal(8), Signal(8)
        row, sub, left = Signal(16), Signal(6), Signal(16)
        take = Signal()
        m.d.comb += [
            self.i.ready.eq(state != State.COMMIT),
            take.eq(self.i.valid & self.i.ready),
            self.loading.eq(~state.matches(State.HEADER, State.ERROR) | (index != 0)),
        ]
        m.d.sync += self.words.eq(self.words + take)

        # CRCs: of the header or the section, and of everything after the header.
        engine = crc_lib.catalog.CRC32_ISO_HDLC(data_width=32)
        m.submodules.part_crc = part_crc = engine.create()
        m.submodules.file_crc = file_crc = engine.create()
        header_end, section_end = Signal(), Signal()
        m.d.comb += [
            part_crc.data.eq(word), file_crc.data.eq(word),
            part_crc.valid.eq(take & ~header_end & ~section_end),
            file_crc.valid.eq(take & (state != State.HEADER)),
            header_end.eq((state == State.HEADER) & (index == HEADER_WORDS - 1)),
            section_end.eq(state == State.SECTION_CRC),
            part_crc.start.eq(self.clear | (take & (header_end | section_end))),
            file_crc.start.eq(self.clear | (take & header_end)),
        ]

        # Geometry of the section's space.
        width, rows_of_space, known, in_tiles = Signal(6), Signal(13), Signal(), Signal()
        with m.Switch(space_number):
            for space in Space:
                with m.Case(space.value):
                    m.d.comb += [width.eq(words_per_row(space, arch)), known.eq(1),
                                 rows_of_space.eq(depth(space, arch)),
                                 in_tiles.eq(int(space in TILE_SPACES))]
        m.d.comb += [
            self.config.valid.eq(take & (state == State.PAYLOAD) & (row < rows_of_space)),
            self.config.space.eq(space_number), self.config.row.eq(row),
            self.config.word.eq(sub), self.config.data.eq(word),
        ]

        def fail(name: str) -> list:
            return [state.eq(State.ERROR), self.error.eq(LOAD_ERRORS.index(name))]

        with m.If(take), m.Switch(state):
            with m.Case(State.HEADER):
                self._header(m, word, index, sections, total_crc, part_crc.crc, fail)
                with m.If(header_end & (word == part_crc.crc)):
                    m.d.sync += [state.eq(State.OPERATION), index.eq(0), self.section.eq(0)]
            with m.Case(State.OPERATION):
                m.d.sync += [op.eq(word[:8]), space_number.eq(word[8:16]),
                             state.eq(State.MASKS)]
                wanted = Mux(self.section == sections - 1, OP_COMMIT, OP_WRITE)
                with m.If((word[:8] != wanted) | (word[16:] != 0)):
                    m.d.sync += fail("operation")
            with m.Case(State.MASKS):
                m.d.sync += [self.rows.eq(word[:16]), self.cols.eq(word[16:]),
                             state.eq(State.RANGE)]
                outside = (word[:16] >> arch.rows).any() | (word[16:] >> arch.cols).any()
                with m.If((op == OP_WRITE) & (~known | (in_tiles & outside))):
                    m.d.sync += fail("address")
            with m.Case(State.RANGE):
                m.d.sync += [row.eq(word[:16]), left.eq(word[16:]), sub.eq(0),
                             state.eq(Mux(word[16:] == 0, State.SECTION_CRC, State.PAYLOAD))]
                with m.If((op == OP_COMMIT) & (word[16:] != 0)):
                    m.d.sync += fail("operation")
            with m.Case(State.PAYLOAD):
                m.d.sync += [left.eq(left - 1), sub.eq(sub + 1)]
                with m.If(sub == width - 1):
                    m.d.sync += [sub.eq(0), row.eq(row + 1)]
                with m.If(left == 1):
                    m.d.sync += state.eq(State.SECTION_CRC)
                with m.If((row >= rows_of_space) | ((left == 1) & (sub != width - 1))):
                    m.d.sync += fail("address")
            with m.Case(State.SECTION_CRC):
                m.d.sync += [self.section.eq(self.section + 1),
                             state.eq(Mux(op == OP_COMMIT, State.COMMIT, State.OPERATION))]
                with m.If(word != part_crc.crc):
                    m.d.sync += [*fail("section CRC"), self.section.eq(self.section)]

        # COMMIT: the file CRC is complete one cycle after the last word.
        with m.If(state == State.COMMIT):
            with m.If(file_crc.crc != total_crc):
                m.d.sync += fail("total CRC")
            with m.Elif(~self.running):
                m.d.sync += [self.bank.eq(~self.bank), self.loaded.eq(1),
                             state.eq(State.HEADER)]
        with m.If(self.clear):
            m.d.sync += [state.eq(State.HEADER), index.eq(0), self.error.eq(0),
                         self.section.eq(0)]
        return m

    def _header(self, m: Module, word: Signal, index: Signal, sections: Signal,
                total_crc: Signal, crc: Signal, fail: object) -> None:
        """Check or keep header word ``index``."""
        m.d.sync += index.eq(index + 1)
        expected = (("bad magic", MAGIC), ("bad format version", VERSION),
                    ("wrong architecture", self.arch.hash), ("wrong grid", grid_word(self.arch)))
        with m.Switch(index):
            for i, (error, value) in enumerate(expected):
                with m.Case(i), m.If(word != value):
                    m.d.sync += fail(error)
            with m.Case(4):
                m.d.sync += sections.eq(word)
                with m.If((word == 0) | (word[16:] != 0)):
                    m.d.sync += fail("operation")
            with m.Case(5):
                m.d.sync += total_crc.eq(word)
            with m.Case(6), m.If(word != crc):
                m.d.sync += fail("header CRC")
