"""Handwritten digits: 1,797 real 8x8 images in a fixed split.

The data are the test set of the Optical Recognition of Handwritten Digits data set
(E. Alpaydin, C. Kaynak, UCI Machine Learning Repository, 1998) that scikit-learn ships.
"""

from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

#: The trained model.
MODEL = Path(__file__).with_name("digits.onnx")
#: Images held out for testing: every fifth, 360 in all.
HELD_OUT_EVERY = 5
#: Largest grey level; images are scaled to 0..1.
GREY_MAX = 16.0


@cache
def split() -> tuple[
    NDArray[np.float32], NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]
]:
    """Training images ``(1437, 64)`` and labels, held-out images ``(360, 64)`` and labels."""
    digits = load_digits()
    images = (digits.data / GREY_MAX).astype(np.float32)
    held_out = np.arange(len(images)) % HELD_OUT_EVERY == 0
    return (images[~held_out], digits.target[~held_out], images[held_out], digits.target[held_out])
