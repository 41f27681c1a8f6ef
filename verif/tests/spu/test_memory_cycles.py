"""The channels of the memory engine, in RTL and as models: equal in every cycle."""

import pytest

from spu.rtl.memory.read_channel import ReadChannel
from spu.rtl.memory.write_channel import WriteChannel
from verif.tests.spu.test_memory_channels import ENGINES
from verif.tests.spu.test_memory_managers import _run


@pytest.mark.parametrize("ids", ENGINES)
def test_reads(ids, tmp_path):
    _run(ReadChannel, ENGINES[ids], "read_cycles_bench", 2, tmp_path)


@pytest.mark.parametrize("ids", ENGINES)
def test_writes(ids, tmp_path):
    _run(WriteChannel, ENGINES[ids], "write_cycles_bench", 2, tmp_path)
