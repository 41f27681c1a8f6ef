"""Ways of the words of a chain, by the router of loops, and what contexts say of them."""

from itertools import pairwise

import numpy as np

from compiler.map.loop.crossbars import Crossbars, Fields
from compiler.map.loop.mrrg import NO_DEPENDENCE, Nets
from compiler.map.loop.pathfinder import route_placed
from compiler.map.loop.placement import Placement as Placed
from compiler.map.loop.schedule import Grid
from compiler.map.pipeline.mapping import Mapping
from compiler.map.pipeline.schedule import Word
from compiler.map.reservation import Unschedulable
from spu.arch.context import Op
from spu.arch.params import REGISTERS, Architecture


def route_chain(mapping: Mapping, words: list[Word], arch: Architecture) -> tuple[Fields, int]:
    """Fields of all contexts of a mapping, and link slots in use.

    Raises ``Unschedulable`` if there is no way for all words, ``ValueError`` if actions of the
    mapping give a field of one context two values.
    """
    ii, number = mapping.ii, {tile: i for i, tile in enumerate(arch.tiles)}
    ends = [(word.tile, word.time, [(s.tile, s.time) for s in word.sinks]) for word in words]
    # Sums read constants, each at a port for registers.
    constants = [
        (action.tile, action.time)
        for action in mapping.actions
        if action.fields.get("op") in (Op.ADD, Op.ADD_RELU)
    ]
    places = [place for tile, time, sinks in ends for place in ((tile, time), *sinks)] + constants
    begin = np.cumsum([0, *(1 + len(sinks) for *_, sinks in ends)])
    counts = [len(sinks) for *_, sinks in ends]
    sinks = np.concatenate([np.arange(first + 1, last) for first, last in pairwise(begin)])
    nothing = np.zeros(len(sinks), np.int64)
    nets = Nets(
        source=begin[:-1],
        latency=np.zeros(len(words), np.int64),
        ready=np.zeros(len(words), np.int64),
        sink_begin=np.cumsum([0, *counts]),
        sink=sinks,
        offset=nothing,
        registered=np.zeros(len(sinks), np.bool_),
        dependence=np.full(len(sinks), NO_DEPENDENCE),
        net=np.repeat(np.arange(len(words)), counts),
        choice_begin=np.zeros(len(places) + 1, np.int64),
        choice=np.zeros(0, np.int64),
    )
    placed = Placed(
        time=np.array([time for _, time in places], np.int64),
        tile=np.array([number[tile] for tile, _ in places], np.int64),
        reservation=np.zeros((len(arch.tiles), ii), np.int64),
        guards=np.zeros((len(arch.tiles), 1), np.int64),
    )
    latest = np.array([max(time for _, time in ways) - time for _, time, ways in ends], np.int64)
    constant = np.arange(len(places)) >= len(places) - len(constants)
    routes = route_placed(
        Grid(arch.rows, arch.cols, {}), ii, REGISTERS, nets, placed, constant, latest
    )
    if isinstance(routes, str):
        raise Unschedulable(routes)
    fields: Fields = {}
    for action in mapping.actions:
        here = fields.setdefault((action.tile, action.time % ii), {})
        for name, given in action.fields.items():
            value = given if isinstance(given, int) else int(given.value)
            if here.setdefault(name, value) != value:
                raise ValueError(
                    f"two values for {name} of tile {action.tile} in slot {action.time % ii}"
                )
    crossbars = Crossbars(routes, ii, fields)
    for word, tree in zip(words, routes.trees, strict=True):
        crossbars.connect(tree, word.source)
        for sink in word.sinks:
            source = crossbars.source(tree, (sink.tile, sink.time), word.source)
            fields.setdefault((sink.tile, sink.time % ii), {})[sink.field] = source
    return fields, routes.link_slots
