"""Sums of many terms that synthesis turns into one heap of bits."""

from collections.abc import Iterable

from amaranth.hdl import Value


def heap_sum(terms: Iterable[Value | int], width: int) -> Value:
    """Sum of terms modulo ``2^width``, unsigned.

    Partial sums have the width of the result as soon as they reach it: only such adders does yosys
    merge into one multiple-operand adder (``alumacc``), of which it makes one heap of bits with
    full adders and one carry chain (``maccmap``).  So the widest term comes first.
    """
    first, *rest = (Value.cast(t) for t in terms)
    total = first
    for term in rest:
        total = total + term
        if len(total) > width:
            total = total[:width]
    return total
