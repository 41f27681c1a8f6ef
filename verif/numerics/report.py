"""Tables of the study's results: for the terminal, for ``docs/accuracy.md`` and the README."""

import json
import shutil
from collections.abc import Iterator
from math import inf
from pathlib import Path

from verif.numerics import claims, real
from verif.numerics.distributions import DISTRIBUTIONS
from verif.numerics.study import COMMAND, LENGTHS
from verif.pages import stamps
from verif.pages.readme import fill, markdown_table, wrapped
from verif.pages.stamps import ACCURACY

Row = list[str]


def _names(results: dict) -> list[str]:
    """Formats by bits an element, widest first, as the study has them."""
    bits = claims.bits(results)
    return sorted(bits, key=lambda name: -round(bits[name] // 2))


def _value(value: float) -> str:
    return "exact" if value == inf else f"{value:.2f}"


def _difference(value: float) -> str:
    return "exact" if value == inf else "peer exact" if value == -inf else f"{value:+.1f}"


def tables(results: dict) -> Iterator[tuple[str, list[Row]]]:
    """Title and rows, the first one the headings, of each table."""
    names, bits = _names(results), claims.bits(results)
    values = claims.levels(results)
    mine = claims.added(results)
    for name in (*(h for h in claims.HEADLINES if h in bits), *mine):
        among = claims.peers(results, name)
        if not among:
            continue
        yield (
            f"{name} above each {'format' if name in mine else 'peer'} of as many bits, "
            "SQNR of values, dB",
            [
                ["peer", "bits", *DISTRIBUTIONS],
                *(
                    [
                        peer,
                        f"{bits[peer]:g}",
                        *(
                            _difference(claims.difference(values[name, d], values[peer, d]))
                            for d in DISTRIBUTIONS
                        ),
                    ]
                    for peer in among
                ),
            ],
        )
    for title, column in (
        ("SQNR of values", "sqnr_db"),
        (f"SQNR of dot products of length {results['sizes']['length']}", "dot_sqnr_db"),
    ):
        for rotated in (False, True):
            table = claims.levels(results, column, rotated)
            yield (
                f"{title}{', rotated' * rotated}, dB",
                [
                    ["format", "bits", *DISTRIBUTIONS],
                    *(
                        [name, f"{bits[name]:g}", *(_value(table[name, d]) for d in DISTRIBUTIONS)]
                        for name in names
                    ),
                ],
            )
    lengths = {
        (r["format"], r["length"]): inf if r["dot_sqnr_db"] is None else r["dot_sqnr_db"]
        for r in results["length_rows"]
    }
    yield (
        "SQNR of dot products of Gaussian data by length, dB",
        [
            ["format", *map(str, LENGTHS)],
            *([name, *(_value(lengths[name, n]) for n in LENGTHS)] for name in names),
        ],
    )
    if len(real.table(results)) > 1:
        title = "Real tensors: on how many PAL is above every peer of as many bits"
        yield title, real.table(results)
    if results["network_rows"]:
        rows = {row["format"]: row for row in results["network_rows"]}
        embeddings = claims.embeddings(results)
        yield (
            f"{results['network_rows'][0]['model']}: embeddings against float32",
            [
                ["format", "bits", "SQNR, dB", "least cosine"],
                *(
                    [
                        name,
                        f"{bits[name]:g}",
                        _value(embeddings[name]),
                        f"{rows[name]['cosine_min']:.5f}",
                    ]
                    for name in names
                    if name in rows
                ),
            ],
        )


def markdown(results: dict) -> str:
    """All tables as Markdown."""
    return (
        "\n\n".join(f"**{title}**\n\n{markdown_table(rows)}" for title, rows in tables(results))
        + "\n"
    )


#: The results that the page was written from.
BASELINE = ACCURACY.path.with_name("accuracy.json")


def _bullets(sentences: Iterator[str]) -> str:
    return "\n".join(wrapped(sentence, "* ") for sentence in sentences)


def _losses(results: dict) -> Iterator[str]:
    yield from claims.losses(results)
    yield claims.scale_share(results)
    yield claims.elements(results)


def readme(results: dict) -> str:
    """The part of the README that is about accuracy: PAL and the best of its peers."""
    bits, values = claims.bits(results), claims.levels(results)
    count = len(DISTRIBUTIONS)

    def best(among: list[str]) -> str:
        peer = claims.best_peer(values, among, "gaussian")
        return f"{claims.decibels(values[peer, 'gaussian'])} ({peer})"

    rows = [
        [
            "",
            "bits in all",
            "Gaussian values, dB",
            "best peer with its own scale",
            "above all of these on",
            "best peer under any scale",
            "above all of these on",
        ]
    ]
    for name in claims.HEADLINES:
        own, everyone = claims.own_scales(results, name), claims.peers(results, name)
        rows.append(
            [
                name,
                f"{bits[name]:g}",
                claims.decibels(values[name, "gaussian"]),
                best(own),
                f"{len(claims.leads(values, name, own))} of {count}",
                best(everyone),
                f"{len(claims.leads(values, name, everyone))} of {count}",
            ]
        )
    return markdown_table(rows)


def text(results: dict) -> str:
    """The whole of ``docs/accuracy.md``."""
    tensors = real.data(results)
    tensors = f"{wrapped(tensors, '* ')}\n" if tensors else ""
    return f"""# Accuracy

Written by `make docs` from the results of `make numerics`; do not edit.
numpy {results["versions"]["numpy"]}, {results["sizes"]["values"]} values a distribution.

SQNR is `10 log10(sum x^2 / sum (x - rounded x)^2)`. Every format sees the same data. PAL dot
products are those of the hardware (rounded products, block biases, 32-bit accumulator); peers get
exact sums of their rounded values. `bits` are those of an element with its share of what a block
stores. `exact`: nothing is lost.

* **Data**: outliers are standard normal with one value in a hundred times 30; bimodal is -1 or 1
  plus a tenth of a normal; sparse is normal with nine of ten values 0; softmax is of normal scores
  of deviation 3 along 1024; integers are uniform from -127 to 127; ternary is -1, 0, 1 times a
  number from 1 to 2 for each row of 1024. The network is the sentence encoder all-MiniLM-L6-v2 with
  weights and inputs of its 36 linear layers rounded, everything else float32, on 32 sentences.
{tensors}\
* **PAL**: blocks of 32, of 16 in PAL4A and where the name says `/16`. PAL8A, PAL6A and PAL4A choose
  among codebooks by block, which were fitted to gaussian, laplace, outliers and uniform data of
  another seed; all other distributions and all tensors are new to them
  ([what was tried](decisions/adaptive.md)). Block biases are in steps of 1/8 octave;
  in whole octaves for PAL8U, as the format has them, and for PAL8T-oct, which has PAL8T's codes.
* **Peers**: definitions and sources in `verif/baselines/`. `/8th` is an element under PAL's own
  block bias in 1/8 octave, searched for the least squared error, and `E2M3|INT6` the better of two
  for each block, which costs a bit of the byte; INT8/64 has a float16 scale for
  64. LO-BCQ's codebooks are fitted to the same data as PAL's. Where a definition leaves a choice,
  the docstring there says what was chosen.
* **Rotated**: a Hadamard rotation of 32 neighbours with random signs before rounding, PAL's rows
  too.

{wrapped(claims.classes())}

What holds:

{_bullets(claims.holds(results))}

## Where PAL loses

Differences in dB are the largest, at the place that is named first.

{(chr(10) * 2).join(wrapped(s) for s in _losses(results))}

## Figures and tables

![SQNR of values](figures/sqnr.svg)
![SQNR of dot products by length](figures/dot_length.svg)
![Sentence embeddings](figures/minilm.svg)

{markdown(results)}"""


def main() -> None:
    """Write the page, its figures, its data and the README's part from ``build/numerics.json``."""
    results = stamps.results(Path("build/numerics.json"), ACCURACY)
    if results is None:
        return
    if results["command"] != COMMAND:
        print(
            f"build/numerics.json is of `{results['command']}`, not of `{COMMAND}`; nothing written"
        )
        return
    kept = json.dumps(real.packed(results))
    results = real.unpacked(json.loads(kept))  # the page says what the data beside it say
    ACCURACY.write(text(results), results["sources"])
    BASELINE.write_text(kept + "\n")
    fill("accuracy", readme(results))
    figures = ACCURACY.path.parent / "figures"
    figures.mkdir(exist_ok=True)
    for name in ("sqnr", "dot_length", "minilm"):
        shutil.copy(Path("build/numerics") / f"{name}.svg", figures)


if __name__ == "__main__":
    main()
