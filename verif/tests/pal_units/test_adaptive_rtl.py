"""Units of profile A, and dot products with biases at the edge, against the numpy model."""

from dataclasses import replace

import pytest

from pal_units.dot_params import DOT_PARAMS
from pal_units.formats import (
    ADAPTIVE,
    PAL4A,
    PAL4T,
    PAL6A,
    PAL6U,
    PAL8A,
    PAL8T,
    PAL8U,
    PAL16,
    Format,
)
from pal_units.model import adaptive
from pal_units.rtl.block_encoder import BlockEncoder, CodebookEncoder
from pal_units.rtl.codebook import ByteDecoder, CodebookDecoder, OperandDecoder
from pal_units.rtl.decoder import ElementDecoder
from pal_units.rtl.elementwise import Multiplier
from pal_units.rtl.evaluate import evaluate
from pal_units.rtl.matrix import DotMatrix, DotUnit
from pal_units.rtl.widen import Widener
from rtl.simulator import SimulationError
from spu.arch.params import DOTS
from verif.stimulus import adaptive_cases as cases
from verif.stimulus.codes import TOGETHER
from verif.stimulus.vectors import Vectors, check_units

ALL = (*ADAPTIVE.values(), cases.FOUR_BOOKS, cases.ONE_BOOK)


def _check(made, work, record_property):
    counts = check_units({name: Vectors(*case) for name, case in made.items()}, work)
    for name, count in counts.items():
        assert count
        record_property("cases", (name, count))
    return counts


def test_every_byte_and_every_code_of_every_codebook_decodes(tmp_path, record_property):
    made = {f"byte of {f.name}": cases.byte_decoder(f) for f in ALL}
    for f in ALL:
        made[f"codes of {f.name}"] = cases.codebook_decoder(f)
        if f.fraction_bits <= 8:
            made[f"codes of {f.name} within two octaves"] = cases.far_codebook_decoder(f)
    counts = _check(made, tmp_path, record_property)
    assert counts["codes of PAL4A"] == 8 * 16
    assert counts["codes of PAL8A"] == 4 * 256
    assert counts["byte of PAL6A"] == 256


def test_operands_decode_with_their_biases_for_every_code_and_byte(tmp_path, record_property):
    made = {f.name: cases.operand_decoder(f) for f in (*ALL, PAL8T, PAL8U, PAL6U, PAL4T)}
    for f in (PAL4A, PAL6A, PAL4T, PAL8T):
        made[f"{f.name} within two octaves"] = cases.near_operand_decoder(f)
    for f in TOGETHER:
        made[f"{f.name} of several"] = cases.operand_decoder(
            f, OperandDecoder(TOGETHER, DOTS["lean"], 2)
        )
    counts = _check(made, tmp_path, record_property)
    assert counts["PAL8A"] == counts["PAL8T"] == counts["PAL8T of several"] == 1 << 16


def test_the_encoder_of_a_codebook_is_nearest_at_every_threshold(tmp_path, record_property):
    counts = _check({f.name: cases.codebook_encoder(f) for f in ALL}, tmp_path, record_property)
    assert counts["PAL4A"] > 100_000


def test_blocks_are_encoded_as_the_model_does_with_bubbles_between(tmp_path, record_property):
    made = {
        f.name: cases.block_encoder(f, count=count)
        for f, count in zip(ALL, (3000, 1200, 600, 2000, 2000), strict=True)
    }
    _check(made, tmp_path, record_property)


def test_a_block_alone_is_encoded_as_its_page_says():
    """All halves, one of them negative, and a zero."""
    top = PAL16.m_max - 1024
    values = [top] * 14 + [top | PAL16.sign_bit, 0]
    found = evaluate(BlockEncoder(PAL4A), push=1, values=values)
    codes, byte = adaptive.reblock(values, PAL4A)
    assert found["codes"] == list(codes)
    assert found["block_byte"] == int(byte) & 255
    assert found["valid"] == 1


def test_dot_products_with_biases_at_the_edge_equal_the_model(tmp_path, record_property):
    made = {f.name: cases.edge_dot(f) for f in (*ALL, PAL8T, PAL8U, PAL6U, PAL4T)}
    made["PAL4A of whole blocks"] = cases.edge_dot(PAL4A, lanes=16)
    made["PAL4A a code a cycle"] = cases.edge_dot(PAL4A, lanes=1, blocks=200)
    for f in (PAL6A, PAL8T):
        made[f"{f.name} within four octaves"] = cases.near_edge_dot(f)
    _check(made, tmp_path, record_property)


def test_matrices_of_dot_products_with_biases_at_the_edge_equal_the_model(
    tmp_path, record_property
):
    made = {f.name: cases.edge_matrix(f) for f in (PAL4A, PAL8A, PAL8T)}
    _check(made, tmp_path, record_property)


def test_a_wrong_level_is_found(tmp_path):
    """That the vectors can fail: one expected distance of 128 is another."""
    unit, inputs, want, _, care = cases.codebook_decoder(PAL4A)
    want["o"][5] ^= 1
    with pytest.raises(SimulationError, match="1 of 128 vectors differ; vector 5"):
        check_units({"unit": Vectors(unit, inputs, want, care=care)}, tmp_path)


EDGE = DOT_PARAMS["PAL4A"]
NO_PICKS = replace(PAL4A, codebooks=replace(PAL4A.codebooks, picks=()))


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (lambda: ByteDecoder(PAL8T), "profile A is needed, PAL8T is of T"),
        (lambda: CodebookDecoder(PAL8U, 6), "profile A is needed, PAL8U is of U"),
        (lambda: CodebookDecoder(PAL8A, 5), "PAL8A needs fraction_bits >= 6, not 5"),
        (lambda: OperandDecoder((PAL4A,), replace(EDGE, edge_biases=False), 4), "edge_biases only"),
        (lambda: OperandDecoder((PAL8A,), EDGE, 4), "PAL8A needs fraction_bits >= 6, not 3"),
        (lambda: OperandDecoder((PAL8T,), EDGE, 4), "PAL8T needs fraction_bits >= 5, not 3"),
        (lambda: CodebookEncoder(PAL6U), "profile A is needed, PAL6U is of U"),
        (lambda: BlockEncoder(PAL4T), "profile A is needed, PAL4T is of T"),
        (lambda: BlockEncoder(NO_PICKS), "PAL4A has no picks for the hardware's encoder"),
        (
            lambda: DotUnit(PAL4A, replace(EDGE, edge_biases=False), 16),
            "products of PAL4A need params with edge_biases",
        ),
        (
            lambda: DotMatrix((PAL8T, PAL8A), DOT_PARAMS["PAL8T"], 16, 1),
            "products of PAL8A need params with edge_biases",
        ),
        (lambda: OperandDecoder((PAL4A,), EDGE, 0), "lanes must be at least 1, not 0"),
        (lambda: OperandDecoder((PAL8T,), DOT_PARAMS["PAL8A"], -1), "at least 1, not -1"),
        (
            lambda: OperandDecoder((PAL8T, Format("U8x", 8, "U", 5)), DOT_PARAMS["PAL8A"], 1),
            "codes of U8x are not codes of PAL8U",
        ),
        (lambda: DotUnit(PAL4A, EDGE, 3), "divide the block of 16, not 3"),
        (lambda: DotUnit(PAL6A, EDGE, 4), "PAL6A needs fraction_bits >= 4, not 3"),
        (lambda: DotMatrix((PAL4A,), EDGE, 4, 0), "columns must be at least 1, not 0"),
        (
            lambda: DotMatrix((PAL4A, PAL4A), EDGE, 4, 1),
            r"edge_biases are for one format, not \['PAL4A', 'PAL4A'\]",
        ),
        (lambda: DotMatrix((), EDGE, 4, 1), r"for one format, not \[\]"),
        (lambda: ElementDecoder((PAL4A,), 5), "PAL4A is of profile A: its codes need"),
        (lambda: ElementDecoder((PAL8T, PAL8A), 6), "PAL8A is of profile A: its codes need"),
        (lambda: Widener((PAL4A,)), "codes of PAL4A are not codes of PAL8T"),
        (lambda: Multiplier(PAL8A).elaborate(None), "PAL8A is of profile A: its codes need"),
    ],
)
@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
def test_units_refuse_formats_and_bits_that_do_not_fit(make, rule):
    with pytest.raises(ValueError, match=rule):
        make()
