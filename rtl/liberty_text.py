"""The syntax of Liberty files: bytes to groups of attributes, and groups to plain Liberty.

Files come as vendors write them: UTF-8 with or without a mark, UTF-16, Latin-1, compressed by
gzip; ``/* */`` and ``//`` comments, continued lines, lines that lack their semicolon, lists of
names, files that include others.  What is written out has none of that, for tools that read
less.  The syntax is that of the Liberty reference manual (Open Source Liberty, "Liberty User
Guide", vol. 1).
"""

import gzip
import math
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

#: Groups within groups, and files that include files; the language needs five and one.
_DEPTH = 16


class LibraryError(ValueError):
    """A Liberty file that cannot be used; the message names file and line and says why."""


@dataclass(frozen=True)
class Attribute:
    """``name : value ;``, which has one value, or ``name (values) ;``."""

    values: list[str]
    simple: bool
    where: str


@dataclass
class Group:
    """``name (arguments) { ... }``: attributes and groups in order.

    ``where`` is its file and line.
    """

    name: str
    arguments: list[str]
    where: str
    statements: list[tuple[str, Attribute]] = field(default_factory=list)
    groups: list["Group"] = field(default_factory=list)

    @cached_property
    def attributes(self) -> dict[str, Attribute]:
        """Attributes by name, of several the last; for groups that are read completely."""
        return dict(self.statements)

    def all(self, name: str) -> list["Group"]:
        """Groups of a name."""
        return [g for g in self.groups if g.name == name]

    def names(self) -> list[str]:
        """The arguments as names: ``(A, B)`` and ``("A, B")`` are two."""
        return [
            name for argument in self.arguments for name in re.split(r"[,\s]+", argument) if name
        ]

    def text(self, name: str, default: str = "") -> str:
        """An attribute's first value."""
        found = self.attributes.get(name)
        return found.values[0].strip() if found and found.values else default

    def number(self, name: str, default: float = 0.0) -> float:
        """An attribute's first value as a finite number; ``LibraryError`` if it is none."""
        found = self.attributes.get(name)
        return number(self.text(name), f"{found.where}: {self.title}", name) if found else default

    @property
    def title(self) -> str:
        """How messages name it."""
        return " ".join([self.name, *self.arguments])


def number(text: str, where: str, what: str) -> float:
    """A finite number; ``where`` begins the message of ``LibraryError`` otherwise."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise LibraryError(f"{where}: could not convert {what} {text[:40]!r} to a number")
    return value


def read_text(path: Path) -> str:
    """The text of a file in any of the encodings; ``LibraryError``."""
    try:
        content = path.read_bytes()
        if content.startswith(b"\x1f\x8b"):
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or f"it is not whole: {error}"
        raise LibraryError(f"cannot read the Liberty file {path}: {reason}") from None
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        text = content.decode("latin-1")  # which any bytes are
    if "\0" in text:
        raise LibraryError(f"cannot read the Liberty file {path}: it is not text")
    return text


_TOKEN = re.compile(
    r"""
    (?P<newline>\n)
  | (?P<comment>/\*.*?\*/|//[^\n]*|\\[^\S\n]*\n)
  | (?P<string>"(?:[^"\\]|\\.)*")
  | (?P<mark>[{}();:,])
  | (?P<open>"|/\*)
  | (?P<word>(?:(?!/[/*]|\\[^\S\n]*\n)[^\s{}();:,"])+)
""",
    re.DOTALL | re.VERBOSE,
)
#: Kind of a token, its text, its line.
_Token = tuple[str, str, int]


def _tokens(text: str, origin: str) -> Iterator[_Token]:
    line = 1
    for match in _TOKEN.finditer(text):
        kind, token = match.lastgroup or "", match[0]
        if kind == "open":
            what = "string" if token == '"' else "comment"
            raise LibraryError(
                f"{origin}:{line}: the file is truncated: it ends inside a {what} that begins here"
            )
        if kind == "string":
            inside = re.sub(r"\\[^\S\n]*\n", " ", token[1:-1]).replace('\\"', '"')
            yield kind, " ".join(inside.split("\n")), line
        elif kind == "mark":
            yield token, token, line
        elif kind != "comment":
            yield kind, token, line
        if kind not in ("mark", "word"):
            line += token.count("\n")


def parse(text: str, origin: str, folder: Path | None = None) -> Group:
    """The first ``library`` group; ``folder`` is where included files are.

    Raises ``LibraryError``.
    """
    return _Parser(text, origin, folder).run()


class _Parser:
    """Statements end with a semicolon, a brace, or, if simple, the line."""

    def __init__(self, text: str, origin: str, folder: Path | None) -> None:
        self.folder = folder
        self.origin = origin
        self.files: list[tuple[str, Iterator[_Token]]] = [(origin, _tokens(text, origin))]
        self.line = 1
        self.stack = [Group("", [], origin)]
        self._begin()

    def _begin(self) -> None:
        """A new statement."""
        self.name: str | None = None
        self.values: list[str] = []
        self.arguments: list[str] | None = None
        self.simple = False
        self.where = ""

    def run(self) -> Group:
        while self.files:
            kind, token, self.line = next(self.files[-1][1], ("end", "", self.line))
            if kind == "end":
                self.files.pop()
            elif self.simple:
                self._simple(kind, token)
            else:
                self._statement(kind, token)
        root = self.stack[0]
        if len(self.stack) > 1:
            cells = [g.arguments[0] for g in self.stack if g.name == "cell" and g.arguments]
            raise LibraryError(
                f"{self.origin}:{self.line}: the file is truncated: it ends inside group "
                f"{self.stack[-1].title!r}" + (f" of cell {cells[0]}" if cells else "")
            )
        if not root.all("library"):
            raise LibraryError(f"{self.origin} is not a Liberty file: it has no library group")
        return root.all("library")[0]

    def _simple(self, kind: str, token: str) -> None:
        """After ``name :``."""
        if kind in (";", "}") or (
            kind == "newline" and self.values and self.values[-1] not in ("+", "-", "*", "/")
        ):
            self._end()
            if kind == "}":
                self._close()
        elif kind == "{":
            raise self._error(f"{self.name} : ... is no group")
        elif kind != "newline":
            self.values.append(token)

    def _statement(self, kind: str, token: str) -> None:
        if kind == "newline":
            return
        if kind in ("word", "string"):
            if self.name is not None:
                self._end()  # a line without its semicolon
            self.name, self.where = token, f"{self.files[-1][0]}:{self.line}"
        elif kind in (";", "}"):
            self._end()
            if kind == "}":
                self._close()
        elif self.name is None:
            raise self._error(f"{token!r} without a name before it")
        elif kind == "(" and self.arguments is None:
            self._arguments()
        elif kind == ":" and self.arguments is None:
            self.simple = True
        elif kind == "{":
            group = Group(self.name, self.arguments or [], self.where)
            self.stack[-1].groups.append(group)
            self.stack.append(group)
            if len(self.stack) > _DEPTH:
                raise self._error("groups are nested too deeply")
            self._begin()
        else:
            raise self._error(f"{token!r} after {self.name[:40]!r} is out of place")

    def _arguments(self) -> None:
        self.arguments = []
        for kind, token, line in self.files[-1][1]:
            self.line = line
            if kind == ")":
                return
            if kind in ("{", "}", ";"):
                break
            if kind not in ("newline", ","):
                self.arguments.append(token)
        else:
            raise self._error(
                f"the file is truncated: it ends before the ')' of {(self.name or '')[:40]!r}"
            )
        raise self._error(f"the '(' after {(self.name or '')[:40]!r} is not closed")

    def _end(self) -> None:
        """End an attribute."""
        name, group = self.name, self.stack[-1]
        if name is None:
            return
        if self.simple:
            group.statements.append((name, Attribute([" ".join(self.values)], True, self.where)))
        elif self.arguments is None:
            raise self._error(f"{name[:40]!r} is neither an attribute nor a group")
        elif name == "include_file":
            self._include(self.arguments)
        else:
            group.statements.append((name, Attribute(self.arguments, False, self.where)))
        self._begin()

    def _include(self, arguments: list[str]) -> None:
        path = Path(self.folder or "", *arguments[:1])
        if (
            self.folder is None
            or len(arguments) != 1
            or str(path) in dict(self.files)
            or len(self.files) >= _DEPTH
        ):
            raise self._error("include_file takes one file, which does not include itself")
        try:
            text = read_text(path)
        except LibraryError as error:
            raise self._error(str(error)) from None
        self.files.append((str(path), _tokens(text, str(path))))

    def _close(self) -> None:
        self.stack.pop()
        if not self.stack:
            raise self._error("a '}' too many")

    def _error(self, cause: str) -> LibraryError:
        where = self.where if self.name is not None else f"{self.files[-1][0]}:{self.line}"
        return LibraryError(f"{where}: {cause}")


_NUMBER = re.compile(r"[-+]?[0-9.]+([eE][-+]?[0-9]+)?")


def _quoted(value: str) -> str:
    if _NUMBER.fullmatch(value):
        return value
    return '"' + value.replace('"', '\\"') + '"'


def plain(group: Group) -> str:
    """A group as Liberty without anything that only some readers take."""
    lines = [f"{group.name} ({', '.join(map(_quoted, group.arguments))}) {{"]
    for name, attribute in group.statements:
        values = ", ".join(map(_quoted, attribute.values))
        lines.append(f"{name} : {values};" if attribute.simple else f"{name} ({values});")
    return "\n".join([*lines, *map(plain, group.groups), "}"])
