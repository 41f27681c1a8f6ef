"""Models of scikit-learn, trained here with a seed on the data sets that it brings, as skl2onnx
exports them."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import onnx

from verif.zoo.entry import Entry, Inputs

#: Name, data set, and how to make it.
Maker = Callable[[], Any]
#: Vectors of a set of inputs.
BATCH = 50


def _split(name: str) -> tuple[Any, Any, Any, Any]:
    """Training and held-out data, the last third."""
    from sklearn import datasets

    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    held = len(x) // 3
    return x[order[held:]], y[order[held:]], x[order[:held]], y[order[:held]]


def _digits() -> Any:
    from sklearn.neural_network import MLPClassifier

    return MLPClassifier((48, 32), random_state=0, max_iter=80)


def _iris() -> Any:
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), MLPClassifier((16,), random_state=0, max_iter=400))


def _wine() -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(random_state=0))


def _breast_cancer() -> Any:
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler

    return make_pipeline(
        MinMaxScaler(), MLPClassifier((24, 12), "tanh", random_state=0, max_iter=300)
    )


def _diabetes() -> Any:
    from sklearn.neural_network import MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(
        StandardScaler(), MLPRegressor(hidden_layer_sizes=(32,), random_state=0, max_iter=600)
    )


@cache
def _trained(name: str, maker: Maker) -> onnx.ModelProto:
    import warnings

    from skl2onnx import to_onnx

    x, y, _, _ = _split(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of training that stops early
        model = maker().fit(x, y)
        made = to_onnx(model, x[:1].astype(np.float32))
    assert isinstance(made, onnx.ModelProto)
    return made


def _inputs(name: str) -> list[Inputs]:
    """A batch of the training data, then the held-out data in batches; what is left over is
    filled up from the beginning."""
    shown, _, x, _ = _split(name)
    count = -(-len(x) // BATCH)
    whole = np.concatenate([shown[:BATCH], np.resize(x, (count * BATCH, x.shape[1]))])
    return [{"X": part} for part in whole.astype(np.float32).reshape(count + 1, BATCH, -1)]


def _entry(name: str, maker: Maker, classes: str) -> Entry:
    return Entry(
        f"sklearn {name.replace('_', ' ')}",
        lambda: _inputs(name),
        "held-out third of the data set of scikit-learn; calibrated by the rest",
        made=lambda: _trained(name, maker),
        batch=BATCH,
        classes=classes,
        calibrate=1,
    )


SKLEARN = (
    _entry("iris", _iris, "output_label"),
    _entry("wine", _wine, "output_label"),
    _entry("diabetes", _diabetes, ""),
    _entry("breast_cancer", _breast_cancer, "output_label"),
    _entry("digits", _digits, "output_label"),
)
