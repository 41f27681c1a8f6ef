"""What bounds a mapped graph, where its operations and words are, and what more would buy."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from compiler.errors import CompileError
from compiler.ir.dataflow import Dataflow, from_json, path_text
from compiler.map.loop.advice import Change
from compiler.map.loop.mapper import (
    MEMORY_COLUMNS,
    grid_architecture,
    ii_with_registers,
    minimum_ii,
    parse_grid,
)
from spu.arch.context import LINKS
from spu.arch.package.manifest import MAPPING
from spu.arch.params import REGISTERS, Architecture, from_parameters
from spu.arch.program import Tile


@dataclass(frozen=True)
class Explained:
    """A ``mapping.json``: the report, and its graph."""

    report: dict
    graph: Dataflow

    @property
    def ii(self) -> int:
        """Initiation interval in cycles."""
        return int(self.report["ii"])

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of tiles."""
        return parse_grid(self.report["grid"])

    @property
    def grids(self) -> list[Architecture]:
        """The array that it is for; where it does not say, those of its size that ``spu map
        --grid`` knows."""
        if "array" in self.report:
            return [from_parameters(self.report["array"])]
        return [grid_architecture(*self.size, memory) for memory in MEMORY_COLUMNS]

    @property
    def memory(self) -> str:
        """Which columns have memory."""
        columns = {c for _, c in self.report["memory_tiles"]}
        return (
            "all"
            if len(columns) == self.size[1] and self.size[1] > 2
            else "west"
            if columns == {0}
            else "both"
            if len(columns) == 2
            else "all"
        )

    def operations(self) -> dict[Tile, list[dict]]:
        """Operations of each tile."""
        out: dict[Tile, list[dict]] = {}
        for place in self.report["places"]:
            out.setdefault(tuple(place["tile"]), []).append(place)
        return out

    def hops(self) -> Counter[tuple[int, int, str]]:
        """Slots in use of each link: (row, column, link)."""
        return Counter(
            (r, c, link) for net in self.report["routes"] for r, c, link, _ in net["hops"]
        )

    def registers(self) -> dict[Tile, int]:
        """Registers of each tile in use, in the slot with most."""
        held: dict[Tile, Counter[int]] = {}
        for net in self.report["routes"]:
            last: dict[tuple[int, int, int], int] = {}
            for r, c, start, end, _ in net["waits"]:
                last[r, c, start] = max(last.get((r, c, start), 0), end)
            for (r, c, start), end in last.items():
                held.setdefault((r, c), Counter()).update(
                    t % self.ii for t in range(start + 1, end + 1)
                )
        return {tile: max(count.values()) for tile, count in held.items()}


def load(directory: Path) -> Explained:
    """What ``spu map -o`` wrote; ``CompileError`` if it is not that."""
    path = directory / MAPPING
    try:
        report = json.loads(path.read_text())
        explained = Explained(report, from_json(report["graph"]))
        explained.operations(), explained.hops(), explained.registers()
        _ = explained.size, explained.grids
        return explained
    except OSError:
        raise
    except Exception as error:  # whatever a file has that is no mapping
        raise CompileError(f"{path}: not what spu map wrote: {error}") from None


def bound(explained: Explained) -> str:
    """What the bound comes from, by name."""
    report = explained.report
    cycle = report["cycle"]
    if report["bound"] > report["mii"]:
        return f"{report['binding']}, II at least {report['bound']}"
    if report["rec_mii"] > report["res_mii"] and cycle:
        return (
            f"critical cycle {path_text(explained.graph, cycle)}, II at least {report['rec_mii']}"
        )
    return f"busiest resource: {report['binding']}, II at least {report['res_mii']}"


def buys(explained: Explained) -> list[str]:
    """What a larger grid and one more register would buy."""
    rows, cols = explained.size
    out = []
    for r, c in ((rows, cols + 1), (rows + 1, cols + 1), (2 * rows, 2 * cols)):
        if max(r, c) <= 16:
            least = minimum_ii(
                explained.graph,
                Change(r, c, explained.memory).arch,
                explained.report["kernel"],
                explained.report["unit_latency"],
            ).ii
            gain = "nothing" if least >= explained.ii else f"an II of {least} at best"
            out.append(f"{r}x{c} tiles: {gain}")
    most = max(explained.registers().values(), default=0)
    if explained.report["kernel"]:
        out.append(f"registers: at most {most} of {REGISTERS} are in use in a tile")
    elif explained.report["optimal"]:
        out.append(
            f"one more register: nothing, the II is the bound; at most {most} of "
            f"{REGISTERS} are in use in a tile"
        )
    else:
        out.append(f"one more register: {_with_register(explained)}")
    return out


def _with_register(explained: Explained) -> str:
    """What the search finds for tiles of one register more, which no context can name."""
    ii = ii_with_registers(
        explained.graph,
        grid_architecture(*explained.size, explained.memory),
        explained.report["unit_latency"],
        REGISTERS + 1,
        explained.ii,
    )
    gain = "nothing" if ii is None else f"an II of {ii}"
    return f"{gain}, scheduled and routed with {REGISTERS + 1}"


def show(explained: Explained, console: Console) -> None:
    """Everything, on the screen."""
    report, ii = explained.report, explained.ii
    rows, cols = explained.size
    verdict = "the lower bound" if report["optimal"] else f"above the bound of {report['bound']}"
    console.print(
        f"{report['name']}: {report['operations']} operations on {report['grid']}, an "
        f"iteration every {ii} cycles, {verdict}; schedule by {report['search']} search",
        highlight=False,
        markup=False,
    )
    console.print(bound(explained), highlight=False, markup=False)
    for failure in report["failures"]:
        console.print(f"not below: {failure}", highlight=False, markup=False)
    operations, hops, registers = explained.operations(), explained.hops(), explained.registers()
    table = Table(
        title="tiles: operations (share of slots), registers, links in slots: north east south west"
    )
    table.add_column("row")
    for c in range(cols):
        table.add_column(f"column {c}")
    for r in range(rows):
        cells = []
        for c in range(cols):
            count = len(operations.get((r, c), []))
            links = " ".join(str(hops[r, c, link]) for link in LINKS)
            cells.append(
                f"{count} ({100 * count // ii} %), {registers.get((r, c), 0)} reg\n{links}"
            )
        table.add_row(str(r), *cells)
    console.print(table)
    busiest = hops.most_common(3)
    console.print(
        "busiest links: "
        + ", ".join(
            f"{link} of tile ({r},{c}) {count} of {ii} slots" for (r, c, link), count in busiest
        )
        if busiest
        else "no links are used",
        highlight=False,
        markup=False,
    )
    for line in buys(explained):
        console.print(line, highlight=False, markup=False)
