"""What the rows of real tensors say: where PAL formats are above all peers of as many bits.

Peers are those of ``verif.numerics.claims``; of a tensor counts the margin, the SQNR of the PAL
format above that of the best of them.  Results without such rows say nothing.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import inf
from statistics import median_low
from typing import Any

from verif.numerics import claims, minilm, smollm2
from verif.numerics.tensors import MOST

#: Model and kind of tensors that tables count apart.
Group = tuple[str, str]
#: Model, kind and name of a tensor.
Key = tuple[str, str, str]


@dataclass(frozen=True)
class Standing:
    """A PAL format among its peers on every tensor.

    Parameters
    ----------
    name, bits: of the format.
    margins: by tensor the SQNR above the best peer, in dB.
    own: the same above those peers that have the scale of their own definition.
    above: on how many tensors each peer is above the format, most first.
    best: the best peer by tensor.
    """

    name: str
    bits: float
    margins: dict[Key, float]
    own: dict[Key, float]
    above: list[tuple[str, int]]
    best: dict[Key, str]

    @cached_property
    def worst(self) -> Key:
        """The tensor of the least margin, the first of equals."""
        return min(self.margins, key=lambda tensor: self.margins[tensor])

    def leads(self, group: Group | None = None) -> int:
        """Number of tensors, of a group or of all, on which it is above every peer."""
        return sum(
            margin > claims.TIE_DB
            for (model, kind, _), margin in self.margins.items()
            if group in (None, (model, kind))
        )


def packed(results: claims.Results) -> claims.Results:
    """Results with the rows of tensors in columns, to two decimals: a tenth of the text."""
    rows = results.get("tensor_rows", [])
    tensors = list(dict.fromkeys((r["model"], r["kind"], r["source"]) for r in rows))
    columns: dict[str, dict[str, Any]] = {}
    for r in rows:
        column = columns.setdefault(
            r["format"], {"bits_per_element": r["bits_per_element"], "sqnr_db": []}
        )
        column["sqnr_db"].append(None if r["sqnr_db"] is None else round(r["sqnr_db"], 2))
    kept = {key: value for key, value in results.items() if key != "tensor_rows"}
    return kept | {"tensors": tensors, "tensor_columns": columns}


def unpacked(kept: claims.Results) -> claims.Results:
    """Results with rows of tensors from those that are packed; others as they are."""
    if "tensors" not in kept:
        return kept
    rows = [
        {
            "format": name,
            "bits_per_element": column["bits_per_element"],
            "source": source,
            "model": model,
            "kind": kind,
            "rotated": False,
            "sqnr_db": value,
        }
        for name, column in kept["tensor_columns"].items()
        for (model, kind, source), value in zip(kept["tensors"], column["sqnr_db"], strict=True)
    ]
    without = {k: v for k, v in kept.items() if k not in ("tensors", "tensor_columns")}
    return without | {"tensor_rows": rows}


def groups(results: claims.Results) -> dict[Group, int]:
    """Number of tensors by model and kind, weights first; empty without such rows."""
    tensors = dict.fromkeys(
        (r["model"], r["kind"], r["source"]) for r in results.get("tensor_rows", ())
    )
    counted = Counter((model, kind) for model, kind, _ in tensors)
    models = list(dict.fromkeys(model for model, _ in counted))
    return {
        group: counted[group]
        for group in sorted(counted, key=lambda g: (models.index(g[0]), g[1] != "weight"))
    }


def standings(results: claims.Results) -> Iterator[Standing]:
    """Each format of PAL or of the user that has peers, widest first, as the rows have them."""
    rows = results.get("tensor_rows", [])
    levels: dict[Key, dict[str, float]] = {}
    for r in rows:
        tensor = (r["model"], r["kind"], r["source"])
        levels.setdefault(tensor, {})[r["format"]] = inf if r["sqnr_db"] is None else r["sqnr_db"]
    as_rows = {"rows": rows, "added": claims.added(results)}
    bits = claims.bits(as_rows)
    mine = [n for n in bits if n.startswith("PAL") or n in as_rows["added"]]
    for name in sorted(mine, key=lambda n: -bits[n]):
        everyone, own = claims.peers(as_rows, name), claims.own_scales(as_rows, name)
        if not own:
            continue

        def margins(among: Sequence[str], name: str = name) -> dict[Key, float]:
            return {
                tensor: claims.difference(sqnr[name], max(sqnr[peer] for peer in among))
                for tensor, sqnr in levels.items()
            }

        above = Counter(
            peer
            for sqnr in levels.values()
            for peer in everyone
            if claims.difference(sqnr[peer], sqnr[name]) > claims.TIE_DB
        )
        yield Standing(
            name,
            bits[name],
            margins(everyone),
            margins(own),
            above.most_common(),
            {t: max(everyone, key=lambda peer: sqnr[peer]) for t, sqnr in levels.items()},
        )


def _margin(value: float) -> str:
    return "exact" if value == inf else "peer exact" if value == -inf else f"{value:+.2f}"


def table(results: claims.Results) -> list[list[str]]:
    """A row a PAL format, the headings first; margins are above the best peer on each tensor.

    Of an even number the median is the lower of the two in the middle.
    """
    counted = groups(results)
    total = sum(counted.values())
    rows = [
        [
            "format",
            "bits",
            f"above peers with their own scale, of {total}",
            "median, dB",
            f"above all peers, of {total}",
            "median, dB",
            *(f"{model} {kind}s, of {count}" for (model, kind), count in counted.items()),
            "worst, dB",
            "there",
            "most often above it",
        ]
    ]
    for standing in standings(results):
        model, _, source = worst = standing.worst
        rows.append(
            [
                standing.name,
                f"{standing.bits:g}",
                str(sum(margin > claims.TIE_DB for margin in standing.own.values())),
                _margin(median_low(standing.own.values())),
                str(standing.leads()),
                _margin(median_low(standing.margins.values())),
                *(str(standing.leads(group)) for group in counted),
                _margin(standing.margins[worst]),
                f"{standing.best[worst]} on {model} {source}",
                ", ".join(f"{peer} ({n})" for peer, n in standing.above[:2]) or "none",
            ]
        )
    return rows


def data(results: claims.Results) -> str:
    """What the real tensors are, a paragraph; empty without them."""
    counted = groups(results)
    if not counted:
        return ""
    parts = ", ".join(f"{count} {kind}s of {model}" for (model, kind), count in counted.items())
    return (
        f"**Real tensors**: {parts}, on the same sentences: every operand of the products of "
        f"their layers, but for attention in {minilm.NAME}, along the axis that is summed. Of each "
        f"at most {MOST} values, whole rows chosen by a seed, so that a tensor's scale is that of "
        f"these. The weights of {smollm2.NAME} come from a file of 4 bits (Q4_1): they lie on "
        "grids of 16 levels in blocks of 32, and are not the trained numbers. Its "
        "activations are real ones. Medians are those of the SQNR above the best peer of each "
        "tensor."
    )
