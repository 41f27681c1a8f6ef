"""What matrix units of PAL are asked to reach against their peers, and what they reach."""

from collections.abc import Iterator
from dataclasses import dataclass

from verif.area.shapes import DOT16, MATRIX16

Row = list[str]


@dataclass(frozen=True)
class Bar:
    """A ratio of areas of matrix units of 16 x 16.

    Parameters
    ----------
    name: of the bar; pals: formats of PAL, of which one must meet it; peers: one format under
    either scale, all of which it must be met against.
    area: most of the ratio of smallest areas; margin_db: by which PAL's SQNR must be above.
    energy: most of the ratio of energies a multiply-accumulate, None if none is asked.
    """

    name: str
    pals: tuple[str, ...]
    peers: tuple[str, ...]
    area: float
    margin_db: float = 0.0
    energy: float | None = None


_EIGHT = ("PAL8T", "PAL8A")
BARS = (
    Bar("integers of 8 bits", _EIGHT, ("MXINT8", "INT8/8th"), 0.75, energy=0.75),
    Bar("integers of 8 bits, Winograd", _EIGHT, ("MXINT8 Winograd", "INT8/8th Winograd"), 0.85),
    Bar("E4M3", ("PAL8U",), ("MX-E4M3", "E4M3/8th"), 0.80, 5.0, 1.0),
    Bar("E2M3", ("PAL6T", "PAL6A"), ("MX-E2M3", "E2M3/8th"), 0.85),
    Bar("NVFP4", ("PAL4A",), ("NVFP4-4/6", "E2M1/8th/16"), 0.85, 1.0, 0.9),
)
#: Most of the ratio at each peer's own fastest clock.
CLOCK_LIMIT = 1.0
#: Bits of the formats up to whose best dot SQNR both fronts are asked to be PAL's.
FRONT_BITS = 8.25
#: Largest share of a tile's logic that is neither matrix unit, vector unit nor memory.
OVERHEAD_LIMIT = 0.35
#: Largest share of control state, and of crossbar and registers.
CONTROL_LIMIT = 0.20


@dataclass(frozen=True)
class Verdict:
    """A PAL format against a peer under one bar; ratios are PAL's over the peer's.

    ``equal_loss``: both lean; ``above_db``: how far PAL's dot SQNR lies above then.
    ``equal_sqnr``: PAL cut to what the bar asks of its SQNR, None if it never reaches that; of that
    unit ``clock``, its area at the peer's fastest clock, None if it never keeps that, and
    ``energy``, at zero delay, median of streams.
    """

    bar: Bar
    pal: str
    peer: str
    equal_loss: float
    above_db: float
    equal_sqnr: float | None
    clock: float | None
    energy: float | None

    @property
    def met(self) -> bool:
        """Whether a unit that is as good as asked is as small as asked."""
        ratios = [self.equal_sqnr] if self.equal_sqnr is not None else []
        if self.above_db >= self.bar.margin_db:
            ratios.append(self.equal_loss)
        return bool(ratios) and min(ratios) <= self.bar.area


def lean(results: dict, shape: str = MATRIX16.name) -> dict[str, dict]:
    """Lean units of a shape by their format."""
    return {
        row["format"]: row
        for row in results["rows"]
        if row["cut"] == "lean" and row["shape"] == shape
    }


def median_energy(row: dict, delay: str = "zero") -> float:
    """Median energy of a row over its streams."""
    values = sorted(streams[delay] for streams in row["energy_per_mac"].values())
    return values[len(values) // 2]


def verdicts(results: dict) -> Iterator[Verdict]:
    """Each PAL format of a bar against each peer."""
    units = lean(results)
    named = {bar.name: bar for bar in BARS}
    for pair in results["pairs"]:
        mine, other = units[pair["pal"]], units[pair["peer"]]
        fastest = min(other["speeds"], key=lambda p: p["delay"], default=None)
        clock = None
        if fastest and pair["clocked_ge_per_mac"]:
            clock = pair["clocked_ge_per_mac"] / (fastest["ge"] / MATRIX16.macs)
        yield Verdict(
            named[pair["bar"]],
            pair["pal"],
            pair["peer"],
            mine["ge_per_mac"] / other["ge_per_mac"],
            mine["dot_sqnr_db"] - other["dot_sqnr_db"],
            pair["equal"] and pair["equal"]["ge_per_mac"] / other["ge_per_mac"],
            clock,
            pair["equal"] and median_energy(pair["equal"]) / median_energy(other),
        )


def verdict_rows(results: dict) -> Iterator[Row]:
    """Heading, then a row a PAL format and peer."""
    yield [
        "bar",
        "PAL",
        "peer",
        "asked",
        "both lean",
        "PAL above by, dB",
        "margin, dB",
        "at equal SQNR and margin",
        "met",
        "at the peer's fastest clock",
        "energy",
        "energy asked",
    ]
    for v in verdicts(results):
        yield [
            v.bar.name,
            v.pal,
            v.peer,
            f"{v.bar.area:.2f}",
            f"{v.equal_loss:.3f}",
            f"{v.above_db:+.2f}",
            f"{v.bar.margin_db:g}",
            "never" if v.equal_sqnr is None else f"{v.equal_sqnr:.3f}",
            "yes" if v.met else "no",
            "never" if v.clock is None else f"{v.clock:.3f}",
            "never" if v.energy is None else f"{v.energy:.3f}",
            f"{v.bar.energy:g}" if v.bar.energy else "",
        ]


def front(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points that no other beats: less area (first) and more decibels (second)."""
    best: list[tuple[float, float]] = []
    for area, decibels in sorted(points, key=lambda p: (p[0], -p[1])):
        if not best or decibels > best[-1][1]:
            best.append((area, decibels))
    return best


def fronts(results: dict) -> dict[str, list[dict]]:
    """Rows on the front of area against dot SQNR, by shape, up to the best of 8.25 bits."""
    found = {}
    for shape in (DOT16.name, MATRIX16.name):
        rows = [row for row in results["rows"] if row["shape"] == shape]
        top = max(r["dot_sqnr_db"] for r in rows if r["bits_per_element"] <= FRONT_BITS)
        best = set(front([(r["ge_per_mac"], r["dot_sqnr_db"]) for r in rows]))
        found[shape] = sorted(
            (
                r
                for r in rows
                if (r["ge_per_mac"], r["dot_sqnr_db"]) in best and r["dot_sqnr_db"] <= top
            ),
            key=lambda r: r["ge_per_mac"],
        )
    return found


def front_rows(results: dict) -> Iterator[Row]:
    """Heading, then a row a point of either front."""
    yield ["shape", "unit", "bits", "NAND2 a MAC", "dot SQNR, dB"]
    for shape, rows in fronts(results).items():
        for row in rows:
            yield [
                shape,
                row["unit"],
                f"{row['bits_per_element']:g}",
                f"{row['ge_per_mac']:.1f}",
                f"{row['dot_sqnr_db']:.2f}",
            ]


def unit_rows(results: dict) -> Iterator[Row]:
    """Heading, then a row a family, lean or default: areas of all shapes."""
    delay, energy = results["units"]["delay"], results["units"]["energy"]
    yield [
        "format",
        "kept",
        "cut",
        "bits",
        "weight bits",
        "dot16, NAND2 a MAC",
        "matrix8x8",
        "matrix16x16",
        "of that at the edge",
        f"fastest, {delay}",
        "dot SQNR, dB",
        "student-t3",
        "outliers",
        f"energy a MAC, {energy}",
    ]
    table: dict[tuple[str, str], dict[str, dict]] = {}
    for row in results["rows"]:
        if row["cut"] in ("default", "lean"):
            table.setdefault((row["format"], row["cut"]), {})[row["shape"]] = row
    for (name, cut), shapes in table.items():
        row = shapes[MATRIX16.name]
        yield [
            name,
            row["kept"],
            cut,
            f"{row['bits_per_element']:g}",
            f"{row['weight_bits']:.2f}",
            *(
                f"{shapes[s]['ge_per_mac']:.1f}" if s in shapes else "-"
                for s in (DOT16.name, "matrix8x8", MATRIX16.name)
            ),
            f"{row['edge_ge_per_mac']:.1f}",
            f"{row['fo4']:.1f}" if row.get("fo4") else "-",
            *(
                f"{row[key]:.2f}"
                for key in ("dot_sqnr_db", "dot_sqnr_db_student-t3", "dot_sqnr_db_outliers")
            ),
            f"{median_energy(row):.3g}" if "energy_per_mac" in row else "-",
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


def moved(results: dict, baseline: dict, tolerance: float = 0.02) -> list[str]:
    """What differs from a baseline by more than ``tolerance``: one line each."""

    def areas(study: dict) -> dict[str, float]:
        return {
            f"{row['format']} {row['cut']}, {row['shape']}": row["ge"]
            for row in study["rows"]
            if row["cut"] != "point"
        } | {f"{p['module']}, {p['part']}": p["ge"] for p in study["parts"]}

    before, after = areas(baseline), areas(results)
    lines = [f"{name}: new, {after[name]:.0f}" for name in after if name not in before]
    lines += [f"{name}: gone, was {before[name]:.0f}" for name in before if name not in after]
    for name in before.keys() & after.keys():
        change = after[name] / before[name] - 1
        if abs(change) > tolerance:
            lines.append(f"{name}: {before[name]:.0f} -> {after[name]:.0f} ({change:+.1%})")
    return sorted(lines)
