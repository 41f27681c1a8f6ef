"""Host software of an SPU: the same over a simulator, over the golden model, over a board.

``Driver`` speaks through a ``Port``, which a new board has to provide, and nothing else.
"""

from spu.driver.driver import Driver, DriverError, State
from spu.driver.port import Port, Refused, run

__all__ = ["Driver", "DriverError", "Port", "Refused", "State", "run"]
