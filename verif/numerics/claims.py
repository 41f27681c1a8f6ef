"""Sentences about the study's results, each figure and each verdict computed from its rows."""

from collections.abc import Iterator, Sequence
from math import inf

from verif.numerics.distributions import DISTRIBUTIONS
from verif.pages.readme import listed

#: PAL formats that sentences speak of.
HEADLINES = ("PAL8A", "PAL8T", "PAL8U", "PAL6A", "PAL6T", "PAL4A", "PAL4T/16")
#: A peer of less than this many bits below a PAL format is not compared with it.
CLASS_BITS = 0.5
#: Differences that two decimals would show as 0 are ties.
TIE_DB = 0.005

Results = dict
#: SQNR by format and distribution, infinite where nothing is lost.
Levels = dict[tuple[str, str], float]


def levels(results: Results, column: str = "sqnr_db", rotated: bool = False) -> Levels:
    """One column of the rows that are, or are not, rotated."""
    return {
        (r["format"], r["distribution"]): inf if r[column] is None else r[column]
        for r in results["rows"]
        if r["rotated"] == rotated
    }


def embeddings(results: Results) -> dict[str, float]:
    """SQNR of sentence embeddings by format; empty without the network."""
    return {
        r["format"]: inf if r["embedding_sqnr_db"] is None else r["embedding_sqnr_db"]
        for r in results["network_rows"]
    }


def bits(results: Results) -> dict[str, float]:
    """Total bits of an element by format."""
    return {row["format"]: row["bits_per_element"] for row in results["rows"]}


def added(results: Results) -> list[str]:
    """Formats of the user beside those of the study."""
    return list(results.get("added", ()))


def peers(results: Results, name: str) -> list[str]:
    """What a format is compared with: of no more total bits and of less than one class fewer.

    A PAL format's are those that are not PAL's; a format of the user has all of the study.
    """
    total, mine = bits(results), added(results)
    return [
        peer
        for peer, b in total.items()
        if peer not in mine
        and (name in mine or not peer.startswith("PAL"))
        and total[name] - CLASS_BITS < b <= total[name]
    ]


def difference(mine: float, other: float) -> float:
    """SQNR above another one; 0 if both are exact."""
    return 0.0 if mine == other else mine - other


def decibels(value: float) -> str:
    """A SQNR as text."""
    return "exact" if value == inf else f"{value:.1f}"


def best_peer(table: Levels, among: Sequence[str], distribution: str) -> str:
    """The peer of the highest SQNR on a distribution, the first of equals."""
    return max(among, key=lambda peer: table[peer, distribution])


def own_scales(results: Results, name: str) -> list[str]:
    """Peers with the scale that their definition has, not PAL's."""
    return [peer for peer in peers(results, name) if "/8th" not in peer]


def leads(table: Levels, name: str, among: Sequence[str]) -> list[str]:
    """Distributions on which a format is above all of these peers."""
    return [
        d
        for d in DISTRIBUTIONS
        if difference(table[name, d], table[best_peer(table, among, d), d]) > TIE_DB
    ]


def _where(found: Sequence[str]) -> str:
    count = len(DISTRIBUTIONS)
    if len(found) in (0, count):
        return f"{'all' if found else 'none of'} {count} distributions"
    return f"{len(found)} of {count} distributions ({listed(found)})"


def holds(results: Results) -> Iterator[str]:
    """A sentence a PAL format: where no peer of as many bits is above it."""
    plain, turned = levels(results), levels(results, rotated=True)
    for name in HEADLINES:
        everyone, own = peers(results, name), own_scales(results, name)
        both = {
            **plain,
            **{
                (f"{peer}, rotated", d): turned[peer, d] for peer in everyone for d in DISTRIBUTIONS
            },
        }
        both.update({(name, d): max(plain[name, d], turned[name, d]) for d in DISTRIBUTIONS})
        tried = [*everyone, *(f"{peer}, rotated" for peer in everyone)]
        yield (
            f"**{name}** ({bits(results)[name]:g} bits): above every peer of as many bits "
            f"with its own scale on {_where(leads(plain, name, own))}; above all peers, those "
            f"under PAL's own scale too, on {_where(leads(plain, name, everyone))}; with the "
            f"better of plain and rotated for each, on {_where(leads(both, name, tried))}."
        )


def losses(results: Results) -> Iterator[str]:
    """A paragraph a PAL format: every peer of as many bits that is above it, where, how far."""
    table = levels(results)
    for name in HEADLINES:
        parts = []
        for peer in peers(results, name):
            below = {d: difference(table[peer, d], table[name, d]) for d in DISTRIBUTIONS}
            below = {d: gap for d, gap in below.items() if gap > TIE_DB}
            if below:
                worst = max(below, key=lambda d: below[d])
                gap = "exact there" if below[worst] == inf else f"{below[worst]:.1f} dB"
                places = listed([d for d in below if d != worst])
                parts.append(f"{peer} on {worst} ({gap})" + (f", {places}" if places else ""))
        network = embeddings(results)
        above = [
            f"{peer} ({network[peer]:.1f})"
            for peer in peers(results, name)
            if name in network and network.get(peer, -inf) > network[name]
        ]
        waiting = [peer for peer in peers(results, name) if peer not in network]
        ending = (
            ""
            if name not in network
            else f" On sentence embeddings ({network[name]:.1f} dB) "
            + (
                f"{listed(above)} {'are' if len(above) > 1 else 'is'} above it"
                if above
                else "no peer of as many bits that was run is above it"
            )
            + (f"; not run yet: {', '.join(waiting)}." if waiting else ".")
        )
        yield (
            f"{name} loses to {'; '.join(parts)}."
            if parts
            else f"{name} loses to no peer of as many bits on values."
        ) + ending


def classes() -> str:
    """What "as many bits" is."""
    return (
        "*Of as many bits* as a format are those whose bits of an element, with the shares of what "
        f"a block stores, are no more than its own, and less than {CLASS_BITS:g} fewer."
    )


def elements(results: Results) -> str:
    """What the choice of an element by block gives peers, and what is left of PAL's lead."""
    table, total = levels(results), bits(results)
    parts = []
    for name, chosen, single in (
        ("PAL8A", "E2M5|INT8/8th", ("E2M5/8th", "INT8/8th")),
        ("PAL6A", "E2M3|INT6/8th", ("E2M3/8th", "INT6/8th")),
        ("PAL4A", "IF4/8th", ("E2M1/8th/16",)),
    ):
        if chosen not in total:
            parts.append(f"{chosen} has not run yet")
            continue
        best = best_peer(table, single, "gaussian")
        parts.append(
            f"{best} {decibels(table[best, 'gaussian'])}, {chosen} "
            f"{decibels(table[chosen, 'gaussian'])}, {name} {decibels(table[name, 'gaussian'])}"
        )
    return (
        f"Elements chosen by block, under PAL's scale, on Gaussian values, dB: {'; '.join(parts)}."
    )


def scale_share(results: Results) -> str:
    """How much of PAL's lead is its fine scale: the same elements under it, on Gaussian values."""
    table = levels(results)
    parts = [
        f"{own} {decibels(table[own, 'gaussian'])}, under PAL's scale "
        f"{decibels(table[fine, 'gaussian'])}, {name} {decibels(table[name, 'gaussian'])}"
        for own, fine, name in (
            ("MXINT8", "INT8/8th", "PAL8T"),
            ("MXFP6-E2M3", "E2M3/8th", "PAL6T"),
        )
    ]
    return "The fine scale alone, on Gaussian values, dB: " + "; ".join(parts) + "."
