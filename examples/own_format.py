"""A format of one's own: 7 bits, four of them fraction, blocks of 8."""

import numpy as np

import pal_units as pal

mine = pal.Format("PAL7T", n=7, profile="T", fraction_bits=4, block=8)
x = np.random.default_rng(0).laplace(size=(64, 256))
for fmt in (pal.PAL6T, mine, pal.PAL8T):
    error = pal.encode(x, fmt).decode() - x
    print(
        f"{fmt.name}: {10 * np.log10((x**2).sum() / (error**2).sum()):.1f} dB, "
        f"{pal.finfo(fmt).range_octaves:g} octaves"
    )
