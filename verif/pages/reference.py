"""``docs/reference.md`` from the code: every encoding, address and latency.

Run ``python -m verif.pages.reference`` to write it; a test compares the file with this text.
"""

import inspect
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from compiler.front.schema import schema
from spu.arch import bitstream, config, engine_map, memory, regmap, timing
from spu.arch.context import CONTEXT, SINKS, Close, Op, Source, word_layout
from spu.arch.packing import Layout
from spu.arch.params import CONFIGS, KINDS

PATH = Path(__file__).parents[2] / "docs" / "reference.md"
SCHEMA = PATH.with_name("dataflow.schema.json")


def _table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    lines = [list(head), ["---"] * len(list(head)), *[[str(c) for c in row] for row in rows]]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _layout(layout: Layout) -> str:
    rows = [
        (
            f"`{name}`",
            first,
            field.width,
            "source" if name in SINKS else "signed" if field.signed else "",
        )
        for name, first, field in layout
    ]
    return _table(("field", "first bit", "bits", ""), rows)


def _enum(kind: Any) -> str:
    """Table of an enumeration, with the comment beside each member."""
    notes = _comments(kind)
    return _table(
        ("name", "value", ""), ((f"`{x.name}`", x.value, notes.get(x.name, "")) for x in kind)
    )


def _comments(kind: Any) -> dict[str, str]:
    """``NAME = value  #: comment`` lines of a class."""
    return {
        line.split("=")[0].strip(): line.split("#:")[1].strip()
        for line in inspect.getsource(kind).splitlines()
        if "#:" in line and "=" in line
    }


def _rows(kind: type, skip: str = "COUNT") -> list[tuple[str, int]]:
    return [
        (f"`{name}`", value)
        for name, value in vars(kind).items()
        if name.isupper() and name != skip
    ]


def schema_text() -> str:
    """The schema of dataflow graphs, as a file."""
    return json.dumps(schema(), indent=1) + "\n"


def text() -> str:
    """The whole page."""
    basic = CONFIGS["basic"]
    spaces = [
        (
            f"`{s.name}`",
            s.value,
            config.depth(s, basic),
            config.words_per_row(s, basic),
            "tiles" if s in config.TILE_SPACES else "region",
        )
        for s in config.Space
    ]
    latencies = [(f"`{name}`", value) for name, value in vars(timing).items() if name.isupper()]
    parts = [
        "# Reference\n",
        "Written by `python -m verif.pages.reference` from `spu/arch`; do not edit.\n",
        "## Architectures\n",
        _table(
            (
                "name",
                "tiles",
                "pattern",
                "matrix unit",
                "word",
                "contexts",
                "weight rows",
                "memory words",
                "formats",
                "peak MACs/cycle",
            ),
            (
                (
                    f"`{a.name}`",
                    f"{a.rows} x {a.cols}",
                    " ".join(a.pattern),
                    f"{a.lanes} x {a.columns}",
                    f"{a.data_bits} bits",
                    a.contexts,
                    a.weight_rows,
                    a.memory_words,
                    " ".join(a.formats),
                    a.peak_macs_per_cycle,
                )
                for a in CONFIGS.values()
            ),
        ),
        "### Tile kinds\n",
        _table(
            ("letter", "name", "data memory and reblock unit", "MatrixUnit", "VectorUnit"),
            (
                (
                    f"`{letter}`",
                    k.name,
                    *("yes" if has else "" for has in (k.memory, k.matrix, k.vector)),
                )
                for letter, k in KINDS.items()
            ),
        ),
        "## Word on a link (`basic`)\n",
        _layout(word_layout(basic)),
        "## Context word (64 bits)\n",
        _layout(CONTEXT),
        "### Sources\n",
        _enum(Source),
        "### Operations\n",
        _enum(Op),
        "### What a mac closes\n",
        _enum(Close),
        "## Latencies (region cycles)\n",
        _table(("name", "cycles"), latencies),
        "## Configuration spaces (`basic`)\n",
        _table(("space", "number", "rows", "32-bit words a row", "in"), spaces),
        "### Tile registers\n",
        _table(("name", "first row"), _rows(config.TileRegister)),
        "`MODE` rows (`basic`):\n",
        _layout(config.matrix_mode(basic)),
        "Formats: " + ", ".join(f"{i} {name}" for i, name in enumerate(basic.formats)) + ".\n",
        "`VECTOR_MODE` rows:\n",
        _layout(config.VECTOR_MODE),
        "`GUARD` rows:\n",
        _enum(config.Guard),
        _layout(config.GUARD),
        "First row of an address generator:\n",
        _layout(config.ADDRESS_BASE),
        "Then one row a counter, the innermost first:\n",
        _layout(config.ADDRESS_LOOP),
        "### Sequencer registers\n",
        _table(("name", "first row"), _rows(config.SequencerRegister)),
        "`II`:\n",
        _layout(config.SEQUENCER_II),
        "`SPAN`:\n",
        _layout(config.SEQUENCER_SPAN),
        "`LOOP`:\n",
        _layout(config.LOOP),
        "`PREDICATE`:\n",
        _layout(config.PREDICATE),
        _enum(config.Compare),
        "`INPUT`: a `GUARD`.\n",
        "### Stream rows\n",
        _layout(config.STREAM),
        "### Constants and words of data memory (`basic`)\n",
        _layout(config.stored_word(basic)),
        "### Weight rows (`basic`)\n",
        _layout(config.weight_row(basic)),
        "A weight:\n",
        _layout(config.weight_row(basic)["weights"][0][0]),
        "A block, of a column:\n",
        _layout(config.weight_row(basic)["blocks"][0]),
        "## Program file\n",
        "```",
        (bitstream.__doc__ or "").strip(),
        "```\n",
        f"Magic `{bitstream.MAGIC:#010x}`, version {bitstream.VERSION}, at most "
        f"{bitstream.MAX_PAYLOAD} words of payload in a section.\n",
        "## AXI4-Lite registers (`basic`)\n",
        _table(
            ("name", "byte address"),
            ((f"`{n}`", f"{a:#05x}") for n, a in regmap.register_map(basic).items()),
        ),
        _bits("CONTROL_", "bits of `CONTROL`"),
        _bits("STATUS_", "bits and shifts of `STATUS`"),
        _bits("REGION_", "bits of `REGION_r`"),
        _bits("WINDOW_", "fields of `WINDOW_SELECT` and `WINDOW_ROW`"),
        _bits("TRACE_", "fields of `TRACE_SELECT`, words kept"),
        "### Load errors\n",
        _table(("number", "meaning"), enumerate(regmap.LOAD_ERRORS)),
        *_memory(memory.MemoryEngine()),
    ]
    return "\n".join(parts)


def _memory(engine: memory.MemoryEngine) -> list[str]:
    """What the memory engine reads: descriptors, and the patterns within them."""
    pattern = memory.pattern_layout(engine)
    return [
        f"## Descriptors of the memory engine ({engine.address_bits} bits of address)\n",
        f"{engine.descriptor_bytes} bytes from one to the next.\n",
        _enum(memory.Kind),
        *(
            part
            for kind in memory.Kind
            for part in (f"`{kind.name}`:\n", _layout(memory.descriptor_layout(kind, engine)))
        ),
        "### Patterns\n",
        (inspect.getdoc(memory.pattern_layout) or "") + "\n",
        _layout(pattern),
        "An axis:\n",
        _layout(pattern["axes"][0]),
        "A loop:\n",
        _layout(pattern["loops"][0]),
        "### Faults\n",
        _enum(memory.Fault),
        "### Registers of a chip's memory engine\n",
        "Beside those of the array, which lie below. What cannot be written is refused, as are "
        "ring and limit while descriptors wait, and doorbells while a fault is kept.\n",
        _table(
            ("register", "address", ""),
            (
                (f"`{name}`", f"{at:#06x}", engine_map.REGISTERS[name])
                for name, at in engine_map.engine_map().items()
            ),
        ),
    ]


def _bits(prefix: str, what: str) -> str:
    found = [
        f"`{name}` {value}"
        for name, value in vars(regmap).items()
        if name.startswith(prefix) and isinstance(value, int)
    ]
    return f"{what[0].upper()}{what[1:]}: {', '.join(found)}.\n"


if __name__ == "__main__":
    PATH.write_text(text())
    SCHEMA.write_text(schema_text())
    print(f"wrote {PATH} and {SCHEMA}")
