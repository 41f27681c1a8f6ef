"""What PAL is asked to reach against each peer, and what it reaches."""

from collections.abc import Iterator
from dataclasses import dataclass

from verif.area.edges import EDGE, at_edge
from verif.area.study import median_energy


@dataclass(frozen=True)
class Bar:
    """A ratio of areas: of a PAL unit to a peer.

    Parameters
    ----------
    unit: the PAL unit; decoded: the same with its decoders at the edge of an array, or "".
    peer: with a scale for the tensor; block_peer: with the block scale that PAL has.
    limit: of the ratio; accuracy: row whose dot SQNR the unit must reach, less ``margin_db``.
    """

    unit: str
    peer: str
    block_peer: str
    limit: float
    accuracy: str
    margin_db: float = 0.0
    decoded: str = ""


BARS = (
    Bar("PAL8U lean", "INT8", "MXINT8", 0.55, "E4M3 exact", 5),
    Bar("PAL8U lean", "E3M4 12-bit window", "MX-E3M4 12-bit window", 0.65, "E4M3 exact", 5),
    Bar("PAL8U lean", "E4M3 12-bit window", "MX-E4M3 12-bit window", 0.70, "E4M3 exact", 5),
    Bar("PAL8T-oct lean", "INT8", "MXINT8", 0.60, "MXINT8", decoded="PAL8T-oct lean, decoded"),
    Bar(
        "PAL6T lean",
        "E2M3 exact",
        "MX-E2M3 exact",
        0.75,
        "MX-E2M3 exact",
        decoded="PAL6T lean, decoded",
    ),
    Bar("PAL4U lean", "E2M1 exact", "MX-E2M1 exact", 0.85, "MX-E2M1 exact"),
)
#: Energy of a multiply-accumulate: unit, unit with decoders at the edge, peers, limit.
ENERGY_BARS = (
    ("PAL8U lean", "", "INT8", "MXINT8", 0.75),
    ("PAL6T lean", "PAL6T lean, decoded", "E2M3 exact", "MX-E2M3 exact", 0.80),
)
#: Largest share of a tile's logic that is neither matrix unit, vector unit nor memory.
OVERHEAD_LIMIT = 0.35
#: Largest share of control state, and of crossbar and registers.
CONTROL_LIMIT = 0.20

Row = list[str]


def area_rows(results: dict) -> Iterator[Row]:
    """Heading, then a row a bar: ratios to both peers, in area and area-delay product."""
    rows = {row["unit"]: row for row in results["rows"]}
    yield [
        "unit",
        "peer",
        "bar",
        "area",
        "area, adder cells",
        "area x delay",
        "dot SQNR, dB",
        "needed",
        "met in area",
    ]
    for bar in BARS:
        for peer in (bar.peer, bar.block_peer):
            ratios: list[float | None] = []
            for column in ("ge", "ge_adder_cells", "area_delay"):
                if rows["INT8"][column] is None:  # no adder cells, or no delays
                    ratios.append(None)
                    continue
                value = rows[bar.unit][column]
                if bar.decoded:
                    value = at_edge(value, rows[bar.decoded][column])
                ratios.append(value / rows[peer][column])
            needed = rows[bar.accuracy]["dot_sqnr_db"] + bar.margin_db
            reached = rows[bar.unit]["dot_sqnr_db"]
            met = ratios[0] is not None and ratios[0] <= bar.limit and reached >= needed
            label = bar.unit + (f", decoders shared by {EDGE}" if bar.decoded else "")
            yield [
                label,
                peer,
                f"{bar.limit:.2f}",
                *("-" if r is None else f"{r:.3f}" for r in ratios),
                f"{reached:.2f}",
                f"{needed:.2f}",
                "yes" if met else "no",
            ]


def ratio_rows(studies: dict[str, dict]) -> Iterator[Row]:
    """Heading, then a row a bar and peer: the ratio of areas in each library."""
    yield ["unit", "peer", *studies, "spread"]
    tables = [list(area_rows(study))[1:] for study in studies.values()]
    for rows in zip(*tables, strict=True):
        ratios = [float(row[3]) for row in rows]
        yield [
            rows[0][0],
            rows[0][1],
            *(f"{r:.3f}" for r in ratios),
            f"{max(ratios) - min(ratios):.3f}",
        ]


def energy_rows(results: dict) -> Iterator[Row]:
    """Heading, then a row a bar and peer: ratios of energies, per stream and median."""
    rows = {row["unit"]: row for row in results["rows"]}
    streams = list(rows["INT8"]["energy_per_mac"])
    yield ["unit", "peer", "bar", *streams, "with glitches", "met"]
    for unit, decoded, *peers, limit in ENERGY_BARS:
        for peer in peers:

            def value(name: str, stream: str, delay: str = "zero") -> float:
                return rows[name]["energy_per_mac"][stream][delay]

            def ratio(
                stream: str,
                delay: str = "zero",
                unit: str = unit,
                decoded: str = decoded,
                peer: str = peer,
            ) -> float:
                mine = value(unit, stream, delay)
                if decoded:
                    mine = at_edge(mine, value(decoded, stream, delay))
                return mine / value(peer, stream, delay)

            ratios = [ratio(stream) for stream in streams]
            glitches = sorted(ratio(stream, "unit") for stream in streams)[len(streams) // 2]
            label = unit + (f", decoders shared by {EDGE}" if decoded else "")
            yield [
                label,
                peer,
                f"{limit:.2f}",
                *(f"{r:.3f}" for r in ratios),
                f"{glitches:.3f}",
                "yes" if max(ratios) <= limit else "no",
            ]


def unit_rows(results: dict) -> Iterator[Row]:
    """Heading, then a row a unit."""
    delay, energy = results["units"]["delay"], results["units"]["energy"]
    yield [
        "unit",
        "bits",
        "scale",
        "accumulator",
        "NAND2 a lane",
        "with adder cells",
        f"fastest, {delay}",
        "area x delay",
        "dot SQNR, dB",
        "student-t3",
        "outliers",
        f"energy a MAC, {energy}",
    ]
    for row in results["rows"]:
        if row["variant"]:
            continue
        adders = row["ge_adder_cells"]
        energy_value = median_energy(row)
        yield [
            row["unit"],
            f"{row['bits_per_element']:g}",
            row["scale"],
            row["accumulator"],
            f"{row['ge_per_lane']:.1f}",
            f"{adders / row['lanes']:.1f}" if adders else "-",
            *(
                "-" if value is None else text.format(value)
                for text, value in (
                    ("{:.2f}", row["delay_ns"]),
                    ("{:.0f}", row["area_delay"] and row["area_delay"] / row["lanes"]),
                )
            ),
            *(
                _decibels(row[key])
                for key in ("dot_sqnr_db", "dot_sqnr_db_student-t3", "dot_sqnr_db_outliers")
            ),
            f"{energy_value:.3g}" if energy_value else "-",
        ]


def target_rows(results: dict) -> Iterator[Row]:
    """Heading, then a row a 16-lane unit: its smallest area at equal delays, INT8's own."""
    rows = [row for row in results["rows"] if not row["variant"] and row["lanes"] > 1]
    targets = sorted(p["delay"] for row in rows if row["unit"] == "INT8" for p in row["speeds"])
    yield ["NAND2 a lane, within", *(f"{t:.1f} {results['units']['delay']}" for t in targets)]
    for row in rows:
        found = [
            min((p["ge"] for p in row["speeds"] if p["delay"] <= target), default=None)
            for target in targets
        ]
        yield [row["unit"], *("-" if ge is None else f"{ge / row['lanes']:.0f}" for ge in found)]


def variant_rows(results: dict) -> Iterator[Row]:
    """Heading, then a row a variant that was tried."""
    yield ["variant", "product", "scale", "NAND2 a lane", "dot SQNR, dB", "student-t3", "outliers"]
    for row in results["rows"]:
        if row["variant"]:
            yield [
                row["unit"],
                row["product"],
                row["scale"],
                f"{row['ge_per_lane']:.1f}",
                *(
                    _decibels(row[key])
                    for key in ("dot_sqnr_db", "dot_sqnr_db_student-t3", "dot_sqnr_db_outliers")
                ),
            ]


def part_rows(results: dict) -> Iterator[Row]:
    """Heading, then a row a part of each tile kind and of the top."""
    yield ["module", "part", "NAND2", "share", "memory bits", "overhead"]
    totals: dict[str, float] = {}
    for part in results["parts"]:
        totals[part["module"]] = totals.get(part["module"], 0) + part["ge"]
    for part in results["parts"]:
        yield [
            part["module"],
            part["part"],
            f"{part['ge']:.0f}",
            f"{part['ge'] / totals[part['module']]:.1%}",
            str(part["memory_bits"]),
            "yes" if part["overhead"] else "",
        ]


def _decibels(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def moved(results: dict, baseline: dict, tolerance: float = 0.02) -> list[str]:
    """What differs from a baseline by more than ``tolerance``: one line each.

    Variants count only if the results have any.
    """
    tried = any(row["variant"] for row in results["rows"])

    def areas(study: dict) -> dict[str, float]:
        return {row["unit"]: row["ge"] for row in study["rows"] if tried or not row["variant"]} | {
            f"{p['module']}, {p['part']}": p["ge"] for p in study["parts"]
        }

    before, after = areas(baseline), areas(results)
    lines = [f"{name}: new, {after[name]:.0f}" for name in after if name not in before]
    lines += [f"{name}: gone, was {before[name]:.0f}" for name in before if name not in after]
    for name in before.keys() & after.keys():
        change = after[name] / before[name] - 1
        if abs(change) > tolerance:
            lines.append(f"{name}: {before[name]:.0f} -> {after[name]:.0f} ({change:+.1%})")
    return sorted(lines)
