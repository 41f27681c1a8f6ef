"""Latencies of a tile in region cycles: operation issued in cycle t, result in t + latency.

The numbers are the contract between RTL, golden model and compiler; a test drives each
unit and compares.
"""

#: A word leaves a crossbar in cycle t and arrives at the neighbour in t + 1.
HOP = 1
#: VectorUnit operations but sums.
VECTOR = 1
#: Sums of the VectorUnit: addition, multiply-add, accumulation.
SUM = 3
#: ALU operations.
ALU = 1
#: Register or data memory write to the earliest read that sees it.
WRITE = 1
#: Data memory read.
MEMORY = 1
#: Reblock pop to its word.  The push that completes a block to the earliest pop is 1.
REBLOCK = 2
#: Slice with ``last`` to the earliest drain of its results.
ACCUMULATE = 4
#: Drain to the drained word.
DRAIN = 2
