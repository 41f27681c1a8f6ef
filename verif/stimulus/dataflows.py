"""Loop bodies to map, as neutral dataflow graphs: kernels unrolled to any size, and random ones.

Each returns what ``compiler.ir.dataflow.from_json`` takes.
"""

import json
from pathlib import Path

import numpy as np


class Body:
    """A loop body in the making."""

    def __init__(self, name: str) -> None:
        self.name, self.nodes, self.edges = name, list[dict](), list[dict]()

    def op(self, name: str, *operands: "int | tuple[int, int]") -> int:
        """Add an operation; an operand is a node, or a node and a distance."""
        number = len(self.nodes)
        self.nodes.append({"id": number, "op": name})
        for i, operand in enumerate(operands):
            self.edge(operand, number, i)
        return number

    def edge(self, operand: "int | tuple[int, int]", dst: int, place: int) -> None:
        src, distance = operand if isinstance(operand, tuple) else (operand, 0)
        self.edges.append(
            {"src": src, "dst": dst, "operand": place, "distance": distance, "kind": "data"}
        )

    def const(self, **value: float) -> int:
        """A constant with a value: ``pal`` or ``int``."""
        number = self.op("const")
        self.nodes[number] |= value
        return number

    def counter(self) -> int:
        """An induction variable: phi, increment."""
        phi = self.op("phi")
        self.edge((self.op("add", phi, self.op("const")), 1), phi, 0)
        return phi

    def rows(self, i: int, count: int, width: int) -> list[list[int]]:
        """Words of neighbouring rows, at constant offsets from an induction variable."""
        return [
            [self.op("load", self.op("add", i, self.op("const"))) for _ in range(width)]
            for _ in range(count)
        ]

    def outs(self, words: list[int]) -> None:
        """Words that leave."""
        for word in words:
            self.op("out", word)

    def total(self, terms: list[int]) -> int:
        """A balanced sum."""
        while len(terms) > 1:
            terms = [
                self.op("add", *terms[i : i + 2]) if i + 1 < len(terms) else terms[i]
                for i in range(0, len(terms), 2)
            ]
        return terms[0]

    def json(self) -> dict:
        return {"name": self.name, "nodes": self.nodes, "edges": self.edges}


def fir(taps: int) -> dict:
    """A filter: ``y[i] = sum(c[k] * x[i - k])``; ``3 * taps`` operations or so."""
    body = Body(f"fir{taps}")
    x = body.op("load", body.counter())
    terms = [body.op("mul", (x, k), body.op("const")) for k in range(taps)]
    body.op("store", body.total(terms), body.counter())
    return body.json()


def product(size: int) -> dict:
    """A tile of a matrix product: ``size x size`` running sums."""
    body = Body(f"product{size}")
    rows = [body.op("load", body.counter()) for _ in range(size)]
    cols = [body.op("load", body.counter()) for _ in range(size)]
    for a in rows:
        for b in cols:
            acc = body.op("phi")
            body.edge((body.op("add", acc, body.op("mul", a, b)), 1), acc, 0)
    return body.json()


def butterflies(size: int) -> dict:
    """A fast transform of ``size`` (a power of two) streams: ``size log2(size)`` butterflies."""
    body = Body(f"butterflies{size}")
    words = [body.op("in") for _ in range(size)]
    span = 1
    while span < size:
        for i in range(size):
            if not i & span:
                turned = body.op("mul", words[i + span], body.op("const"))
                words[i], words[i + span] = (
                    body.op("add", words[i], turned),
                    body.op("sub", words[i], turned),
                )
        span *= 2
    body.outs(words)
    return body.json()


def stencil(width: int) -> dict:
    """``width`` neighbouring points of a five-point stencil, with a running maximum."""
    body = Body(f"stencil{width}")
    i = body.counter()
    rows = body.rows(i, 3, width + 2)
    for x in range(1, width + 1):
        around = body.total([rows[0][x], rows[2][x], rows[1][x - 1], rows[1][x + 1]])
        new = body.op("sub", body.op("shr", around, body.op("const")), rows[1][x])
        body.op("store", new, i)
        best = body.op("select", new)
        body.edge((best, 1), best, 1)
        body.edge(body.op("cmp", new, (best, 1)), best, 2)
    return body.json()


def convolution(width: int) -> dict:
    """``width`` neighbouring points of a 3 x 3 convolution, as one sum of products each."""
    body = Body(f"convolution{width}")
    i = body.counter()
    rows = body.rows(i, 3, width + 2)
    for x in range(width):
        body.op(
            "store",
            body.total(
                [body.op("mul", row[x + k], body.op("const")) for row in rows for k in range(3)]
            ),
            i,
        )
    return body.json()


def sort(size: int) -> dict:
    """A bitonic sorter of ``size`` (a power of two) streams (Batcher, 1968)."""
    body = Body(f"sort{size}")
    words, block = [body.op("in") for _ in range(size)], 2
    while block <= size:
        span = block // 2
        while span:
            for i in range(size):
                j = i ^ span
                if i < j:
                    pair = [body.op(op, words[i], words[j]) for op in ("min", "max")]
                    words[i], words[j] = pair if not i & block else pair[::-1]
            span //= 2
        block *= 2
    body.outs(words)
    return body.json()


def scan(size: int) -> dict:
    """Running sums of ``size`` words at once, onto those before (Hillis and Steele, 1986)."""
    body = Body(f"scan{size}")
    words, span = [body.op("in") for _ in range(size)], 1
    while span < size:
        words = [
            body.op("add", words[i], words[i - span]) if i >= span else words[i]
            for i in range(size)
        ]
        span *= 2
    carry = body.op("phi")
    sums = [body.op("add", word, carry) for word in words]
    body.edge((sums[-1], 1), carry, 0)
    body.outs(sums)
    return body.json()


def matvec(rows: int, cols: int) -> dict:
    """A tile of a product of a stored matrix and a vector, onto running sums."""
    body = Body(f"matvec{rows}x{cols}")
    x = [body.op("load", body.counter()) for _ in range(cols)]
    for _ in range(rows):
        acc = body.op("phi")
        dot = body.total([body.op("mul", word, body.op("const")) for word in x])
        body.edge((body.op("add", acc, dot), 1), acc, 0)
    return body.json()


def solve(size: int) -> dict:
    """Forward substitution in a triangular system of ``size`` unknowns."""
    body = Body(f"solve{size}")
    x: list[int] = []
    for _ in range(size):
        rest = body.op("in")
        for known in x:
            rest = body.op("sub", rest, body.op("mul", known, body.op("const")))
        x.append(body.op("mul", rest, body.op("const")))
    body.outs(x)
    return body.json()


def biquads(count: int) -> dict:
    """A cascade of second-order filters, direct form II transposed: a recurrence in each."""
    body = Body(f"biquads{count}")
    x = body.op("in")
    for _ in range(count):
        scaled = [body.op("mul", x, body.op("const")) for _ in range(3)]
        y = body.op("add", scaled[0])
        back = [body.op("mul", y, body.op("const")) for _ in range(2)]
        second = body.op("sub", scaled[2], back[1])
        first = body.op("sub", body.op("add", scaled[1], (second, 1)), back[0])
        body.edge((first, 1), y, 1)
        x = y
    body.op("out", x)
    return body.json()


def random_body(seed: int, operations: int) -> dict:
    """Random operations of up to three words, some of them from iterations before."""
    rng = np.random.default_rng(seed)
    body = Body(f"random{seed}-{operations}")
    body.op("in")
    names = ("add", "sub", "mul", "xor", "load", "store")
    for _ in range(operations - 1):
        recent = len(body.nodes)
        count = int(rng.integers(1, 3)) if rng.random() < 0.9 else 3
        chosen = [max(0, recent - 1 - int(rng.geometric(0.15))) for _ in range(count)]
        body.op(str(rng.choice(names)) if count < 3 else "select", *chosen)
    for _ in range(operations // 8):
        dst = int(rng.integers(1, operations))
        taken = [e for e in body.edges if e["dst"] == dst]
        if len(taken) < 3:
            src = min(operations - 1, dst + int(rng.integers(0, 6)))
            body.edge((src, int(rng.integers(1, 3))), dst, len(taken))
    return body.json()


def polynomial(coefficients: "tuple[float, ...]") -> dict:
    """A kernel: a polynomial of each lane by Horner's rule, fused multiply-adds."""
    body = Body(f"polynomial{len(coefficients) - 1}")
    x = body.op("in")
    total = body.op("pass", body.const(pal=coefficients[0]))
    for c in coefficients[1:]:
        total = body.op("fma", total, x, body.const(pal=c))
    body.op("out", total)
    return body.json()


def normalise() -> dict:
    """A kernel: each word divided by the root of the sum of its squares, negative lanes cut."""
    body = Body("normalise")
    x = body.op("in")
    total = body.op("lane_sum", body.op("mul", x, x))
    body.op("out", body.op("relu", body.op("mul", x, body.op("rsqrt", total))))
    return body.json()


def softplus() -> dict:
    """A kernel: ``log2(1 + 2^x)`` and the greatest of all words so far, lane by lane."""
    body = Body("softplus")
    y = body.op("log2", body.op("add", body.op("exp2", body.op("in")), body.const(pal=1.0)))
    best = body.op("max", y)
    before = body.op("merge")
    body.edge((best, 1), before, 0)
    body.edge(body.const(pal=-1.0), before, 1)
    body.edge(before, best, 1)
    body.op("out", y)
    body.op("out", best)
    return body.json()


def hash_words() -> dict:
    """A kernel of integers: a running hash, emitted when its low bits are all 0 or all 1."""
    body = Body("hash")
    word = body.op("in")
    state = body.op("merge")
    mixed = body.op("int_xor", word, body.op("int_shl", state, body.const(int=5)))
    mixed = body.op("int_add", mixed, body.op("int_shr", state, body.const(int=7)))
    body.edge((mixed, 1), state, 0)
    body.edge(body.const(int=0x9E3779B9), state, 1)
    low = body.op("int_and", mixed, body.const(int=1))
    odd = body.op("int_eq", low, body.const(int=1))
    body.op("out", body.op("when", mixed, odd))
    body.op("out", body.op("int_select", mixed, word, odd))
    return body.json()


def saxpy() -> dict:
    """A kernel: ``a x + y`` of two streams, and the lesser of both by select."""
    body = Body("saxpy")
    x, y = body.op("in"), body.op("in")
    total = body.op("fma", x, body.const(pal=0.7), y)
    body.op("out", total)
    body.op("out", body.op("select", x, y, body.op("lt", x, y)))
    return body.json()


def functions() -> dict:
    """A kernel with more vector modes than a tile has, of words up to 256."""
    body = Body("functions")
    x = body.op("in")
    size = body.op("abs", body.op("mul", x, body.const(pal=2.5)))
    total = body.total([body.op(op, size) for op in ("sqrt", "exp2", "log2")])
    body.op("out", body.op("div", total, x))
    return body.json() | {"bias": 64}


#: Kernels that run with values.
KERNELS = (
    polynomial((0.25, -0.5, 0.75, 0.1)),
    normalise(),
    softplus(),
    hash_words(),
    saxpy(),
    functions(),
)
#: Between 13 and 72 operations: `make mapping`.
SMALL = (
    fir(4),
    fir(12),
    product(2),
    product(4),
    butterflies(4),
    butterflies(8),
    stencil(2),
    stencil(4),
    *(random_body(seed, 20 + 8 * seed) for seed in range(6)),
)
#: Between 77 and 504 operations.
LARGE = (
    fir(36),
    fir(80),
    fir(160),
    product(6),
    product(9),
    product(12),
    butterflies(16),
    butterflies(32),
    stencil(8),
    stencil(16),
    stencil(24),
    convolution(5),
    convolution(12),
    convolution(20),
    sort(16),
    scan(16),
    scan(32),
    scan(48),
    matvec(6, 10),
    matvec(10, 14),
    matvec(16, 12),
    solve(10),
    solve(14),
    biquads(12),
    biquads(15),
    *(random_body(100 + seed, 100 + 40 * seed) for seed in range(9)),
)


def write(directory: Path) -> None:
    """All graphs as JSON files, for ``spu map``."""
    directory.mkdir(parents=True, exist_ok=True)
    for graph in (*SMALL, *LARGE, *KERNELS):
        (directory / f"{graph['name']}.json").write_text(json.dumps(graph, indent=1) + "\n")


if __name__ == "__main__":
    write(Path("build/dataflows"))
