"""An arithmetic unit in RTL, evaluated beside its model in numpy."""

import numpy as np

from pal_units import PAL6T, model
from pal_units.rtl.elementwise import Multiplier
from pal_units.rtl.evaluate import evaluate

codes = np.random.default_rng(0).integers(0, 64, (5, 2))
for a, b in codes.tolist():
    unit = evaluate(Multiplier(PAL6T, stages=1), a=a, b=b)["o"]
    assert unit == model.mul(a, b, PAL6T)
    print(
        f"{float(model.value_of(a, PAL6T)):+.3f} * {float(model.value_of(b, PAL6T)):+.3f} = "
        f"{float(model.value_of(unit, PAL6T)):+.3f}"
    )
