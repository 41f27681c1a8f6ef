"""Pictures of a mapping, SVG: the grid with operations and routes, and the schedule."""

from collections.abc import Iterable
from html import escape

from compiler.explain.mapping import Explained
from spu.arch.params import NEIGHBOURS

#: Pixels of a tile's side, of the gap between tiles, of a cell of the schedule.
TILE, GAP, CELL_WIDTH, CELL_HEIGHT = 120, 44, 92, 22
#: Colours, for operations by name and for links by use.
HUES = 12
#: Where links leave and enter, so that both directions are seen: offset from the middle.
LANE = 10


def _svg(width: int, height: int, parts: Iterable[str]) -> str:
    return (
        "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
                f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="11">',
                '<rect width="100%" height="100%" fill="white"/>',
                *parts,
                "</svg>",
            ]
        )
        + "\n"
    )


def _text(x: float, y: float, text: str, anchor: str = "middle", weight: str = "normal") -> str:
    return (
        f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" font-weight="{weight}">'
        f"{escape(text)}</text>"
    )


def _colour(names: list[str], op: str) -> str:
    return f"hsl({360 * (names.index(op) % HUES) // HUES},60%,85%)"


def grid(explained: Explained) -> str:
    """Tiles with their operations; links as wide as their slots are used."""
    rows, cols = explained.size
    ii, pitch, margin = explained.ii, TILE + GAP, GAP
    memory = {tuple(tile) for tile in explained.report["memory_tiles"]}
    parts = [
        _text(
            margin,
            20,
            f"{explained.report['name']}: II {ii}, {explained.report['grid']}",
            "start",
            "bold",
        )
    ]

    def middle(r: int, c: int) -> tuple[float, float]:
        return margin + c * pitch + TILE / 2, margin + r * pitch + TILE / 2

    for (r, c, link), count in sorted(explained.hops().items()):
        dr, dc, _ = NEIGHBOURS[link]
        x, y = middle(r, c)
        # The two directions of a pair of tiles lie side by side.
        x, y = x + dc * TILE / 2 + dr * LANE, y + dr * TILE / 2 - dc * LANE
        share = count / ii
        parts.append(
            f'<line x1="{x:.0f}" y1="{y:.0f}" x2="{x + dc * GAP:.0f}" y2="{y + dr * GAP:.0f}" '
            f'stroke="hsl({int(120 * (1 - min(share, 1)))},70%,45%)" '
            f'stroke-width="{1 + 7 * share:.1f}"><title>{link} of ({r},{c}): {count} of {ii} slots'
            f"</title></line>"
        )
    names = sorted({p["op"] for p in explained.report["places"]})
    operations = explained.operations()
    for r in range(rows):
        for c in range(cols):
            x, y = margin + c * pitch, margin + r * pitch
            parts.append(
                f'<rect x="{x}" y="{y}" width="{TILE}" height="{TILE}" rx="6" '
                f'fill="{"#f3f0e6" if (r, c) in memory else "#f7f7f7"}" stroke="#888"/>'
            )
            parts.append(_text(x + TILE - 6, y + 14, f"{r},{c}", "end"))
            own = sorted(operations.get((r, c), []), key=lambda p: p["cycle"] % ii)
            step = min(16.0, (TILE - 22) / max(len(own), 1))
            for k, place in enumerate(own):
                top = y + 20 + k * step
                parts.append(
                    f'<rect x="{x + 6}" y="{top:.0f}" width="{TILE - 12}" '
                    f'height="{step - 1:.1f}" fill="{_colour(names, place["op"])}"/>'
                )
                if step > 9:
                    parts.append(
                        _text(
                            x + 10,
                            top + step - 4,
                            f"{place['cycle'] % ii}: {place['op']} {place['id']}",
                            "start",
                        )
                    )
    return _svg(2 * margin + cols * pitch - GAP, 2 * margin + rows * pitch - GAP, parts)


def schedule(explained: Explained) -> str:
    """Operations of one iteration: a column a tile that has any, a row a cycle."""
    places = explained.report["places"]
    tiles = sorted({tuple(p["tile"]) for p in places})
    first, last = min(p["cycle"] for p in places), max(p["cycle"] for p in places)
    names = sorted({p["op"] for p in places})
    left, top = 60, 46
    parts = [
        _text(
            left,
            16,
            f"{explained.report['name']}: one iteration, the next begins "
            f"{explained.ii} cycles later",
            "start",
            "bold",
        )
    ]
    for k, (r, c) in enumerate(tiles):
        parts.append(_text(left + (k + 0.5) * CELL_WIDTH, 38, f"tile {r},{c}"))
    for t in range(first, last + 1):
        y = top + (t - first) * CELL_HEIGHT
        parts.append(_text(left - 8, y + 15, str(t), "end"))
        if (t - first) % explained.ii == 0:
            parts.append(
                f'<line x1="{left}" y1="{y}" x2="{left + len(tiles) * CELL_WIDTH}" '
                f'y2="{y}" stroke="#bbb"/>'
            )
    for place in places:
        x = left + tiles.index(tuple(place["tile"])) * CELL_WIDTH
        y = top + (place["cycle"] - first) * CELL_HEIGHT
        parts.append(
            f'<rect x="{x + 2}" y="{y + 2}" width="{CELL_WIDTH - 4}" '
            f'height="{CELL_HEIGHT - 4}" rx="3" fill="{_colour(names, place["op"])}" '
            'stroke="#999"/>'
        )
        parts.append(_text(x + CELL_WIDTH / 2, y + 15, f"{place['op']} {place['id']}"))
    return _svg(
        left + len(tiles) * CELL_WIDTH + 20, top + (last - first + 1) * CELL_HEIGHT + 20, parts
    )
