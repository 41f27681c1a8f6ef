"""The loader alone: corners of files, clears and commits that whole arrays hardly meet."""

import numpy as np
import pytest

from spu.arch import bitstream, regmap
from spu.arch.bitstream import Image
from spu.arch.config import Space
from spu.rtl.loader import Loader
from verif.tests.small_units import ARCH, PATIENCE, simulate


def _file(value=33):
    image = Image(ARCH)
    image.write(Space.CONTEXT, (0, 0), 0, {"op": value})
    return np.frombuffer(bitstream.encode(image), "<u4").tolist()


class _Load:
    """A loader whose regions swap at once; counts the swaps."""

    def __init__(self, unit, ctx):
        self.unit, self.ctx, self.swaps = unit, ctx, 0

    async def tick(self, cycles=1):
        for _ in range(cycles):
            commit = self.ctx.get(self.unit.commit)
            self.swaps += commit
            self.ctx.set(self.unit.swapping, commit)
            await self.ctx.tick()

    async def put(self, word):
        self.ctx.set(self.unit.i.payload, word)
        self.ctx.set(self.unit.i.valid, 1)
        for _ in range(PATIENCE):
            if self.ctx.get(self.unit.i.ready):
                break
            await self.tick()
            self.ctx.set(self.unit.clear, 0)
        else:
            raise AssertionError("the loader takes no word")
        await self.tick()
        self.ctx.set(self.unit.i.valid, 0)


@pytest.mark.parametrize("place", range(6))
def test_a_word_that_comes_with_clear_is_not_of_the_next_file(place):
    """CLEAR in the cycle of word ``place`` of a refused file; the next file is good."""
    unit = Loader(ARCH)

    async def testbench(ctx):
        load = _Load(unit, ctx)
        bad = [word ^ (i == 0) for i, word in enumerate(_file())]
        for i, word in enumerate(bad[: place + 1]):
            ctx.set(unit.clear, i == place)
            await load.put(word)
        # A first word waits for the end of the clear, and needs another one.
        ctx.set(unit.clear, place == 0)
        await load.tick(place == 0)
        ctx.set(unit.clear, 0)
        for word in _file():
            await load.put(word)
        await load.tick(300)
        assert regmap.LOAD_ERRORS[ctx.get(unit.error)] == "none"
        assert ctx.get(unit.loaded) == 1

    simulate(unit, testbench)


@pytest.mark.parametrize("offset", [-2, -1, 0, 1])
def test_a_commit_beside_a_files_first_word_swaps_before_the_file(offset):
    """The host commits what a first file left, while a second one begins ``offset`` cycles away."""
    unit = Loader(ARCH)

    async def testbench(ctx):
        load = _Load(unit, ctx)
        for word in [*_file(33), *_file(34)]:
            await load.put(word)
        await load.tick(300)
        assert load.swaps == 2
        words = _file(35)
        if offset > 0:  # within the file: the host refuses it
            await load.put(words.pop(0))
            assert not ctx.get(unit.idle)
        else:
            ctx.set(unit.request, 1)
            if offset == 0:
                ctx.set(unit.i.payload, words[0])
                ctx.set(unit.i.valid, 1)
            await load.tick()
            ctx.set(unit.request, 0)
            if offset == -2:
                await load.tick()
        for word in words:
            await load.put(word)
        await load.tick(300)
        assert load.swaps == 2 + 1 + (offset <= 0)
        assert ctx.get(unit.active[0]) == bitstream.signature(np.array(_file(35), "<u4").tobytes())

    simulate(unit, testbench)


def test_only_a_whole_file_fills_a_bank():
    unit = Loader(ARCH)

    async def testbench(ctx):
        load, filled = _Load(unit, ctx), []
        for words in (_file(33), _file(34)[:20], _file(34), _file(35)[:12]):
            for word in words:
                await load.put(word)
            await load.tick(300)
            ctx.set(unit.clear, 1)
            await load.tick()
            ctx.set(unit.clear, 0)
            filled.append(ctx.get(unit.filled))
        # The bank that the first file left for the second is filled until a file begins there.
        assert filled == [0, 0, 1, 0]
        ctx.set(unit.reset, 1)
        await load.tick()
        ctx.set(unit.reset, 0)
        assert (ctx.get(unit.loaded), ctx.get(unit.active[0])) == (0, 0)

    simulate(unit, testbench)


@pytest.mark.parametrize("selected", [0, 1])
def test_data_memories_swap_when_their_other_half_was_written(selected):
    """By a file, or through the window, whatever space the window stands at."""
    unit = Loader(ARCH)
    image = Image(ARCH)
    image.write(Space.MEMORY, (0, 0), 0, {"data": 5})
    with_memory = np.frombuffer(bitstream.encode(image), "<u4").tolist()

    async def testbench(ctx):
        load, swapped = _Load(unit, ctx), []
        ctx.set(unit.spoilt_memory, selected)

        async def until_swapped(cycles=300):
            before = load.swaps
            for _ in range(cycles):
                if ctx.get(unit.commit):
                    swapped.append(ctx.get(unit.commit_data))
                await load.tick()
            assert load.swaps == before + 1

        for words in (with_memory, _file(), with_memory, _file()):
            for word in words:
                await load.put(word)
            await until_swapped()
        assert swapped == [1, 0, 1, 0]
        ctx.set(unit.spoilt_memory, 1)
        ctx.set(unit.spoilt, 1)
        await load.tick()
        ctx.set(unit.spoilt_memory, selected)
        ctx.set(unit.spoilt, 0)
        for _ in range(2):
            ctx.set(unit.request, 1)
            await load.tick()
            ctx.set(unit.request, 0)
            await until_swapped(20)
        assert swapped[4:] == [1, 0]

    simulate(unit, testbench)
