"""A matrix product exactly as the hardware's dot units sum it."""

import numpy as np

import pal_units as pal

rng = np.random.default_rng(0)
x, w = rng.standard_normal((8, 256)), rng.standard_normal((256, 16))
a, b = pal.encode(x, "PAL8T"), pal.encode(w, "PAL8T", axis=0)
accumulators, nan = pal.accumulate(a, b)
print(f"accumulators {accumulators.dtype} {accumulators.shape}, NaN in none: {not nan.any()}")
error = a @ b - x @ w
print(f"{10 * np.log10(((x @ w) ** 2).sum() / (error**2).sum()):.1f} dB against float64")
