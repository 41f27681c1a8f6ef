"""A study as tables, for the screen, for a page that needs no network, and as JSON."""

import html
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from perf.anchors import epoch_query
from perf.constants import values
from perf.sizing.interval import Interval
from perf.sizing.service import YEARS
from perf.sizing.study import FIGURES, Study

#: What the earlier estimate of this project's authors said, from a simulator that is not published;
#: beside ours, never an input.
EARLIER = {
    ("spu-pal8", "h100-bf16"): "2.9",
    ("spu-pal4", "h100-bf16"): "4.9",
    ("spu-pal8", "h100-fp8"): "1.4 to 2.0",
    ("spu-pal4", "h100-fp8"): "2.4 to 2.8",
}
EARLIER_MEGAWATTS = "111 [39, 246] MW for 10 G queries"
#: The decoder that it was made for.
EARLIER_MODEL = "epoch-100b"
CLAIM, CLAIMED_COST = 20, 8
#: Drivers that are shown.
_SHOWN = 12
_HEADS = {
    "rate": "token/s a chip",
    "joules": "J a token",
    "dollars": "USD a M tokens",
    "chips": "chips",
    "megawatts": "MW, mean",
}
LIMITS = (
    "Nothing of an SPU was made in silicon: its rows are an H100 whose rates were multiplied by "
    "ratios of netlists that this project measured, and by assumptions.",
    "The array's share of multipliers in a die (arithmetic_density), the energy of moving operands "
    "(movement_energy) and what a memory engine hides (spu_exposed) are assumed, not measured.",
    "Intervals hold if the ranges do and constants err alone: correlations are not known.",
    "4 and 8 bits are taken to serve as good answers as bfloat16; that is not shown here.",
)


@dataclass(frozen=True)
class Section:
    """A titled table with a remark below."""

    title: str
    head: tuple[str, ...]
    rows: list[tuple[str, ...]]
    remark: str = ""


def sections(s: Study) -> list[Section]:
    """Tables of a study, the anchors first."""
    earlier = s.decoder.name == EARLIER_MODEL
    return [
        Section(
            "Anchors: published figures, computed again",
            ("figure", "published", "computed", "off", "allowed", "of what"),
            [
                (
                    a.name,
                    f"{_n(a.published)} {a.unit}",
                    f"{_n(a.computed)} {a.unit}",
                    f"{a.off:+.1%}",
                    f"{a.bar:.0%}",
                    a.how,
                )
                for a in s.anchors
            ],
        ),
        Section(
            f"{_n(s.queries)} queries a day of {s.decoder.name}",
            ("chip", *(_HEADS[f] for f in FIGURES)),
            [(chip, *(_i(each[f]) for f in FIGURES)) for chip, each in s.services.items()],
            "Value, and [5 %, 95 %] of the samples; rate of a chip in production, power and money "
            f"of the whole hall, over {YEARS} years. By Epoch AI's reckoning so many queries take "
            f"{_n(_epoch_megawatts(s))} MW"
            + (f"; an earlier estimate: {EARLIER_MEGAWATTS}." if earlier else "."),
        ),
        Section(
            "An array over an H100 of equal area, power, memory and process",
            ("array", "over", "tokens a second", "earlier estimate", "a joule", "a dollar"),
            [
                (
                    chip,
                    base,
                    _i(each["rate"]),
                    EARLIER[chip, base] if earlier else "-",
                    _i(each["joules"]),
                    _i(each["dollars"]),
                )
                for (chip, base), each in s.gains.items()
            ],
            f"A claim of {CLAIMED_COST} times a dollar stands where the last column's interval "
            "reaches it.",
        ),
        Section(
            f"What {CLAIM} times would be made of, from an H100 in bfloat16, one after the other",
            ("factor", *s.factors),
            [
                (step, *(_i(each[step]) for each in s.factors.values()))
                for step in next(iter(s.factors.values()))
            ],
            "equal: product of the first three, at equal area, power, memory and process; all: "
            "with a newer memory and process, which an H100 could have as well.",
        ),
        Section(
            f"What moves the megawatts of {s.driven}",
            ("constant", "at its low end", "at its high end", "kind"),
            [
                (d.constant, _n(d.low), _n(d.high), s.constants[d.constant].kind)
                for d in s.drivers[:_SHOWN]
            ],
            f"All constants at their good ends: {_n(s.corners[0])} MW; all at their bad ends: "
            f"{_n(s.corners[1])} MW.",
        ),
        Section(
            f"A hall of {_n(s.megawatts)} MW",
            ("chip", "ZFLOP/s, peak", "ZFLOP/s, sustained"),
            [(chip, _i(peak), _i(kept)) for chip, (peak, kept) in s.zetta.items()],
            "In the chip's own format, without sparsity; sustained: large products.",
        ),
        Section(
            "Training",
            ("chip", *(f"{run}: {what}" for run in _runs(s) for what in ("GJ", "kUSD"))),
            [
                (
                    chip,
                    *(_i(i, by) for run in each.values() for i, by in zip(run, _BY, strict=True)),
                )
                for chip, each in s.training.items()
            ],
            "2.1 G at 20 tokens a parameter, 70 G as Llama-2-70B, 175 G as GPT-3; whether a run in "
            "8 or 4 bits converges is not shown here.",
        ),
    ]


def as_json(s: Study) -> dict[str, Any]:
    """A study as what JSON has."""
    return {
        "decoder": s.decoder.name,
        "queries": s.queries,
        "samples": s.samples,
        "seed": s.seed,
        "anchors": [asdict(a) for a in s.anchors],
        "services": {c: {f: asdict(i) for f, i in e.items()} for c, e in s.services.items()},
        "gains": {f"{a} over {b}": _plain(e) for (a, b), e in s.gains.items()},
        "drivers": [asdict(d) for d in s.drivers],
        "corners": {"low": s.corners[0], "high": s.corners[1]},
        "factors": {fmt: _plain(e) for fmt, e in s.factors.items()},
        "zetta": {c: {"peak": asdict(p), "sustained": asdict(k)} for c, (p, k) in s.zetta.items()},
        "training": {
            chip: {run: {"joules": asdict(j), "dollars": asdict(d)} for run, (j, d) in e.items()}
            for chip, e in s.training.items()
        },
    }


def page(s: Study) -> str:
    """A study as a page of HTML that loads nothing: limits, tables, drivers drawn, constants."""
    body = ["<h1>Sizes</h1>", *(f"<p class=limit>{html.escape(line)}</p>" for line in LIMITS)]
    for each in sections(s):
        body += [f"<h2>{html.escape(each.title)}</h2>", _table(each.head, each.rows)]
        body += [f"<p>{html.escape(each.remark)}</p>"] * bool(each.remark)
        body += [_tornado(s)] * each.title.startswith("What moves")
    body += ["<h2>Constants</h2>", _table(_CONSTANT, _constants(s))]
    return _PAGE.format(body="\n".join(body))


_BY = (1e-9, 1e-3)
_CONSTANT = ("constant", "value", "low", "high", "unit", "kind", "source", "year")
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Sizes</title><style>
body {{ font: 15px/1.5 sans-serif; max-width: 75em; margin: 2em auto; padding: 0 1em; }}
table {{ border-collapse: collapse; display: block; overflow-x: auto; }}
td, th {{ border-bottom: 1px solid #bbb; padding: .2em .7em; text-align: left; }}
.limit {{ border-left: 4px solid #a33; padding-left: .7em; }}
</style></head><body>
{body}
</body></html>
"""


def _constants(s: Study) -> list[tuple[str, ...]]:
    return [
        (c.name, _n(c.value), _n(c.low), _n(c.high), c.unit, c.kind, c.source, str(c.year))
        for c in s.constants.values()
    ]


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    def row(cells: Iterable[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(c)}</{tag}>" for c in cells) + "</tr>"

    return "<table>" + row(head, "th") + "".join(row(r, "td") for r in rows) + "</table>"


def _tornado(s: Study) -> str:
    """Bars from low to high of the drivers that are shown, on one scale from 0."""
    shown = s.drivers[:_SHOWN]
    most = max((max(d.low, d.high) for d in shown if max(d.low, d.high) < float("inf")), default=1)
    centre = s.services[s.driven]["megawatts"].value
    bars = []
    for place, d in enumerate(shown):
        ends = [min(x / most, 1.0) * 500 for x in sorted((d.low, d.high))]
        y = 22 * place
        bars.append(
            f'<text x="250" y="{y + 15}" text-anchor="end">{html.escape(d.constant)}</text>'
            f'<rect x="{260 + ends[0]:.1f}" y="{y + 3}" width="{ends[1] - ends[0]:.1f}" height="15"'
            ' fill="#46a"/>'
        )
    height, x = 22 * len(shown), 260 + min(centre / most, 1.0) * 500
    line = f'<line x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{height}" stroke="#000"/>'
    return (
        f'<svg width="780" height="{height}" font-size="13" role="img" '
        f'aria-label="drivers">{"".join(bars)}{line}</svg>'
    )


def _plain(each: dict[str, Interval]) -> dict[str, Any]:
    return {name: asdict(i) for name, i in each.items()}


def _epoch_megawatts(s: Study) -> float:
    """Of all queries, each of the watt-hours that Epoch AI has for one."""
    return float(epoch_query(values(s.constants))) * s.queries / 24 / 1e6


def _runs(s: Study) -> list[str]:
    return list(next(iter(s.training.values())))


def _n(number: float) -> str:
    """Three digits, with a prefix where there are many."""
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")):
        if size <= abs(number) < float("inf"):
            return f"{number / (1e3 if letter == 'k' else size):.3g} {letter}"
    return f"{number:.0f}" if 100 <= abs(number) < 1e4 else f"{number:.3g}"


def _i(i: Interval, by: float = 1.0) -> str:
    return f"{_n(i.value * by)} [{_n(i.low * by)}, {_n(i.high * by)}]"
