"""Encode numbers in every format, and see what each costs in accuracy."""

import numpy as np

import pal_units as pal

x = np.random.default_rng(0).standard_normal((64, 256))
for fmt in pal.FORMATS.values():
    error = pal.encode(x, fmt).decode() - x
    sqnr = 10 * np.log10((x**2).sum() / (error**2).sum())
    print(f"{fmt.name}: {pal.finfo(fmt).bits_per_element} bits an element, {sqnr:.1f} dB")
