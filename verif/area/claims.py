"""Sentences about the areas, each figure and each verdict computed from the results."""

from collections.abc import Iterator

from verif.area import bars
from verif.area.study import DISTRIBUTIONS
from verif.readme import listed

#: Units whose gain over float32 accumulation a sentence splits.
ACCUMULATION = ("E4M3 float32, 16 lanes", "E4M3 exact", "E4M3 12-bit window", "PAL8U lean")


def verdicts(results: dict) -> Iterator[str]:
    """A sentence a lean unit: which bars it meets against peers that are not cut."""
    rows = list(bars.area_rows(results))[1:]
    for unit in dict.fromkeys(row[0] for row in rows):
        found: dict[str, list[str]] = {"yes": [], "no": []}
        for _, peer, limit, ratio, *_, met in (row for row in rows if row[0] == unit):
            found[met].append(f"{peer} ({ratio} of {limit})")
        yield f"{unit}: " + "; ".join(
            f"{word} against {listed(found[met])}" for met, word in (("yes", "met"),
                                                                     ("no", "missed"))
            if found[met]) + "."


def delays(results: dict) -> str:
    """Which lean units are faster and which slower than the peers of their bars."""
    rows = {row["unit"]: row for row in results["rows"]}
    parts = []
    for bar in bars.BARS:
        unit = bar.decoded or bar.unit
        for peer in (bar.peer, bar.block_peer):
            mine, other = rows[unit]["delay_ns"], rows[peer]["delay_ns"]
            parts.append(f"{unit} {mine:.0f}, {peer} {other:.0f}")
    slower = sum(float(p.split(", ")[-2].split()[-1]) > float(p.split()[-1]) for p in parts)
    return (f"the fastest that each gets, {results['units']['delay']}: {'; '.join(parts)}. "
            f"PAL is the slower one in {slower} of {len(parts)}.")


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
    return (f"what dot products lose against Gaussian data, dB, the worse of "
            f"{listed(list(DISTRIBUTIONS[1:]))}: {', '.join(parts)}.")


def energies(results: dict) -> str:
    """Ratios of energies against their bars."""
    rows = list(bars.energy_rows(results))[1:]
    return "; ".join(f"{row[0]} against {row[1]} {'met' if row[-1] == 'yes' else 'missed'} "
                     f"({max(row[3:-2], key=float)} of {row[2]})" for row in rows) + "."


def accumulation(results: dict) -> str:
    """How much of the gain over float32 is fixed-point accumulation, which is not PAL's."""
    rows = {row["unit"]: row for row in results["rows"]}
    return ", ".join(f"{name} {rows[name]['ge_per_lane']:.0f}" for name in ACCUMULATION)
