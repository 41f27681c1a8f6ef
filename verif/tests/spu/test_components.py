"""The array's components: what their contracts say of cycles and of bad parameters."""

import ast
import importlib
import inspect
import pkgutil
import re

import numpy as np
import pytest
from amaranth.lib import wiring

import pal_units.rtl
import spu.rtl
from spu.arch import bitstream, timing
from spu.arch.bitstream import Image
from spu.arch.config import Space, depth
from spu.arch.context import CONTEXT, Op, Source
from spu.arch.memory import MemoryEngine
from spu.arch.packing import pack, to_words
from spu.arch.params import KINDS, Architecture
from spu.rtl.address import AddressGenerator
from spu.rtl.alu import Alu
from spu.rtl.axi import AxiLiteSlave
from spu.rtl.chip import ChipTop
from spu.rtl.config_store import BankedMemory, BankedRegisters
from spu.rtl.data_memory import DataMemory
from spu.rtl.datapath import Datapath
from spu.rtl.fifo import StreamFifo
from spu.rtl.host import HostRegisters
from spu.rtl.loader import Loader
from spu.rtl.matrix_unit import MatrixUnit
from spu.rtl.memory.cutter import BurstCutter
from spu.rtl.memory.engine import Engine
from spu.rtl.memory.gather import IndexScaler
from spu.rtl.memory.joiner import RunJoiner
from spu.rtl.memory.merger import ReadMerger, WriteMerger
from spu.rtl.memory.pattern import PatternGenerator
from spu.rtl.memory.read_channel import ReadChannel
from spu.rtl.memory.read_manager import ReadManager
from spu.rtl.memory.write_channel import WriteChannel
from spu.rtl.memory.write_manager import WriteManager
from spu.rtl.observe import ONE, observe
from spu.rtl.sequencer import Sequencer
from spu.rtl.tile import Tile
from spu.rtl.top import Spu
from spu.rtl.trace import Trace
from spu.rtl.vector_lane import VectorLane
from spu.rtl.vector_unit import VectorUnit
from spu.rtl.window import Window
from spu.rtl.zeroing import Zeroing
from verif.pages import array_pages, contracts
from verif.tests.small_units import simulate

WORD = {"data": 5, "valid": 1}
READ = {"bus.araddr": 0, "bus.arvalid": 1, "registers.read_done": 1, "registers.read_data": 7}


def _program(**context):
    """A context word for slot 0 through the configuration bus of a tile, and a swap of banks."""
    words = to_words(pack(CONTEXT, context), 2)
    return [
        *(
            {
                "config.write": 1,
                "config.space": Space.CONTEXT,
                "config.word": i,
                "config.data": word,
            }
            for i, word in enumerate(words)
        ),
        {"config.write": 0, "control.fetch": 1, "control.next_bank": 1},
        {"control.bank": 1},
    ]


#: Maker, steps before, the step that asks, the output that is 0 until it answers.
ANSWERS = {
    "AddressGenerator": (lambda: AddressGenerator(8), [], {"base": 3}, "address"),
    "Alu": (lambda: Alu(ONE), [], {"op": Op.PASS, "enable": 1, "a": WORD}, "o.valid"),
    "AxiLiteSlave": (lambda: AxiLiteSlave(4), [], READ, "bus.rvalid"),
    "BankedRegisters": (
        lambda: BankedRegisters(Space.REGISTER, [8]),
        [
            {"config.write": 1, "config.space": Space.REGISTER, "config.data": 9},
            {"config.write": 0},
        ],
        {"bank": 1},
        "values",
    ),
    "BankedMemory, registered": (
        lambda: BankedMemory(Space.CONTEXT, 2, 8, True),
        [
            {"config.write": 1, "config.space": Space.CONTEXT, "config.data": 9},
            {"config.write": 0, "bank": 1},
        ],
        {"read_enable": 1, "read_bank": 1},
        "read_data",
    ),
    "BankedMemory": (
        lambda: BankedMemory(Space.CONTEXT, 2, 8, False),
        [
            {"config.write": 1, "config.space": Space.CONTEXT, "config.data": 9},
            {"config.write": 0, "bank": 1},
        ],
        {"read_bank": 1},
        "read_data",
    ),
    "DataMemory": (
        lambda: DataMemory(ONE),
        [{"write": 1, "write_address": 1, "write_data": {"data": 9}}, {"write": 0}],
        {"read": 1, "read_address": 1},
        "read_data.data",
    ),
    "Datapath": (
        lambda: Datapath(ONE, KINDS["a"]),
        [{"context": {"south": Source.NORTH}}],
        {"north_i": WORD},
        "south_o.valid",
    ),
    "BurstCutter": (lambda: BurstCutter(MemoryEngine()), [], {"i.valid": 1}, "o.valid"),
    "IndexScaler": (lambda: IndexScaler(MemoryEngine()), [], {"i.valid": 1, "take": 1}, "o.valid"),
    "PatternGenerator": (
        lambda: PatternGenerator(MemoryEngine()),
        [],
        {"pattern.valid": 1},
        "o.valid",
    ),
    "ReadManager, requests": (
        lambda: ReadManager(MemoryEngine()),
        [],
        {"i.valid": 1},
        "bus.arvalid",
    ),
    "ReadManager, answers": (
        lambda: ReadManager(MemoryEngine()),
        [{"i.valid": 1, "bus.arready": 1}, {"i.valid": 0}, {}],
        {"bus.rvalid": 1, "bus.rlast": 1},
        "o.valid",
    ),
    "ReadChannel": (
        lambda: ReadChannel(MemoryEngine()),
        [],
        {"i.valid": 1, "limit": 64},
        "bus.arvalid",
    ),
    "RunJoiner": (lambda: RunJoiner(MemoryEngine()), [], {"i.valid": 1, "hurry": 1}, "o.valid"),
    "WriteChannel": (
        lambda: WriteChannel(MemoryEngine()),
        [],
        {"i.valid": 1, "words.valid": 1, "limit": 64},
        "bus.awvalid",
    ),
    "WriteManager": (lambda: WriteManager(MemoryEngine()), [], {"i.valid": 1}, "bus.awvalid"),
    "StreamFifo": (lambda: StreamFifo(8, 2), [], {"i.valid": 1}, "o.valid"),
    "HostRegisters": (lambda: HostRegisters(ONE), [], {"bus.arvalid": 1}, "bus.rvalid"),
    "MatrixUnit": (
        lambda: MatrixUnit(ONE),
        [{"drain": 1}],
        {"x": {"data": 0x7F7F, "valid": 1}, "mac": 1, "block_last": 1, "last": 1},
        "o.valid",
    ),
    "Sequencer": (lambda: Sequencer(ONE, 0), [], {"start": 1, "iterations": 1}, "active"),
    "Tile": (
        lambda: Tile(ONE, KINDS["a"]),
        [*_program(south=Source.NORTH.value), {"control.step": 1}],
        {"north_i": WORD},
        "south_o.valid",
    ),
    "Trace": (
        lambda: Trace(ONE),
        [{"step": 1, "word": WORD, "index": 1}, {"step": 0}],
        {"index": 0},
        "o.valid",
    ),
    "VectorLane": (VectorLane, [], {"op": Op.ABS, "a": 5}, "o"),
    "VectorUnit, sums": (
        lambda: VectorUnit(ONE),
        [],
        {"op": Op.ADD, "enable": 1, "a": WORD, "b": WORD},
        "total.valid",
    ),
    "VectorUnit": (lambda: VectorUnit(ONE), [], {"op": Op.ABS, "enable": 1, "a": WORD}, "o.valid"),
    "Window": (
        lambda: Window(ONE),
        [{"set_select": 1, "value": Space.CONTEXT.value}, {"set_select": 0}],
        {"read": 1},
        "read_done",
    ),
}


@pytest.mark.parametrize("name", list(ANSWERS))
def test_a_component_answers_after_its_latency(name):
    make, before, asks, output = ANSWERS[name]
    component = make()
    latency = timing.VECTOR if name == "VectorUnit" else component.latency
    shown = [
        bool(np.any(value))
        for value in observe(component, [*before, asks, *[{}] * (latency + 2)], output)
    ]
    assert shown[: len(before) + latency + 1] == [False] * (len(before) + latency) + [True]


def test_a_matrix_unit_has_its_results_after_the_cycles_of_accumulation():
    last = {"x": {"data": 0x7F7F, "valid": 1}, "mac": 1, "block_last": 1, "last": 1}
    for early in (False, True):
        wait = timing.ACCUMULATE - 1 - early
        steps = [last, {"mac": 0}, *[{}] * (wait - 1), {"drain": 1}, {"drain": 0}, *[{}] * 4]
        assert any(observe(MatrixUnit(ONE), steps, "o.valid")) is not early


def test_zeroing_takes_its_latency():
    for pattern in ("M", "m"):
        arch = Architecture("small", (pattern,), 2, 1, contexts=2, memory_words=4, weight_rows=2)
        component = Zeroing(arch)
        busy = observe(component, [{}] * (component.latency + 2), "busy")
        assert busy == [1] * component.latency + [0, 0]


def test_a_whole_row_is_written_at_once():
    write = {"config.write": 1, "config.whole": 1, "config.row": 1, "config.data": 0x1234}
    done = {"config.write": 0}
    memory = BankedMemory(Space.WEIGHT, 2, 96, True)
    steps = [write | {"config.space": Space.WEIGHT}, done | {"read_bank": 1, "bank": 1}]
    for row, found in ((0, 0), (1, 0x1234_0000_1234_0000_1234)):
        read = [{"read_row": row, "read_enable": 1}, {}]
        assert observe(memory, [*steps, *read], "read_data")[-1] == found
    words = DataMemory(ONE)
    steps = [write | {"config.space": Space.MEMORY}, done | {"half": 1}]
    for address, found in ((0, 0), (1, 0x1234_0000_1234)):
        read = [{"read": 1, "read_address": address}, {}]
        assert observe(words, [*steps, *read], "read_data.data")[-1] == found


def test_a_loader_clears_a_row_a_cycle():
    image = Image(ONE)
    words = np.frombuffer(bitstream.encode(image), "<u4").tolist()
    unit = Loader(ONE)
    cleared = {}

    async def testbench(ctx):
        for word in words:
            ctx.set(unit.i.payload, word)
            ctx.set(unit.i.valid, 1)
            while not ctx.get(unit.i.ready):
                await record(ctx)
            await record(ctx)

    async def record(ctx):
        if ctx.get(unit.config.write):
            assert (ctx.get(unit.config.whole), ctx.get(unit.config.data)) == (1, 0)
            cleared.setdefault(ctx.get(unit.config.space), []).append(ctx.get(unit.config.row))
        await ctx.tick()

    simulate(unit, testbench)
    spaces = [s for s in Space if s is not Space.MEMORY]  # which programs of no memory keep
    assert cleared == {s.value: list(range(depth(s, ONE))) for s in spaces}


def test_a_loader_commits_its_latency_after_the_last_word():
    image = Image(ONE)
    image.write(Space.CONTEXT, (0, 0), 0, {"op": 33})
    unit = Loader(ONE)

    async def testbench(ctx):
        ctx.set(unit.i.valid, 1)
        for word in np.frombuffer(bitstream.encode(image), "<u4").tolist():
            ctx.set(unit.i.payload, word)
            while not ctx.get(unit.i.ready):
                await ctx.tick()
            await ctx.tick()
        ctx.set(unit.i.valid, 0)
        for _ in range(Loader.latency - 1):
            assert not ctx.get(unit.commit)
            await ctx.tick()
        assert ctx.get(unit.commit)

    simulate(unit, testbench)


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (lambda: AddressGenerator(0), "bits must be 1 to 12, those of a base, not 0"),
        (lambda: AddressGenerator(13), "not 13"),
        (
            lambda: AxiLiteSlave(2),
            "address_bits must be at least 3, two of them within a word, not 2",
        ),
        (lambda: BankedRegisters(Space.REGISTER, [8, 33]), r"must be 0 to 32, not \[33\]"),
        (lambda: BankedMemory(Space.CONTEXT, 3, 8, True), "depth must be a power of two, not 3"),
        (lambda: BankedMemory(Space.CONTEXT, 2, 0, True), "width must be at least 1, not 0"),
        (lambda: StreamFifo(8, 3), "depth must be a power of two of at least 2, not 3"),
        (lambda: StreamFifo(0, 4), "width must be at least 1, not 0"),
        (lambda: Sequencer(ONE, 1), "region must be 0 to 0, not 1"),
    ],
)
def test_bad_parameters_are_refused_with_the_rule(make, rule):
    with pytest.raises(ValueError, match=rule):
        make()


def _components(package):
    """Component classes that the modules of a package define."""
    for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        module = importlib.import_module(info.name)
        yield from (
            found
            for found in vars(module).values()
            if inspect.isclass(found)
            and issubclass(found, wiring.Component)
            and found.__module__ == module.__name__
        )


COMPONENTS = [*_components(spu.rtl)]
NAME = {"ids": lambda component: component.__name__}


def test_every_component_has_a_page():
    assert {page.component for page in array_pages.COMPONENTS} == set(COMPONENTS)
    assert len(array_pages.COMPONENTS) == len(COMPONENTS)


@pytest.mark.parametrize(
    "described", array_pages.COMPONENTS, ids=lambda page: page.component.__name__
)
def test_a_contract_names_every_port_parameter_and_property(described):
    component = described.component
    parts = contracts.sections(component.__doc__)
    items = [line.split(":")[0] for line in parts["Contract"] if not line.startswith(" ")]
    assert [x for x in items if x] == ["Latency", "Throughput", "Holds", "Reset", "Corner cases"]
    constructor = component.__dict__.get("__init__")
    parameters = inspect.signature(constructor).parameters if constructor else {"self": None}
    told = [
        line.split(":")[0]
        for line in parts.get("Parameters", ())
        if line and not line.startswith(" ")
    ]
    assert told == [*parameters][1:]
    assert ("Raises" in parts) == ("ValueError" in inspect.getsource(component.__init__))
    members = "\n".join(parts["Members"])
    for make in described.configurations.values():
        for name in make().signature.members:
            general = _general(name) if component in NUMBERED else name
            assert re.search(rf"\b{general}\b", members), name


#: Components with ports that differ by a number or a name.
NUMBERED = (HostRegisters, Spu, ChipTop, Engine, ReadMerger, WriteMerger)


def _general(name):
    """Name of a port as the contract has it, with a letter for a number or a name."""
    for pattern, letter in (
        (r"^(s_axil_|m_axi_).*", "NAME"),
        (r"^(i_)\d+$", "N"),
        (r"^(to_|from_)\d+$", "C"),
        (r"^(event_).*", "NAME"),
        (r"^(trace_)\d+$", "I"),
        (r"^([sm]_axis_)\d+(?=_)", "C"),
        (r"^((?:iterations|region|active_file|shadow_file)_)\d+$", "R"),
    ):
        name = re.sub(pattern, rf"\g<1>{letter}", name)
    return name


@pytest.mark.parametrize(
    "described", array_pages.COMPONENTS, ids=lambda page: page.component.__name__
)
def test_a_component_has_an_integer_latency(described):
    """But the whole array, whose latency is its program's."""
    if described.component is not Spu:
        assert all(type(make().latency) is int for make in described.configurations.values())


@pytest.mark.parametrize("component", [*COMPONENTS, *_components(pal_units.rtl)], **NAME)
def test_only_constructors_set_attributes(component):
    """So that no method waits for what another one left behind."""
    for function in ast.walk(ast.parse(inspect.getsource(component))):
        if isinstance(function, ast.FunctionDef) and function.name != "__init__":
            assert [
                node.attr
                for node in ast.walk(function)
                if isinstance(node, ast.Attribute)
                and isinstance(node.ctx, ast.Store)
                and isinstance(node.value, ast.Name)
                and node.value.id == "self"
            ] == []
