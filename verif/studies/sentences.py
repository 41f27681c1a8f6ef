"""Sentence embeddings of all-MiniLM-L6-v2 as the array has them: ``make sentences``.

The exact prediction of the array, which tests hold to be the same bit for bit, embeds both
sentences of each of ``PAIRS``; float64 of the same model is the reference.  ``--engine N`` runs the
first N on the golden engine as well.
"""

from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from scipy.stats import spearmanr

from compiler.front.lower import lower
from compiler.map.steps import compile_program
from compiler.passes.samples import Samples
from spu.arch.package.compiled import Package
from spu.arch.package.inputs import checked
from spu.arch.package.values import visit_values
from spu.arch.params import CONFIGS
from spu.command.tables import markdown, show, table
from spu.engine.array import GoldenEngine
from spu.engine.run import run
from spu.model import exact
from spu.model.accuracy import decibels
from verif.numerics.minilm import SENTENCES
from verif.pages.stamps import SENTENCES as PAGE
from verif.stimulus.sentence_pairs import PAIRS
from verif.zoo.minilm import EMBEDDING, inputs, model

#: Sentences of ``SENTENCES`` that the compiler sees, none of which is measured.
SHOWN = 8
HEAD = (
    "sentences",
    "embeddings, dB",
    "the worst of them, dB",
    "pairs",
    "rank correlation of similarities with float64",
    "on the golden engine, dB",
    "differing from the prediction",
)

Rows = NDArray[np.float64]


def package() -> Package:
    """Of the model for a sentence of 32 tokens, calibrated.  Raises ``MissingPackage``."""
    shown = tuple(
        {n: x[i : i + 1] for n, x in inputs(SENTENCES[:SHOWN]).items()} for i in range(SHOWN)
    )
    return compile_program(lower(model(), "minilm"), CONFIGS["basic"], calibrate=Samples(shown))


def predicted(made: Package, sentence: str) -> Rows:
    """Embedding (384), by the exact prediction."""
    given = checked(made, inputs([sentence]))
    return np.asarray(exact.outputs(made, exact.run(made, given))[EMBEDDING][0])


def real(made: Package, sentence: str) -> Rows:
    """Embedding (384), in float64."""
    given = checked(made, inputs([sentence]))
    values = visit_values(made.meant, given, lambda *_: None)
    return np.asarray(values[made.program.outputs[EMBEDDING]].reshape(-1))


def similarities(embeddings: Rows) -> Rows:
    """Cosines of neighbours, (n) of (2 n, 384)."""
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    return np.asarray((unit[0::2] * unit[1::2]).sum(axis=1))


def main(
    engine: Annotated[int, typer.Option(min=0, help="Sentences on the golden engine.")] = 4,
    count: Annotated[int, typer.Option(min=2, max=len(PAIRS), help="Pairs.")] = len(PAIRS),
) -> None:
    """Embed the pairs; of all pairs and four runs the page is written."""
    sources = PAGE.sources()
    sentences = [sentence for pair in PAIRS[:count] for sentence in pair]
    with Console(stderr=True).status("compiling") as status:
        made, ours, float64 = package(), list[Rows](), list[Rows]()
        for number, sentence in enumerate(sentences):
            status.update(f"sentence {number + 1} of {len(sentences)}")
            ours.append(predicted(made, sentence))
            float64.append(real(made, sentence))
        golden = list[Rows]()
        for number, sentence in enumerate(sentences[:engine]):
            status.update(f"sentence {number + 1} of {engine} on the golden engine")
            golden.append(run(made, GoldenEngine(made.arch), inputs([sentence]))[EMBEDDING][0])
    wanted, got = np.array(float64), np.array(ours)
    correlation = spearmanr(similarities(wanted), similarities(got)).statistic
    row = [
        str(len(sentences)),
        f"{decibels(wanted, got):.2f}",
        f"{min(map(decibels, wanted, got)):.2f}",
        str(count),
        f"{correlation:.5f}",
        f"{decibels(wanted[:engine], np.array(golden)):.2f}" if engine else "-",
        f"{int((got[:engine] != np.array(golden)).sum())} of {got[:engine].size}"
        if engine
        else "-",
    ]
    show(table("all-MiniLM-L6-v2 on basic, PAL8T", HEAD, [row]))
    if (engine, count) == (4, len(PAIRS)):
        PAGE.write(markdown(HEAD, [row]), sources)
        show(f"wrote {PAGE.path}")


if __name__ == "__main__":
    typer.run(main)
