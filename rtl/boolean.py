"""Boolean expressions in Liberty's notation as truth tables."""

import re

_NAME = r'[A-Za-z_][\w\[\].$]*|"[^"]+"'
_TOKEN = re.compile(rf"{_NAME}|[01!'&*|+^()]")
#: Parentheses within parentheses; deeper is no cell's function.
_DEPTH = 100


class FunctionError(ValueError):
    """An expression that is not one, or that names an unknown pin."""


def names(expression: str) -> list[str]:
    """Names in an expression, each once, in order."""
    return list(dict.fromkeys(name.strip('"') for name in re.findall(_NAME, expression)))


def truth_table(expression: str, inputs: list[str]) -> int:
    """Bit ``i`` is the value where input ``j`` has bit ``j`` of ``i``.

    ``!a`` and ``a'`` negate; ``&``, ``*`` or nothing between operands is AND, ``|`` or ``+``
    is OR, ``^`` is XOR; from tight to loose: NOT, XOR, AND, OR.  It takes time and memory of
    ``2^inputs``.
    Raises ``FunctionError``.
    """
    return _Parser(expression, inputs).parse()


class _Parser:
    """Recursive descent; values are truth tables."""

    def __init__(self, expression: str, inputs: list[str]) -> None:
        self.expression = expression if len(expression) < 80 else expression[:80] + "..."
        self.tokens = _TOKEN.findall(expression)
        if "".join(self.tokens) != "".join(expression.split()):
            raise FunctionError(f"{self.expression!r} is not a Boolean expression")
        self.at, self.depth = 0, 0
        self.all = (1 << (1 << len(inputs))) - 1
        self.pins = {
            name: sum(1 << i for i in range(1 << len(inputs)) if i >> j & 1)
            for j, name in enumerate(inputs)
        }
        self.pins.update({"0": 0, "1": self.all})

    def parse(self) -> int:
        value = self._or()
        if self._next():
            raise FunctionError(f"{self.expression!r} is not a Boolean expression")
        return value

    def _next(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def _take(self) -> str:
        token = self._next()
        self.at += 1
        return token

    def _or(self) -> int:
        value = self._and()
        while self._next() in ("|", "+"):
            self.at += 1
            value |= self._and()
        return value

    def _and(self) -> int:
        value = self._xor()
        while self._next() and self._next() not in "|+)":
            if self._next() in "&*":
                self.at += 1
            value &= self._xor()
        return value

    def _xor(self) -> int:
        value = self._not()
        while self._next() == "^":
            self.at += 1
            value ^= self._not()
        return value

    def _not(self) -> int:
        inverted = False
        while self._next() == "!":
            self.at += 1
            inverted = not inverted
        token = self._take()
        if token == "(":
            self.depth += 1
            if self.depth > _DEPTH:
                raise FunctionError("an expression is nested too deeply")
            value = self._or()
            self.depth -= 1
            if self._take() != ")":
                raise FunctionError(f"{self.expression!r} lacks a ')'")
        elif token.strip('"') in self.pins:
            value = self.pins[token.strip('"')]
        else:
            raise FunctionError(f"{self.expression!r} names {token!r}, which is no input")
        while self._next() == "'":
            self.at += 1
            inverted = not inverted
        return self.all & ~value if inverted else value
