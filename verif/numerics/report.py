"""Tables of the study's results: for the terminal and for ``docs/accuracy.md``."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from verif.numerics.study import DISTRIBUTIONS, LENGTHS
from verif.stamps import ACCURACY

Row = list[str]


def _names(results: dict) -> list[str]:
    """Formats by bits an element, widest first, as the study has them."""
    bits = {row["format"]: row["bits_per_element"] for row in results["rows"]}
    return sorted(bits, key=lambda name: -round(bits[name] // 2))


def _value(results: dict, key: str, column: str, **where: object) -> str:
    for row in results[key]:
        if all(row[k] == v for k, v in where.items()):
            return f"{row[column]:.2f}"
    return "-"


def tables(results: dict) -> Iterator[tuple[str, list[Row]]]:
    """Title and rows, the first one the headings, of each table."""
    names = _names(results)
    bits = {row["format"]: f"{row['bits_per_element']:g}" for row in results["rows"]}
    for title, column in (("SQNR of values, dB", "sqnr_db"),
                          (f"SQNR of dot products of length {results['sizes']['length']}, dB",
                           "dot_sqnr_db")):
        yield title, [["format", "bits", *DISTRIBUTIONS], *(
            [name, bits[name], *(_value(results, "rows", column, format=name, distribution=d)
                                 for d in DISTRIBUTIONS)] for name in names)]
    yield "SQNR of dot products of Gaussian data by length, dB", [
        ["format", *map(str, LENGTHS)], *(
            [name, *(_value(results, "length_rows", "dot_sqnr_db", format=name, length=n)
                     for n in LENGTHS)] for name in names)]
    if results["network_rows"]:
        rows = {row["format"]: row for row in results["network_rows"]}
        yield f"{results['network_rows'][0]['model']}: embeddings against float32", [
            ["format", "bits", "SQNR, dB", "least cosine"], *(
                [name, bits[name], f"{rows[name]['embedding_sqnr_db']:.2f}",
                 f"{rows[name]['cosine_min']:.5f}"] for name in names)]


def markdown(results: dict) -> str:
    """All tables as Markdown."""
    parts = []
    for title, rows in tables(results):
        lines = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
        parts.append(f"**{title}**\n\n" + "\n".join("| " + " | ".join(r) + " |" for r in lines))
    return "\n\n".join(parts) + "\n"




def text(results: dict) -> str:
    """The whole of ``docs/accuracy.md``."""
    return f"""# Accuracy

Written by `make docs` from the results of `make numerics`; do not edit.
numpy {results["versions"]["numpy"]}, {results["sizes"]["values"]} values a distribution.

SQNR is `10 log10(sum x^2 / sum (x - rounded x)^2)`. Every format sees the same data. Outliers are
standard normal with one value in a hundred times 30; the network is the sentence encoder
all-MiniLM-L6-v2 with weights and inputs of its 36 linear layers rounded, everything else float32,
on 32 sentences. PAL dot products are those of the hardware (rounded products, block biases, 32-bit
accumulator); peers get exact sums of their rounded values. Definitions and sources of the peers:
`verif/baselines/`. `/16` is a block of 16, otherwise PAL has blocks of 32.

What to read from it:

* PAL8T is the most accurate 8-bit format with blocks of 32 and an 8-bit scale, on every
  distribution. INT8 with a float16 scale (8.5 bits) is better on Gaussian and Laplace values, worse
  on heavier tails, on outliers and on the network.
* PAL8U pays some 5 dB against PAL8T for its simpler decoder, and stays about 6 dB above every 8-bit
  float. Its block biases are whole octaves.
* PAL6T is above E2M3 on all values, in dot products and on the network, rounded products included.
  PAL6U is below it but for outliers.
* At 4.5 bits all are within 1.3 dB of each other on Gaussian values. PAL4T gains on tails and
  outliers; PAL4U does not, and NVFP4 is better there.

![SQNR of values](figures/sqnr.svg)
![SQNR of dot products by length](figures/dot_length.svg)
![Sentence embeddings](figures/minilm.svg)

{markdown(results)}"""


def main() -> None:
    """Write the page and its figures from ``build/numerics.json``."""
    results = json.loads(Path("build/numerics.json").read_text())
    ACCURACY.write(text(results), results["sources"])
    figures = ACCURACY.path.parent / "figures"
    figures.mkdir(exist_ok=True)
    for name in ("sqnr", "dot_length", "minilm"):
        shutil.copy(Path("build/numerics") / f"{name}.svg", figures)


if __name__ == "__main__":
    main()
