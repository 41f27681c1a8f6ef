"""Hadamard rotation of 32 neighbours with random signs, as for spreading outliers.

``rotate(x) = H diag(s) x`` in groups of 32 along the last axis, ``H`` the Hadamard matrix of
Sylvester over ``sqrt(32)``, ``s`` 32 random signs, the same in every group and tensor.
The rotation is orthogonal: dot products of two rotated vectors are those of the vectors
(QuaRot, arXiv:2404.00456; 32 points fit one block).
"""

import numpy as np

from verif.baselines.blocks import Quantiser, Values

#: Points of the rotation.
POINTS = 32
_SIGNS = np.random.default_rng(32).choice([-1.0, 1.0], POINTS)
_PARITY = np.array([[(i & j).bit_count() & 1 for j in range(POINTS)] for i in range(POINTS)])
_MATRIX = (1 - 2.0 * _PARITY) / np.sqrt(POINTS) * _SIGNS


def rotate(x: Values) -> Values:
    """Rotated groups of 32; the last axis must be a multiple of 32."""
    return (np.reshape(x, (-1, POINTS)) @ _MATRIX.T).reshape(np.shape(x))


def unrotate(x: Values) -> Values:
    """What ``rotate`` makes ``x`` of."""
    return (np.reshape(x, (-1, POINTS)) @ _MATRIX).reshape(np.shape(x))


def rotated(quantiser: Quantiser) -> Quantiser:
    """The quantiser of rotated values; its rounded values are turned back."""
    return Quantiser(
        quantiser.name,
        quantiser.bits_per_element,
        lambda x: unrotate(quantiser.round(rotate(np.asarray(x, np.float64)))),
    )
