"""Which operations use a data memory, by name; a graph may declare others."""

import re

#: Operations that load or store, as compilers and mappers name them; capitals do not matter.
_BASES = (
    "load",
    "store",
    "ld",
    "st",
    "ldr",
    "str",
    "lw",
    "sw",
    "memread",
    "memwrite",
    "gather",
    "scatter",
)
#: What comes before: of the outer loop (O), vector, masked; and behind: the width.
_BEFORE, _WIDTHS = ("", "o", "v", "m"), ("", "b", "h", "w", "d", "q")
MEMORY_NAMES = frozenset(
    f"{before}{base}{width}"
    for base in ("load", "store")
    for before in _BEFORE
    for width in _WIDTHS
) | frozenset(_BASES)
_TYPE = re.compile(r"[iufp]?\d+|ptr|float|double|half|int")


def uses_memory(name: str) -> bool:
    """Whether the table has a name; dialects before it and types behind it do not matter.

    ``LOAD``, ``memref.load``, ``store_i32`` do, ``load_address`` does not.
    """
    parts = [part for part in re.split(r"[^a-z0-9]+", name.lower()) if part]
    while len(parts) > 1 and _TYPE.fullmatch(parts[-1]):
        parts.pop()
    return bool(parts) and parts[-1] in MEMORY_NAMES
