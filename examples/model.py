"""Compile an ONNX model for an array, keep it, and run it on the golden model."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from onnx.reference import ReferenceEvaluator

import palspu

MODEL = Path(__file__).parents[1] / "verif" / "digits" / "digits.onnx"
with TemporaryDirectory() as folder:
    palspu.save_package(palspu.compile(MODEL, "tiny"), Path(folder))
    package = palspu.load_package(Path(folder))  # the compiler is not needed from here on
x = np.random.default_rng(0).uniform(0, 1, (4, 64))
engine = palspu.GoldenEngine(package.arch)
logits = palspu.run(package, x, engine)["logits"]
[wanted] = ReferenceEvaluator(str(MODEL)).run(None, {"image": x.astype(np.float32)})
error = logits - wanted
print(
    f"{logits.shape[0]} vectors in {engine.cycles} cycles, "
    f"{10 * np.log10((logits**2).sum() / (error**2).sum()):.0f} dB against float"
)
