"""The channels of the memory engine, in RTL against the model."""

import pytest

from spu.arch.memory import MemoryEngine
from spu.rtl.memory.read_channel import ReadChannel
from spu.rtl.memory.write_channel import WriteChannel
from verif.tests.spu.test_memory_managers import _run

#: Beats of one word, of four, of two.
ENGINES = {
    ids: MemoryEngine(
        data_bits=data_bits,
        address_bits=14,
        word_bits=word_bits,
        burst_beats=4,
        outstanding=4,
        ids=ids,
        loops=5,
    )
    for ids, data_bits, word_bits in ((1, 64, 64), (2, 128, 32), (4, 128, 64))
}


@pytest.mark.parametrize("ids", ENGINES)
def test_reads(ids, tmp_path):
    _run(ReadChannel, ENGINES[ids], "read_channel_bench", 5, tmp_path)


@pytest.mark.parametrize("ids", ENGINES)
def test_writes(ids, tmp_path):
    _run(WriteChannel, ENGINES[ids], "write_channel_bench", 4, tmp_path)
