"""Sentences about the areas, each figure and each verdict computed from the results."""

from collections.abc import Iterator

from verif.area import bars
from verif.area.bars import CLOCK_LIMIT, FRONT_BITS, Verdict
from verif.area.families import FAMILIES
from verif.area.shapes import DOT16, MATRIX16
from verif.pages.readme import listed


def _signed(value: float) -> str:
    return f"{value:+.1f} dB"


def _said(v: Verdict) -> str:
    """One comparison in words: the ratio by which it is judged, and what it is at equal loss."""
    if v.equal_sqnr is None:
        return f"{v.pal} never reaches {v.peer}"
    return (
        f"{v.pal} {v.equal_sqnr:.2f} of {v.peer} (both lean {v.equal_loss:.2f} at "
        f"{_signed(v.above_db)})"
    )


def met(results: dict) -> dict[str, bool]:
    """Whether each bar is met: by one PAL format against all of the bar's peers."""
    found: dict[str, dict[str, bool]] = {}
    for v in bars.verdicts(results):
        formats = found.setdefault(v.bar.name, {})
        formats[v.pal] = formats.get(v.pal, True) and v.met
    return {name: any(formats.values()) for name, formats in found.items()}


def verdicts(results: dict) -> Iterator[str]:
    """A sentence a bar of areas."""
    reached = met(results)
    for bar in bars.BARS:
        said = [_said(v) for v in bars.verdicts(results) if v.bar == bar]
        if not said:
            continue
        margin = f" at {bar.margin_db:+g} dB or more" if bar.margin_db else " at no lower dot SQNR"
        yield (
            f"**{bar.name}**, asked at most {bar.area:.2f}{margin}: "
            f"{'met' if reached[bar.name] else 'missed'}. {'; '.join(said)}."
        )


def clocks(results: dict) -> str:
    """Areas at each peer's own fastest clock."""
    parts = [
        f"{v.pal} at {v.peer}'s {'never' if v.clock is None else f'{v.clock:.2f}'}"
        for v in bars.verdicts(results)
    ]
    kept = sum(v.clock is not None and v.clock <= CLOCK_LIMIT for v in bars.verdicts(results))
    return (
        f"the unit at equal SQNR and margin where it keeps the peer's own fastest clock, over the "
        f"peer's area there (asked: at most {CLOCK_LIMIT:g}; reached in {kept} of {len(parts)}): "
        f"{'; '.join(parts)}."
    )


def energies(results: dict) -> str:
    """Ratios of energies of units at equal SQNR and margin against their bars."""
    parts = []
    for v in bars.verdicts(results):
        if not v.bar.energy:
            continue
        reached = v.energy is not None and v.energy <= v.bar.energy
        said = "never as accurate" if v.energy is None else f"{v.energy:.2f} of {v.bar.energy:g}"
        parts.append(f"{v.pal} against {v.peer} {'met' if reached else 'missed'} ({said})")
    return "; ".join(parts) + "."


def fronts(results: dict) -> Iterator[str]:
    """A sentence a front: whose its points are."""
    for shape, rows in bars.fronts(results).items():
        others = [row["unit"] for row in rows if not FAMILIES[row["format"]].is_pal]
        yield (
            f"**{shape}**: of {len(rows)} points of the front up to the best dot SQNR of a format "
            f"of {FRONT_BITS:g} bits, {len(rows) - len(others)} are PAL's"
            + (f"; the others: {', '.join(others)}." if others else ".")
        )


def tails(results: dict) -> str:
    """What lean units lose on heavy tails against Gaussian data."""
    parts = []
    for name, row in bars.lean(results).items():
        lost = max(row["dot_sqnr_db"] - row[f"dot_sqnr_db_{d}"] for d in ("student-t3", "outliers"))
        parts.append(f"{name} {lost:.1f}")
    return (
        "what dot products of lean units lose against Gaussian data, dB, the worse of "
        f"{listed(['student-t3', 'outliers'])}: {', '.join(parts)}. Guard bits are what lean "
        "units save: defaults keep them."
    )


def weights(results: dict) -> str:
    """Bits of weights that are stored decoded."""
    units = bars.lean(results)
    parts = [
        f"{name} {row['weight_bits']:.1f} for {row['bits_per_element']:.3g}"
        for name, row in units.items()
        if row["weight_bits"] - row["bits_per_element"] > 0.5
    ]
    return (
        "a matrix takes weights decoded, so that no lane has a decoder; each of their bits counts "
        "here as the flip-flop that it is registered in. A memory behind holds as many bits: "
        f"{', '.join(parts)}."
    )


def tiles(results: dict) -> str:
    """Shares of the array's logic."""
    shares = results["shares"]
    return (
        f"of `{results['parts'][0]['arch']}`: {shares['overhead']:.1%} of the logic "
        f"are neither matrix unit, vector unit nor memory (asked: at most "
        f"{bars.OVERHEAD_LIMIT:.0%}). Control state (contexts, constants, configuration "
        f"registers, address generators, sequencer) is {shares['control']:.1%}, or "
        f"{shares['control_with_contexts']:.1%} if every bit of context memory counted as a "
        f"flip-flop; crossbar, registers, links and guards are {shares['crossbar']:.1%} (asked: "
        f"at most {bars.CONTROL_LIMIT:.0%} each)."
    )


def sentences(results: dict) -> Iterator[str]:
    """All that the page says of its tables."""
    yield from verdicts(results)
    yield f"**Clock**: {clocks(results)}"
    yield f"**Energy** of a multiply-accumulate, asked of some: {energies(results)}"
    yield from fronts(results)
    yield f"**Weights**: {weights(results)}"
    yield f"**Heavy tails**: {tails(results)}"
    yield f"**Tiles** {tiles(results)}"


#: Shapes whose fronts are drawn.
DRAWN = (DOT16, MATRIX16)
