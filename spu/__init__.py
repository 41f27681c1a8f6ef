"""SPU (spatial processing unit): the contract in ``spu.arch``, hardware, model, driver, engines."""
