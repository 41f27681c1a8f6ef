"""Two hundred loop bodies by seed, as those of public suites: ``make mapping`` maps them all.

Address arithmetic and loads, a tree or a chain of arithmetic, selects by comparisons, running
sums and recurrences of up to eight iterations, stores, constants as nodes, words with many takers.
"""

import numpy as np

from verif.stimulus.dataflows import Body

#: Graphs of the published list, and operations of the smallest and the largest.
COUNT, LEAST, MOST = 200, 3, 120
_BINARY = ("add", "sub", "mul", "and", "or", "xor", "min", "max")


def loop(seed: int) -> dict:
    """A loop body; the same seed gives the same one."""
    rng = np.random.default_rng([2026, seed])
    wanted = int(LEAST * (MOST / LEAST) ** (seed % COUNT / (COUNT - 1)))
    body = Body(f"loop{seed}-{wanted}")
    words = [body.op("phi")]
    if wanted > 4:
        step = body.op("add", words[0], body.op("const"))
        body.edge((step, 1), words[0], 0)
    while _size(body) < wanted - 1:
        words.append(_more(body, words, rng))
    body.op("store" if rng.random() < 0.7 else "out", words[-1])
    if wanted > 12 and rng.random() < 0.3:
        body.op("store", body.op("const"))
    return body.json()


def _size(body: Body) -> int:
    return sum(node["op"] != "const" for node in body.nodes)


def _more(body: Body, words: list[int], rng: np.random.Generator) -> int:
    """One more word of a body: of an operation that such loops have."""

    def word() -> int:
        """Mostly a word made lately; sometimes an early one, which has many takers then."""
        back = 1 + int(rng.geometric(0.25)) if rng.random() < 0.85 else len(words)
        return words[max(0, len(words) - back)]

    kind = rng.random()
    if kind < 0.22:
        return body.op("load", body.op("add", word(), body.op("const")))
    if kind < 0.30:
        chosen = body.op("select", word(), word())
        body.edge(body.op("cmp", word(), body.op("const")), chosen, 2)
        return chosen
    if kind < 0.40:  # a running sum, or a recurrence of several operations
        first = word()
        phi = body.op("phi")
        last = body.op("add", phi, first)
        for _ in range(int(rng.integers(0, 4))):
            last = body.op(str(rng.choice(_BINARY)), last, body.op("const"))
        body.edge((last, int(rng.integers(1, 9))), phi, 0)
        return last
    if kind < 0.45:
        return body.op("store", word(), word())
    if kind < 0.65:
        return body.op(
            str(rng.choice(("shl", "shr", "mul", "and", "add"))), word(), body.op("const")
        )
    return body.op(str(rng.choice(_BINARY)), word(), word())


#: The published list.
LOOPS = tuple(loop(seed) for seed in range(COUNT))
