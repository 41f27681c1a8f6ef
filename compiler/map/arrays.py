"""What an array must have so that models can be compiled for it."""

from compiler.errors import CompileError
from spu.arch.params import BLOCK, Architecture


def check_array(arch: Architecture, products: bool = True) -> None:
    """Raise ``CompileError`` for an array that no model is compiled for.

    ``products``: the model has matrix products.
    """
    if arch.region_count > 1:
        raise CompileError(f"{arch.name} has {arch.region_count} regions, a model takes one")
    if not products:
        return
    if not arch.matrix_tiles:
        raise CompileError(f"{arch.name} has no tile with a matrix unit")
    if arch.weight_rows * arch.lanes < BLOCK:
        raise CompileError(
            f"{arch.name} has {arch.weight_rows} weight rows of {arch.lanes} codes "
            f"a column, too few for a block of {BLOCK}"
        )
    if arch.pushes_per_block > arch.contexts:
        raise CompileError(
            f"{arch.name} has {arch.contexts} contexts, a block takes {arch.pushes_per_block}"
        )
