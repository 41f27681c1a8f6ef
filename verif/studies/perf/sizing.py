"""The study of sizes as ``spu size`` makes it by default."""

from typing import Any

from perf import constants
from perf.llm.decoder import decoder
from perf.sizing.report import as_json
from perf.sizing.study import study


def rows() -> dict[str, Any]:
    """Services, gains, factors, drivers, training: what ``spu size --json`` writes."""
    return as_json(study(constants.read(), decoder("epoch-100b"), 1e10, 200.0))
