"""Products of Booth's digits without their lowest columns, as integers."""

from typing import Any


def booth_product(a: Any, b: Any, digits: int, dropped: int) -> Any:
    """``a * b`` in units of ``2^dropped`` without what each row has below it.

    Of integers or arrays.  A row is ``digit * a * 4^i`` with a digit of ``b`` from -2 to 2; a
    negative one is inverted, and the 1 that makes that a negation is a row of its own, left out
    if it lies below.  ``digits`` must hold ``b``: ``(bits + 1) // 2`` of a signed one.
    """
    total = 0 * (a + b)
    for i in range(digits):
        bits = ((b << 1) >> (2 * i)) & 7
        digit = (bits & 1) + ((bits >> 1) & 1) - 2 * (bits >> 2)
        negative = (digit >> 2) & 1  # of -2 and -1 alone
        total += ((a * digit - negative) << (2 * i)) >> dropped
        if 2 * i >= dropped:
            total += negative << (2 * i - dropped)
    return total
