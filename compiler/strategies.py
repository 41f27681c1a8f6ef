"""Names of the ways to bring a model onto the array: of the library, its facade, the command."""

from typing import Literal, get_args

#: One program for a whole chain of dense layers, a program for each step, or the better of both.
Strategy = Literal["auto", "pipeline", "steps"]
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)
