"""Formulas of operators as the standard's text has them, in float64: ``OWN``.

Of those where the reference evaluator of onnx 1.23 lacks the operator, a version or an attribute,
or is wrong; each function says which.
"""

from verif.expected.formulas import elements, moves, quantised, recurrent, windows
from verif.expected.formulas.registry import OWN

#: Modules that register formulas.
MODULES = (elements, moves, quantised, recurrent, windows)

__all__ = ["MODULES", "OWN"]
