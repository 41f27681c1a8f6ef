"""What is expected of the models of the zoo, and what is a fault of a row."""

from collections.abc import Iterator
from pathlib import Path

from verif.zoo.judge import Row

#: Rows as of ``build/zoo.json``, which ``python -m verif.zoo --bless`` writes.
EXPECTED = Path(__file__).parents[2] / "docs" / "zoo.json"
#: By how much the golden engine may be off the prediction, and figures below what is expected.
MOST_DECIBELS = 1.0
#: By how much the share of like classes may fall.
MOST_SHARE = 0.01
_DECIBELS = ("sqnr_db", "predicted_db")
_SHARES = ("argmax_agreement", "golden_agreement")


def faults(row: Row, expected: Row | None) -> Iterator[str]:
    """What is wrong with a row, a line each: in itself, or beside what is expected of the model.

    A model of which nothing is expected yet is judged in itself alone.  None in place of decibels
    is no error at all.
    """
    name = row["model"]
    if row["status"] == "ran":
        engine, exact = (_least(row[key]) for key in ("sqnr_db", "same_db"))
        if abs(engine - exact) > MOST_DECIBELS:
            yield f"{name}: {engine:g} dB on the golden engine, {exact:g} dB predicted"
    if expected is None:
        return
    if row["status"] != expected["status"]:
        why = f": {row['refusals'][0]}" if row["refusals"] else ""
        yield f"{name}: {row['status']}, expected is {expected['status']}{why}"
    if "ran" != row["status"] or "ran" != expected["status"]:
        return
    for key in _DECIBELS:
        got, wanted = _least(row[key]), _least(expected[key])
        if got < wanted - MOST_DECIBELS:
            yield f"{name}: {key} is {got:g}, expected is {wanted:g}"
    for key in _SHARES:
        if expected[key] is not None and (row[key] or 0.0) < expected[key] - MOST_SHARE:
            yield f"{name}: {key} is {row[key]}, expected is {expected[key]}"


def _least(decibels: float | None) -> float:
    """Decibels, at most 200: float has no more."""
    return 200.0 if decibels is None else min(decibels, 200.0)
