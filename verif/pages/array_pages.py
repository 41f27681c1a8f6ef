"""``docs/array/``: a page a component of the array, from its docstring and its ports.

Run ``python -m verif.pages.array_pages`` to write them.  Tests compare the pages with the code.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from amaranth.hdl import UnusedElaboratable
from amaranth.lib import wiring

from spu.arch.chip import CHIPS, Chip
from spu.arch.config import Space
from spu.arch.external import ExternalMemory
from spu.arch.files import replace_files
from spu.arch.memory import MemoryEngine
from spu.arch.params import CONFIGS, KINDS, Architecture
from spu.command.tables import markdown
from spu.rtl.address import AddressGenerator
from spu.rtl.alu import Alu
from spu.rtl.axi import AxiLite, AxiLiteSlave, RegisterAccess
from spu.rtl.chip import ChipTop
from spu.rtl.config_store import BankedMemory, BankedRegisters
from spu.rtl.data_memory import DataMemory
from spu.rtl.datapath import Datapath
from spu.rtl.fifo import StreamFifo
from spu.rtl.host import HostRegisters
from spu.rtl.loader import Loader
from spu.rtl.matrix_unit import MatrixUnit
from spu.rtl.memory.array_port import ArrayPort
from spu.rtl.memory.axi4 import Axi4Read, Axi4Write
from spu.rtl.memory.checker import DescriptorChecker
from spu.rtl.memory.cutter import BurstCutter
from spu.rtl.memory.dispatcher import Dispatcher
from spu.rtl.memory.engine import Engine
from spu.rtl.memory.engine_registers import EngineRegisters
from spu.rtl.memory.gather import IndexScaler
from spu.rtl.memory.joiner import RunJoiner
from spu.rtl.memory.load_watch import LoadWatch
from spu.rtl.memory.merger import ReadMerger, WriteMerger
from spu.rtl.memory.pattern import PatternGenerator
from spu.rtl.memory.read_channel import ReadChannel
from spu.rtl.memory.read_manager import ReadManager
from spu.rtl.memory.ring import DescriptorRing
from spu.rtl.memory.timed import TimedMemory
from spu.rtl.memory.write_channel import WriteChannel
from spu.rtl.memory.write_manager import WriteManager
from spu.rtl.ports import ConfigBus, RegionControl
from spu.rtl.sequencer import Sequencer
from spu.rtl.tile import Tile
from spu.rtl.top import Spu
from spu.rtl.trace import Trace
from spu.rtl.vector_lane import VectorLane
from spu.rtl.vector_unit import VectorUnit
from spu.rtl.window import Window
from spu.rtl.zeroing import Zeroing
from verif.pages.contracts import ROOT, ports, source, summary
from verif.pages.contracts import markdown as contract

FOLDER = ROOT / "docs" / "array"

Maker = Callable[[], wiring.Component]


@dataclass(frozen=True)
class ComponentPage:
    """A component with the configurations that its page gives latencies of.

    The page shows the ports of the first one.
    """

    component: type[wiring.Component]
    configurations: dict[str, Maker]

    @property
    def path(self) -> Path:
        """File of the page."""
        return FOLDER / f"{self.component.__name__}.md"


def _each(component: Callable[[Architecture], wiring.Component]) -> dict[str, Maker]:
    return {arch.name: partial(component, arch) for arch in CONFIGS.values()}


def _chip(component: Callable[[Chip], wiring.Component]) -> dict[str, Maker]:
    return {name: partial(component, chip) for name, chip in CHIPS.items()}


def _engine(component: Callable[[MemoryEngine], wiring.Component]) -> dict[str, Maker]:
    return {"256 bits": partial(component, MemoryEngine())}


#: From the array to its parts, and from a chip to those of its memory engine.
COMPONENTS = (
    ComponentPage(Spu, _each(Spu)),
    ComponentPage(HostRegisters, _each(HostRegisters)),
    ComponentPage(AxiLiteSlave, {"13 bits": lambda: AxiLiteSlave(HostRegisters.address_bits)}),
    ComponentPage(Loader, _each(Loader)),
    ComponentPage(Window, _each(Window)),
    ComponentPage(Zeroing, _each(Zeroing)),
    ComponentPage(Trace, _each(Trace)),
    ComponentPage(StreamFifo, {"73 bits, 16 words": lambda: StreamFifo(73, 16)}),
    ComponentPage(Sequencer, _each(lambda arch: Sequencer(arch, 0))),
    ComponentPage(Tile, _each(lambda arch: Tile(arch, KINDS["M"]))),
    ComponentPage(Datapath, _each(lambda arch: Datapath(arch, KINDS["M"]))),
    ComponentPage(Alu, _each(Alu)),
    ComponentPage(VectorUnit, _each(VectorUnit)),
    ComponentPage(VectorLane, {"any array": VectorLane}),
    ComponentPage(MatrixUnit, _each(MatrixUnit)),
    ComponentPage(AddressGenerator, {"8 bits": lambda: AddressGenerator(8)}),
    ComponentPage(DataMemory, _each(DataMemory)),
    ComponentPage(
        BankedMemory,
        {
            "contexts, registered": lambda: BankedMemory(Space.CONTEXT, 16, 64, True),
            "constants": lambda: BankedMemory(Space.CONSTANT, 16, 72, False),
        },
    ),
    ComponentPage(
        BankedRegisters, {"three of 8 bits": lambda: BankedRegisters(Space.REGISTER, [8, 8, 8])}
    ),
    ComponentPage(ChipTop, _chip(ChipTop)),
    ComponentPage(Engine, _chip(lambda chip: Engine(chip, HostRegisters.address_bits))),
    ComponentPage(Dispatcher, _chip(lambda chip: Dispatcher(chip, HostRegisters.address_bits))),
    ComponentPage(
        EngineRegisters, _engine(lambda engine: EngineRegisters(engine, ChipTop.address_bits))
    ),
    ComponentPage(DescriptorRing, _engine(DescriptorRing)),
    ComponentPage(DescriptorChecker, _engine(lambda engine: DescriptorChecker(engine, 1))),
    ComponentPage(LoadWatch, _each(lambda arch: LoadWatch(arch, HostRegisters.address_bits))),
    ComponentPage(ArrayPort, {"13 bits": lambda: ArrayPort(HostRegisters.address_bits)}),
    ComponentPage(ReadMerger, _engine(lambda engine: ReadMerger(engine, 6))),
    ComponentPage(WriteMerger, _engine(lambda engine: WriteMerger(engine, 4))),
    ComponentPage(ReadChannel, _engine(ReadChannel)),
    ComponentPage(WriteChannel, _engine(WriteChannel)),
    ComponentPage(ReadManager, _engine(ReadManager)),
    ComponentPage(WriteManager, _engine(WriteManager)),
    ComponentPage(RunJoiner, _engine(RunJoiner)),
    ComponentPage(BurstCutter, _engine(BurstCutter)),
    ComponentPage(PatternGenerator, _engine(PatternGenerator)),
    ComponentPage(IndexScaler, _engine(IndexScaler)),
    ComponentPage(
        TimedMemory, {"64 KiB": partial(TimedMemory, MemoryEngine(), ExternalMemory(1 << 16), 5)}
    ),
)
#: Bundles of ports, with how to make one.
BUNDLES: dict[type[wiring.Signature], wiring.Signature] = {
    AxiLite: AxiLite(HostRegisters.address_bits),
    RegisterAccess: RegisterAccess(HostRegisters.address_bits - 2),
    ConfigBus: ConfigBus(),
    RegionControl: RegionControl(CONFIGS["basic"]),
    Axi4Read: Axi4Read(MemoryEngine()),
    Axi4Write: Axi4Write(MemoryEngine()),
}


def latencies(described: ComponentPage) -> dict[str, str]:
    """Latency of each configuration, or that there is none."""
    return {
        label: str(getattr(make(), "latency", "the program's"))
        for label, make in described.configurations.items()
    }


def page(described: ComponentPage) -> str:
    """The page of a component as Markdown."""
    component, makers = described.component, described.configurations
    first = next(iter(makers))
    return "\n".join(
        [
            f"# {component.__name__}\n",
            f"`{source(component)}`. Written by `make docs`; do not edit.\n",
            *contract(component),
            f"\n## Ports ({first})\n",
            markdown(["port", "direction", "bits"], ports(makers[first]().signature)),
            "## Latency\n",
            markdown(
                ["configuration", "cycles"], [list(row) for row in latencies(described).items()]
            ),
        ]
    )


def index() -> str:
    """The list of pages, and the bundles that ports of components are made of."""
    rows = []
    for described in COMPONENTS:
        name = described.component.__name__
        rows.append(
            [
                f"[{name}]({name}.md)",
                summary(described.component),
                ", ".join(dict.fromkeys(latencies(described).values())),
            ]
        )
    parts = [
        "# Components of the array\n",
        "Written by `make docs`; do not edit.\n",
        "What a program of the array can say is in [array.md](../array.md), the arithmetic "
        "units are in [units/](../units/README.md). A component alone can be tried with "
        "`spu.rtl.observe`, as the examples do. Latencies that a program sees are those of "
        "`spu/arch/timing.py`; where several are given, they are those of the page's "
        "configurations.\n",
        markdown(["component", "what", "latency in cycles"], rows),
        "## Bundles\n",
        "Ports that travel together, with the directions of who drives them; those of AXI4-Lite "
        "with the directions of the slave.\n",
    ]
    for bundle, signature in BUNDLES.items():
        parts += [
            f"### {bundle.__name__}\n",
            f"`{source(bundle)}`\n",
            *contract(bundle),
            "",
            markdown(["port", "direction", "bits"], ports(signature)),
        ]
    return "\n".join(parts)


def texts() -> dict[Path, str]:
    """Every page by its file."""
    return {FOLDER / "README.md": index(), **{c.path: page(c) for c in COMPONENTS}}


def main() -> None:
    """Write the pages."""
    warnings.simplefilter("ignore", UnusedElaboratable)  # ports alone are wanted
    FOLDER.mkdir(exist_ok=True)
    replace_files({path: partial(_write, text) for path, text in texts().items()})


def _write(text: str, sink: BinaryIO) -> None:
    sink.write(text.encode())


if __name__ == "__main__":
    main()
