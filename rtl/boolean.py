"""Boolean expressions in Liberty's notation as truth tables."""

import re

_TOKEN = re.compile(r"[A-Za-z_][\w\[\]]*|[01!'&*|+^()]")


class FunctionError(ValueError):
    """An expression that is not one, or that names an unknown pin."""


def truth_table(expression: str, inputs: list[str]) -> int:
    """Bit ``i`` is the value where input ``j`` has bit ``j`` of ``i``.

    ``!a`` and ``a'`` negate; ``&``, ``*`` or nothing between operands is AND, ``|`` or ``+``
    is OR, ``^`` is XOR; from tight to loose: NOT, XOR, AND, OR.
    Raises ``FunctionError``.
    """
    return _Parser(expression, inputs).parse()


class _Parser:
    """Recursive descent; values are truth tables."""

    def __init__(self, expression: str, inputs: list[str]) -> None:
        self.expression = expression
        self.tokens = _TOKEN.findall(expression)
        if "".join(self.tokens) != "".join(expression.split()):
            raise FunctionError(f"{expression!r} is not a Boolean expression")
        self.all = (1 << (1 << len(inputs))) - 1
        self.pins = {name: sum(1 << i for i in range(1 << len(inputs)) if i >> j & 1)
                     for j, name in enumerate(inputs)}
        self.pins.update({"0": 0, "1": self.all})

    def parse(self) -> int:
        value = self._or()
        if self.tokens:
            raise FunctionError(f"{self.expression!r} is not a Boolean expression")
        return value

    def _next(self) -> str:
        return self.tokens[0] if self.tokens else ""

    def _or(self) -> int:
        value = self._and()
        while self._next() in ("|", "+"):
            self.tokens.pop(0)
            value |= self._and()
        return value

    def _and(self) -> int:
        value = self._xor()
        while self._next() and self._next() not in "|+)":
            if self._next() in "&*":
                self.tokens.pop(0)
            value &= self._xor()
        return value

    def _xor(self) -> int:
        value = self._not()
        while self._next() == "^":
            self.tokens.pop(0)
            value ^= self._not()
        return value

    def _not(self) -> int:
        token = self.tokens.pop(0) if self.tokens else ""
        if token == "!":
            return self.all & ~self._not()
        if token == "(":
            value = self._or()
            if self._next() != ")":
                raise FunctionError(f"{self.expression!r} lacks a ')'")
            self.tokens.pop(0)
        elif token in self.pins:
            value = self.pins[token]
        else:
            raise FunctionError(f"{self.expression!r} names {token!r}, which is no input")
        while self._next() == "'":
            self.tokens.pop(0)
            value = self.all & ~value
        return value
