"""The layouts of ``spu.arch`` as those of Amaranth."""

from functools import cache
from typing import Any

from amaranth.hdl import Shape
from amaranth.lib import data

from spu.arch import config, context
from spu.arch.packing import Layout
from spu.arch.params import Architecture


@cache
def of(layout: Layout) -> Any:
    """A struct or array as a layout of Amaranth, a number as its shape."""
    if layout.kind is int:
        if layout.members is not None and Shape.cast(layout.members).width == layout.width:
            return layout.members
        return Shape(layout.width, layout.signed)
    if layout.kind is dict:
        return data.StructLayout({key: of(field) for key, _, field in layout})
    return data.ArrayLayout(of(layout[0]), len(layout.fields))


CONTEXT = of(context.CONTEXT)
VECTOR_MODE = of(config.VECTOR_MODE)
GUARD, STREAM, PREDICATE, LOOP = map(
    of, (config.GUARD, config.STREAM, config.PREDICATE, config.LOOP)
)
SEQUENCER_II, SEQUENCER_SPAN = of(config.SEQUENCER_II), of(config.SEQUENCER_SPAN)
ADDRESS_LOOP, ADDRESS_BASE = of(config.ADDRESS_LOOP), of(config.ADDRESS_BASE)


def word_layout(arch: Architecture) -> data.StructLayout:
    """``context.word_layout``."""
    return of(context.word_layout(arch))


def stored_word(arch: Architecture) -> data.StructLayout:
    """``config.stored_word``."""
    return of(config.stored_word(arch))


def weight_row(arch: Architecture) -> data.StructLayout:
    """``config.weight_row``."""
    return of(config.weight_row(arch))


def matrix_mode(arch: Architecture) -> data.StructLayout:
    """``config.matrix_mode``."""
    return of(config.matrix_mode(arch))


def row_layout(space: config.Space, row: int, arch: Architecture) -> data.Layout:
    """``config.row_layout``."""
    return of(config.row_layout(space, row, arch))
