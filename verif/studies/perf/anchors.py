"""Published figures of speed and energy beside what the model computes of published inputs."""

from typing import Any

from perf import constants
from perf.anchors import anchors


def rows() -> list[dict[str, Any]]:
    """``{name, published, computed}`` each, with the unit and the bar."""
    return [
        {
            "name": a.name,
            "published": a.published,
            "computed": a.computed,
            "unit": a.unit,
            "bar": a.bar,
        }
        for a in anchors(constants.values(constants.read()))
    ]
