"""Sentences about the areas, each figure and each verdict computed from the results."""

from collections.abc import Iterator

from verif.area import bars
from verif.area.lean import PAIRS
from verif.area.study import DISTRIBUTIONS
from verif.pages.readme import listed

#: Units whose gain over float32 accumulation a sentence splits.
ACCUMULATION = ("E4M3 float32, 16 lanes", "E4M3 exact", "E4M3 12-bit window", "PAL8U lean")


def verdicts(results: dict) -> Iterator[str]:
    """A sentence a lean unit: which bars it meets against peers that are not cut."""
    rows = list(bars.area_rows(results))[1:]
    for unit in dict.fromkeys(row[0] for row in rows):
        found: dict[str, list[str]] = {"yes": [], "no": []}
        for _, peer, limit, ratio, *_, met in (row for row in rows if row[0] == unit):
            found[met].append(f"{peer} ({ratio} of {limit})")
        yield (
            f"{unit}: "
            + "; ".join(
                f"{word} against {listed(found[met])}"
                for met, word in (("yes", "met"), ("no", "missed"))
                if found[met]
            )
            + "."
        )


def delays(results: dict) -> str:
    """Which lean units are faster and which slower than the peers of their bars."""
    rows = {row["unit"]: row for row in results["rows"]}
    parts, slower = [], 0
    for bar in bars.BARS:
        unit = bar.decoded or bar.unit
        for peer in (bar.peer, bar.block_peer):
            mine, other = rows[unit]["delay_ns"], rows[peer]["delay_ns"]
            parts.append(f"{unit} {mine:.0f}, {peer} {other:.0f}")
            slower += mine > other
    return (
        f"the fastest that each gets, {results['units']['delay']}: {'; '.join(parts)}. "
        f"PAL is the slower one in {slower} of {len(parts)}."
    )


def tails(results: dict) -> str:
    """What PAL's units lose on heavy tails against Gaussian data."""
    parts = []
    for row in results["rows"]:
        if row["variant"] or not row["unit"].startswith("PAL") or "decoded" in row["unit"]:
            continue
        gaussian = row["dot_sqnr_db"]
        lost = {d: gaussian - row[f"dot_sqnr_db_{d}"] for d in DISTRIBUTIONS[1:]}
        worst = max(lost, key=lambda d: lost[d])
        parts.append(f"{row['unit']} {lost[worst]:.1f}")
    return (
        f"what dot products lose against Gaussian data, dB, the worse of "
        f"{listed(list(DISTRIBUTIONS[1:]))}: {', '.join(parts)}."
    )


def check_settings(results: dict) -> None:
    """Raise ``ValueError`` unless default units are larger than lean, and better on outliers."""
    rows = {row["unit"]: row for row in results["rows"]}
    for default, lean in dict.fromkeys((pair.default, pair.lean) for pair in PAIRS):
        for column in ("dot_sqnr_db_outliers", "ge_per_lane"):
            if rows[default][column] <= rows[lean][column]:
                raise ValueError(f"{default} should be above {lean} in {column}")


def octaves(results: dict) -> str:
    """How a dot unit with block biases in whole octaves compares with one in 1/8: an adjective."""
    area = {row["unit"]: row["ge_per_lane"] for row in results["rows"] if row["variant"]}
    pairs = [
        (area[unit.replace(" step 1", " step 8")], fine)
        for unit, fine in area.items()
        if unit.startswith("PAL8T")
        and unit.replace(" step 1", " step 8") in area
        and " step 1" in unit
    ]
    if not pairs:
        raise ValueError("no variants of PAL8T with block biases in 1/8 and in whole octaves")
    return "smaller" if all(whole < fine for whole, fine in pairs) else "no smaller"


def energies(results: dict) -> str:
    """Ratios of energies against their bars."""
    rows = list(bars.energy_rows(results))[1:]
    return (
        "; ".join(
            f"{row[0]} against {row[1]} {'met' if row[-1] == 'yes' else 'missed'} "
            f"({max(row[3:-2], key=float)} of {row[2]})"
            for row in rows
        )
        + "."
    )


def accumulation(results: dict) -> str:
    """How much of the gain over float32 is fixed-point accumulation, which is not PAL's."""
    rows = {row["unit"]: row for row in results["rows"]}
    return ", ".join(f"{name} {rows[name]['ge_per_lane']:.0f}" for name in ACCUMULATION)
