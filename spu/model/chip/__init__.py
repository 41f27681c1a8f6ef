"""The golden chip: memory engine and external memory, cycle by cycle, around the golden array."""
