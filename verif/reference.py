"""``docs/reference.md`` from the code: every encoding, address and latency.

Run ``python -m verif.reference`` to write it; a test compares the file with this text.
"""

from collections.abc import Iterable
from pathlib import Path

from amaranth.hdl import Shape
from amaranth.lib import data

from spu.arch import bitstream, config, regmap, timing
from spu.arch.context import CONTEXT, SINKS, WORD, Op, Source
from spu.arch.params import CONFIGS

PATH = Path(__file__).parents[1] / "docs" / "reference.md"


def _table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    lines = [list(head), ["---"] * len(list(head)), *[[str(c) for c in row] for row in rows]]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _layout(layout: data.StructLayout) -> str:
    rows = []
    for name, field in layout:
        shape = field.shape if isinstance(field.shape, data.ArrayLayout) else \
            Shape.cast(field.shape)
        kind = "source" if name in SINKS else "signed" if getattr(shape, "signed", False) else ""
        rows.append((f"`{name}`", field.offset, data.Layout.cast(field.shape).size
                     if isinstance(field.shape, data.ArrayLayout) else Shape.cast(shape).width,
                     kind))
    return _table(("field", "first bit", "bits", ""), rows)


def text() -> str:
    """The whole page."""
    basic = CONFIGS["basic"]
    spaces = [(f"`{s.name}`", s.value, config.depth(s, basic), config.words_per_row(s, basic),
               "tiles" if s in config.TILE_SPACES else "region") for s in config.Space]
    registers = [("MODE", config.TileRegister.MODE), ("REBLOCK_PROFILE",
                 config.TileRegister.REBLOCK_PROFILE), ("READ", config.TileRegister.READ),
                 ("WRITE", config.TileRegister.WRITE)]
    latencies = [(f"`{name}`", value) for name, value in vars(timing).items() if name.isupper()]
    parts = [
        "# Reference\n", "Written by `python -m verif.reference` from `spu/arch`; "
        "do not edit.\n",
        "## Architectures\n", _table(
            ("name", "tiles", "pattern", "matrix unit", "contexts", "weight rows",
             "memory words", "peak MACs/cycle"),
            ((f"`{a.name}`", f"{a.rows} x {a.cols}", " ".join(a.pattern),
              f"{a.lanes} x {a.columns}", a.contexts, a.weight_rows, a.memory_words,
              a.peak_macs_per_cycle) for a in CONFIGS.values())),
        "Tile kinds: `M` has a data memory with two address generators and a reblock unit, "
        "`m` has neither.\n",
        "## Word on a link\n", _layout(WORD),
        "## Context word (64 bits)\n", _layout(CONTEXT),
        "### Sources\n", _table(("name", "value"), ((f"`{s.name}`", s.value) for s in Source)),
        "### Operations\n", _table(("name", "value"), ((f"`{o.name}`", o.value) for o in Op)),
        "## Latencies (region cycles)\n", _table(("name", "cycles"), latencies),
        "## Configuration spaces (`basic`)\n",
        _table(("space", "number", "rows", "32-bit words a row", "in"), spaces),
        "### Tile registers\n", _table(("name", "first row"),
                                       ((f"`{n}`", r) for n, r in registers)),
        "`MODE` rows:\n", _layout(config.MATRIX_MODE),
        "First row of an address generator (slot and stage count for reads only):\n",
        _layout(config.ADDRESS_BASE),
        "Then one row a counter, the innermost first:\n", _layout(config.ADDRESS_LOOP),
        "### Sequencer registers\n", "Row 0:\n", _layout(config.SEQUENCER_II),
        "Row 1:\n", _layout(config.SEQUENCER_SPAN),
        "### Stream rows\n", _layout(config.STREAM),
        "### Weight rows (`basic`)\n", _layout(config.weight_row(basic)),
        "## Program file\n", "```", (bitstream.__doc__ or "").strip(), "```\n",
        f"Magic `{bitstream.MAGIC:#010x}`, version {bitstream.VERSION}, operations: "
        f"write {bitstream.OP_WRITE}, COMMIT {bitstream.OP_COMMIT}.\n",
        "## AXI4-Lite registers (`basic`)\n",
        _table(("name", "byte address"), ((f"`{n}`", f"{a:#05x}")
                                          for n, a in regmap.register_map(basic).items())),
        f"`CONTROL`: start {regmap.CONTROL_START}, clear {regmap.CONTROL_CLEAR}. "
        f"`STATUS`: running {regmap.STATUS_RUNNING}, done {regmap.STATUS_DONE}, loaded "
        f"{regmap.STATUS_LOADED}, loading {regmap.STATUS_LOADING}, error in bits "
        f"{regmap.STATUS_ERROR_SHIFT}-{regmap.STATUS_ERROR_SHIFT + 7}, section number from bit "
        f"{regmap.STATUS_SECTION_SHIFT}.\n",
        "### Load errors\n", _table(("number", "meaning"), enumerate(regmap.LOAD_ERRORS)),
    ]
    return "\n".join(parts)


if __name__ == "__main__":
    PATH.write_text(text())
    print(f"wrote {PATH}")
