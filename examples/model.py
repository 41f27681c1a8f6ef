"""Compile an ONNX model for an array, keep it, and run it on the golden model."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from compiler.driver import compile_file
from spu.arch.package.store import load, save
from spu.arch.params import CONFIGS
from spu.engine.array import GoldenEngine
from spu.engine.run import run

MODEL = Path(__file__).parents[1] / "verif" / "digits" / "digits.onnx"
compiled = compile_file(MODEL, CONFIGS["tiny"])
with TemporaryDirectory() as folder:
    save(compiled.package, Path(folder))
    package = load(Path(folder))  # the compiler is not needed from here on
x = np.random.default_rng(0).uniform(0, 1, (4, 64))
engine = GoldenEngine(package.arch)
logits = run(package, engine, {"image": x})["logits"]
error = logits - compiled.network.forward(x)
print(f"{logits.shape[0]} vectors in {engine.cycles} cycles, "
      f"{10 * np.log10((logits**2).sum() / (error**2).sum()):.0f} dB against float")
