"""Formats of the user beside those of the study: ``spu numerics --format FILE``.

A file is Python.  What it defines by a name of its own is taken: every ``pal_units.Format`` and
every ``verif.baselines.blocks.Quantiser``; what it imports of those of the study is not.
"""

import traceback
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np

from pal_units.formats import ADAPTIVE, FORMATS, Format
from verif.baselines.blocks import Quantiser, Values
from verif.baselines.formats import PAL_ROWS, QUANTISERS, pal

#: What the study rounds has last axes of multiples of this, and no more can be a block.
LARGEST_BLOCK = 64


class BadFormat(ValueError):
    """A file of formats, or a name, that the study cannot take: one line."""


def load(path: Path) -> list[Quantiser]:
    """The formats of a file, in its order.

    Raises ``OSError`` if it cannot be read, and ``BadFormat``, a line that begins with its name:
    what it raises, no format in it, a name that is not a new one, a block that does not divide
    ``LARGEST_BLOCK``, values that do not come back as as many finite numbers.  What comes back
    raises ``BadFormat`` itself where that happens later.
    """
    known = {id(fmt) for fmt in (*FORMATS.values(), *ADAPTIVE.values(), *PAL_ROWS.values())}
    known |= {id(quantiser) for quantiser in QUANTISERS.values()}
    found: dict[str, Quantiser] = {}
    for value in {id(v): v for v in _names(path).values() if id(v) not in known}.values():
        if not isinstance(value, (Format, Quantiser)):
            continue
        name = value.name
        if not isinstance(name, str) or not name.strip() or "," in name or "\n" in name:
            raise BadFormat(f"{path}: the name of a format is text without a comma, not {name!r}")
        if name in QUANTISERS or name in FORMATS:
            raise BadFormat(f"{path}: {name} is the name of a format of the study")
        if name in found:
            raise BadFormat(f"{path}: {name} is the name of two formats")
        quantiser = pal(name, value) if isinstance(value, Format) else value
        found[name] = _checked(path, quantiser, getattr(value, "block", 1))
    if not found:
        raise BadFormat(f"{path}: defines no pal_units.Format and no Quantiser")
    return list(found.values())


def chosen(added: Sequence[Quantiser], only: Collection[str] | None) -> list[Quantiser]:
    """Formats of the study and added ones, or those of ``only`` and the added ones.

    Raises ``BadFormat`` for a name that is none, and one that two files give.
    """
    every = dict(QUANTISERS)
    for quantiser in added:
        if quantiser.name in every:
            raise BadFormat(f"{quantiser.name} is the name of two formats")
        every[quantiser.name] = quantiser
    for name in only or ():
        if name not in every:
            raise BadFormat(f"no format {name!r}; there are {', '.join(every)}")
    wanted = {*(every if only is None else only), *(quantiser.name for quantiser in added)}
    return [quantiser for name, quantiser in every.items() if name in wanted]


def _names(path: Path) -> dict[str, object]:
    """What a file defines; it is run as a module of its own, of which nothing is kept on disk."""
    try:
        code = compile(path.read_bytes(), str(path), "exec")
        module = ModuleType(path.stem)
        module.__file__ = str(path)
        exec(code, module.__dict__)
    except OSError:
        raise
    except (Exception, SystemExit) as error:
        lines = [
            f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)
        ]
        line = error.lineno if isinstance(error, SyntaxError) else (lines or [None])[-1]
        where = f"{path}, line {line}" if line else f"{path}"
        said = error.msg if isinstance(error, SyntaxError) else error
        raise BadFormat(f"{where}: {type(error).__name__}: {said}") from None
    return vars(module)


def _checked(path: Path, quantiser: Quantiser, block: int) -> Quantiser:
    """A format that looks at what comes back, tried on a few numbers."""
    where, bits = f"{path}: {quantiser.name}", quantiser.bits_per_element
    if isinstance(bits, bool) or not isinstance(bits, (int, float)) or not 0 < bits < np.inf:
        raise BadFormat(f"{where}: bits_per_element must be a number above 0, not {bits!r}")
    if LARGEST_BLOCK % block:
        raise BadFormat(f"{where}: the block must divide {LARGEST_BLOCK}, {block} does not")

    def rounded(x: Values) -> Values:
        return _numbers(f"{where}: values", np.shape(x), lambda: quantiser.round(x))

    def dots(x: Values, w: Values) -> Values:
        return _numbers(f"{where}: products", (len(x), len(w)), lambda: quantiser.dots(x, w))

    found = replace(quantiser, round=rounded, multiply=dots if quantiser.multiply else None)
    rng = np.random.default_rng(0)
    for shape in ((2, LARGEST_BLOCK), (2, 3, 2 * LARGEST_BLOCK)):
        found.round(rng.standard_normal(shape))
        found.round(np.zeros(shape))
    found.dots(*rng.standard_normal((2, 3, LARGEST_BLOCK)))
    return found


def _numbers(what: str, shape: tuple[int, ...], made: Callable[[], object]) -> Values:
    try:
        values = np.asarray(made(), np.float64)
    except Exception as error:
        raise BadFormat(f"{what}: {type(error).__name__}: {error}") from None
    if values.shape != shape:
        raise BadFormat(f"{what} of shape {shape} come back as {values.shape}")
    if not np.isfinite(values).all():
        raise BadFormat(f"{what} come back with some that are not finite")
    return values
