"""Write ``digits_cnn.onnx``: a convolution, batch normalisation, pooling and a dense layer.

Run ``python -m verif.digits.cnn [OUTPUT]``.  The filters are the centres of patches by k-means
(A. Coates, A. Ng and H. Lee, "An analysis of single-layer networks in unsupervised feature
learning", AISTATS 2011), the dense layer is a logistic regression on what they give.
"""

from pathlib import Path

import numpy as np
import onnx
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from onnx import helper
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression

from verif.digits.data import split
from verif.digits.train import classifier, write

MODEL = Path(__file__).with_name("digits_cnn.onnx")
FILTERS, KERNEL = 16, 3


def _convolved(images: NDArray, filters: NDArray) -> NDArray:
    """(n, FILTERS, 8, 8) with a border of zeros."""
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    return np.einsum(
        "nyxij,fij->nfyx", sliding_window_view(padded, (KERNEL, KERNEL), (1, 2)), filters
    )


def train() -> dict[str, NDArray[np.float32]]:
    """All constants of the model by name."""
    images, labels, _, _ = split()
    images = images.reshape(-1, 8, 8)
    patches = sliding_window_view(images, (KERNEL, KERNEL), (1, 2)).reshape(-1, KERNEL * KERNEL)
    patches = patches - patches.mean(axis=1, keepdims=True)
    patches = patches[patches.std(axis=1) > 0.1]
    patches /= np.linalg.norm(patches, axis=1, keepdims=True)
    means = KMeans(FILTERS, n_init=4, random_state=0).fit(patches).cluster_centers_
    filters = means.reshape(-1, KERNEL, KERNEL)
    maps = _convolved(images, filters)
    mean, variance = maps.mean(axis=(0, 2, 3)), maps.var(axis=(0, 2, 3))
    normal = (maps - mean[:, None, None]) / np.sqrt(variance + 1e-5)[:, None, None]
    pooled = np.maximum(normal, 0).reshape(-1, FILTERS, 4, 2, 4, 2).max(axis=(3, 5))
    dense = LogisticRegression(C=0.1, max_iter=2000).fit(pooled.reshape(len(images), -1), labels)
    return {
        name: np.asarray(values, np.float32)
        for name, values in {
            "filters": filters[:, None],
            "scale": np.ones(FILTERS),
            "offset": np.zeros(FILTERS),
            "mean": mean,
            "variance": variance,
            "weights": dense.coef_,
            "bias": dense.intercept_,
        }.items()
    }


def export(constants: dict[str, NDArray[np.float32]]) -> onnx.ModelProto:
    """Logits of 8x8 images."""
    nodes = [
        helper.make_node("Conv", ["image", "filters"], ["c"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node(
            "BatchNormalization", ["c", "scale", "offset", "mean", "variance"], ["b"], "norm"
        ),
        helper.make_node("Relu", ["b"], ["r"], "relu"),
        helper.make_node("MaxPool", ["r"], ["p"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["p"], ["x"], "flatten"),
        helper.make_node("Gemm", ["x", "weights", "bias"], ["logits"], "output", transB=1),
    ]
    return classifier("digits_cnn", nodes, ["n", 1, 8, 8], constants)


if __name__ == "__main__":
    write(export(train()), MODEL)
