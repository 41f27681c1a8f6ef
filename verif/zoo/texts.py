"""Text as numbers: files of this repository, sentences, names."""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from verif.zoo.files import file_of

ROOT = Path(__file__).parents[2]
#: Files of this repository, of many kinds; of a pattern the first ones in order.
FILES = (
    *("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "CITATION.cff", "Makefile"),
    *("pyproject.toml", "mkdocs.yml", "requirements.lock", "docs/accuracy.json", "docs/area.json"),
    *("compiler/*.py", "compiler/front/*.py", "spu/engine/*.py", "verif/zoo/*.py", "docs/*.md"),
    *("verif/digits/*.onnx", "docs/figures/*.svg", "docs/figures/*.png", "verif/site/*.js"),
    *("verif/site/*.css", "docs/*.schema.json", "examples/*"),
)
#: Bytes of each end that magika looks at.
BLOCK = 4096
#: Of each pattern.
MOST = 5
SENTENCES = (
    "A tile computes one word in every cycle once its pipeline is full.",
    "The baker opens at six and sells out of rye bread before nine.",
    "Rain is expected in the north, with strong winds along the coast.",
    "She asked whether the train to the mountains still ran on Sundays.",
    "Logarithms turn products into sums, which are cheaper to build.",
    "Our team lost by a single point in the last minute of the game.",
    "Please water the plants twice a week while we are away.",
    "The old library keeps maps of harbours drawn by hand.",
    "Two of the three samples were above the limit of detection.",
    "He wrote the whole letter without lifting the pen.",
)
NAMES = (
    "محمد",
    "فاطمة",
    "خالد",
    "يوسف",
    "مريم",
    "احمد",
    "سارة",
    "حسن",
    "ليلى",
    "عمر",
    "زينب",
    "علي",
)


def repository_files() -> list[bytes]:
    """Contents of files of this repository."""
    found = [p for pattern in FILES for p in sorted(ROOT.glob(pattern))[:MOST] if p.is_file()]
    return [path.read_bytes() for path in found]


def ends(content: bytes, size: int = 1024, blank: int = 256) -> NDArray[np.int32]:
    """First and last bytes of a file (1, 2 * size), without white space around it, filled up
    with ``blank``: as magika takes them."""
    content = content.strip() if len(content) <= BLOCK else content
    head, tail = content[:BLOCK].lstrip()[:size], content[-BLOCK:].rstrip()[-size:]
    codes = np.full(2 * size, blank, np.int32)
    codes[: len(head)] = np.frombuffer(head, np.uint8)
    codes[2 * size - len(tail) :] = np.frombuffer(tail, np.uint8)
    return codes[None]


def names(package: str, vocabulary: str, length: int) -> list[NDArray[np.int64]]:
    """Characters of names as numbers (1, length) in a vocabulary of characters; 3 is unknown, 2
    the end, 0 what is empty."""
    tokens = json.loads(file_of(package, vocabulary).read_text(encoding="utf-8"))["tokens"]
    found = []
    for name in NAMES:
        codes = [tokens.index("<UNK_COUNTRY>")]
        codes += [tokens.index(c) if c in tokens else 3 for c in name]
        codes = [*codes, 2][:length]
        found.append(np.array([codes + [0] * (length - len(codes))], np.int64))
    return found
