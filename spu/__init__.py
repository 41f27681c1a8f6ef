"""SPU (spatial processing unit): architecture description in ``spu.arch``, RTL beside it."""
