"""Programs as they were: assembly of small ones, digests of large ones.

``make bless`` writes them anew, after a change that is meant to change programs.
"""

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from compiler.ir.dataflow import from_json
from compiler.map.loop.mapper import grid_architecture, map_dataflow, map_kernel
from compiler.map.product.gemm import gemm
from compiler.map.product.reblock import reblocking
from compiler.text.assembly import assembly
from pal_units.formats import PAL8T
from spu.arch import bitstream
from spu.arch.bitstream import Image
from spu.arch.params import CONFIGS
from verif.digits.data import MODEL
from verif.stimulus import dataflows
from verif.stimulus.chains import pipeline

DIRECTORY = Path(__file__).parent / "snapshots"
DIGESTS = DIRECTORY / "digests.json"


def _product() -> Image:
    weight = np.random.default_rng(0).normal(size=(64, 24))
    image = gemm(CONFIGS["basic"], weight, 4).image
    assert image is not None
    return image


def _decoded(content: bytes, arch: str) -> Image:
    return bitstream.decode(content, CONFIGS[arch]).image


#: Programs that are kept as text, and as the digest of their file.
TEXTS: dict[str, Callable[[], Image]] = {
    "saxpy_tiny": lambda: _decoded(
        map_kernel(from_json(dataflows.saxpy()), CONFIGS["tiny"]).content, "tiny"
    ),
    "functions_basic": lambda: _decoded(
        map_kernel(from_json(dataflows.functions()), CONFIGS["basic"]).content, "basic"
    ),
    "reblock_basic": lambda: reblocking(CONFIGS["basic"], PAL8T).image,
}
FILES: dict[str, Callable[[], bytes]] = {
    "digits_basic": lambda: pipeline(MODEL, CONFIGS["basic"]).content,
    "product_basic": lambda: bitstream.encode(_product()),
    "fir12_4x4": lambda: (
        map_dataflow(from_json(dataflows.fir(12)), grid_architecture(4, 4, "all")).content
    ),
}


def text(name: str) -> str:
    """Assembly of a program."""
    return "\n".join(assembly(TEXTS[name]())) + "\n"


def digest(content: bytes) -> str:
    """SHA-256 of a program file."""
    return hashlib.sha256(content).hexdigest()


def kept(name: str) -> str:
    """What was blessed last: text or digest."""
    if name in TEXTS:
        return (DIRECTORY / f"{name}.txt").read_text()
    return str(json.loads(DIGESTS.read_text())[name])


def bless() -> None:
    """Write all of them; says which changed."""
    DIRECTORY.mkdir(exist_ok=True)
    for name in TEXTS:
        path, new = DIRECTORY / f"{name}.txt", text(name)
        if not path.exists() or path.read_text() != new:
            print(f"{path} changed")
            path.write_text(new)
    old = json.loads(DIGESTS.read_text()) if DIGESTS.exists() else {}
    new_digests = {name: digest(make()) for name, make in FILES.items()}
    for name in sorted(name for name in FILES if old.get(name) != new_digests[name]):
        print(f"{name} changed")
    DIGESTS.write_text(json.dumps(new_digests, indent=1) + "\n")


if __name__ == "__main__":
    if sys.argv[1:] != ["--bless"]:
        sys.exit("python -m verif.snapshots --bless")
    bless()
