"""Matrix of dot products on codes: decoders at the edge and a ``DotColumn`` a column."""

from typing import Any

from amaranth.hdl import Module, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from pal_units.dot_params import DotParams
from pal_units.formats import Format
from pal_units.rtl.codebook import OperandDecoder, check_operands
from pal_units.rtl.decoder import ElementDecoder, check_block, check_formats, element_layout
from pal_units.rtl.dot import DotColumn


class DotMatrix(wiring.Component):
    """Dot products of one stream of codes with ``columns`` streams of weights.

    A block adds ``2^((beta_x + beta_w)/8) * sum_i p_i`` to the accumulator of a column.
    The sum is exact, so that order does not matter; the product ``p`` is an antilog of
    ``L`` bits of the exact log, cut to ``k`` bits:
    ``|error| <= 2^-(L+1) * sum |p_i| + N * 2^-(k-1) * p_max`` of a block of ``N``; the
    octaves of a block's biases shift it down to a unit of the accumulator.

    Each cycle takes ``lanes`` codes of ``x`` and a row of ``columns x lanes`` weights; the
    codes of ``x`` are decoded once for all columns.  Latency 3, throughput one slice a
    cycle; see ``DotColumn`` for the control inputs and the result set.  Under ``edge_biases``
    the fraction of each bias goes into the operands where they are decoded, not into the lanes.

    Parameters
    ----------
    formats: formats of the same ``n`` and block, chosen at run time by ``x_format`` and
        ``w_format``, which are ignored if there is only one.  One under ``edge_biases``, which
        profile A needs.
    params: bits kept; its ``fraction_bits`` are at least those of every format.
    lanes, columns: products a column a cycle, a divisor of the block; columns.

    Members
    -------
    x : In(lanes x n); x_beta : In(signed(8)), in profile A a block's byte; x_format, w_format : In
    w : In(columns x lanes x n); w_beta : In(columns x signed(8))
    mac, block_last, last : In(1)
    result : Out(columns x signed(accumulator_bits)); nan : Out(columns)

    ``overflowed``, a signal (columns x 2) beside ``result``: see ``DotColumn``.

    Raises
    ------
    ValueError: formats that one decoder cannot serve, or of different blocks, several under
        ``edge_biases``, profile A without it, lanes that do not divide the block, or no columns.

    Example
    -------
    >>> from pal_units.dot_params import DOT_PARAMS
    >>> from pal_units.formats import PAL8T
    >>> from pal_units.rtl.evaluate import evaluate
    >>> from pal_units.tables import octaves_below
    >>> unit = DotMatrix((PAL8T.with_block(2),), DOT_PARAMS["PAL8T"], lanes=2, columns=2)
    >>> done = evaluate(unit, x=[95, 95], w=[[127, 127], [95, 0]], mac=1, block_last=1, last=1)
    >>> top = 2**octaves_below(DOT_PARAMS["PAL8T"])
    >>> [round(done["result"][i] / top, 3) for i in range(2)]
    [0.999, 0.25]
    """

    latency = DotColumn.latency

    def __init__(
        self, formats: tuple[Format, ...], params: DotParams, lanes: int, columns: int
    ) -> None:
        adaptive = [f.name for f in formats if f.codebooks is not None]
        if adaptive and not params.edge_biases:
            raise ValueError(f"products of {adaptive[0]} need params with edge_biases")
        if not params.edge_biases:
            check_formats(formats, params.fraction_bits)
        elif len(formats) != 1:
            raise ValueError(f"edge_biases are for one format, not {[f.name for f in formats]}")
        else:
            check_operands(formats, params)
        check_block(formats, lanes=lanes)
        if columns < 1:
            raise ValueError(f"columns must be at least 1, not {columns}")
        self.formats, self.params, self.lanes, self.columns = formats, params, lanes, columns
        codes = data.ArrayLayout(formats[0].n, lanes)
        select = range(max(len(formats), 2))
        super().__init__(
            {
                "x": In(codes),
                "x_beta": In(signed(8)),
                "x_format": In(select),
                "w_format": In(select),
                "w": In(data.ArrayLayout(codes, columns)),
                "w_beta": In(data.ArrayLayout(signed(8), columns)),
                "mac": In(1),
                "block_last": In(1),
                "last": In(1),
                "result": Out(data.ArrayLayout(signed(params.accumulator_bits), columns)),
                "nan": Out(columns),
            }
        )
        self.overflowed = Signal(data.ArrayLayout(2, columns))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        p = self.params
        if p.edge_biases:
            self._elaborate_edge(m)
            return m
        element = element_layout(self.formats, p.fraction_bits, p.operand_octaves)

        def decoded(code: object, select: object, name: str) -> Any:
            m.submodules[name] = unit = ElementDecoder(
                self.formats, p.fraction_bits, p.operand_octaves
            )
            m.d.comb += [unit.code.eq(code), unit.select.eq(select)]
            return unit.o

        x = [decoded(self.x[lane], self.x_format, f"decode_x_{lane}") for lane in range(self.lanes)]
        for c in range(self.columns):
            m.submodules[f"column_{c}"] = column = DotColumn(
                element, self.params, self.lanes, self.formats[0].block
            )
            for lane in range(self.lanes):
                m.d.comb += [
                    column.a[lane].eq(x[lane]),
                    column.a[lane].zero.eq(x[lane].zero | ~self.mac),
                    column.b[lane].eq(
                        decoded(self.w[c][lane], self.w_format, f"decode_w_{c}_{lane}")
                    ),
                ]
            m.d.comb += [column.beta_a.eq(self.x_beta), column.beta_b.eq(self.w_beta[c])]
            self._connect(m, c, column)
        return m

    def _elaborate_edge(self, m: Module) -> None:
        """Operands decoded with their biases: ``x`` once, weights once each."""
        fmt, p = self.formats[0], self.params
        m.submodules.decode_x = x = OperandDecoder((fmt,), p, self.lanes)
        m.d.comb += [x.codes.eq(self.x), x.bias.eq(self.x_beta)]
        for c in range(self.columns):
            m.submodules[f"decode_w_{c}"] = w = OperandDecoder((fmt,), p, self.lanes)
            m.submodules[f"column_{c}"] = column = DotColumn(x.element, p, self.lanes, fmt.block)
            m.d.comb += [
                w.codes.eq(self.w[c]),
                w.bias.eq(self.w_beta[c]),
                column.a.eq(x.o),
                *(column.a[lane].zero.eq(x.o[lane].zero | ~self.mac) for lane in range(self.lanes)),
                column.b.eq(w.o),
                column.octaves_a.eq(x.octaves),
                column.octaves_b.eq(w.octaves),
                column.zero_a.eq(x.zero),
                column.zero_b.eq(w.zero),
                column.nan_a.eq(x.nan),
                column.nan_b.eq(w.nan),
            ]
            self._connect(m, c, column)

    def _connect(self, m: Module, c: int, column: DotColumn) -> None:
        m.d.comb += [
            column.mac.eq(self.mac),
            column.block_last.eq(self.block_last),
            column.last.eq(self.last),
            self.result[c].eq(column.result),
            self.nan[c].eq(column.nan),
            self.overflowed[c].eq(column.overflowed),
        ]


class DotUnit(wiring.Component):
    """Dot products of two streams of codes of one format, ``lanes`` pairs a cycle.

    A ``DotMatrix`` of one column: ``2^((beta_a + beta_b)/8) * sum_i a_i b_i`` over blocks,
    with its error bound.  Latency 3, throughput one slice a cycle.
    ``block`` must be a multiple of ``lanes``.

    Members
    -------
    a, b : In(lanes x n bits); beta_a, beta_b : In(signed(8)); mac, block_last, last : In(1)
    result : Out(signed(accumulator_bits)); nan : Out(1)

    Example
    -------
    >>> from pal_units.dot_params import DOT_PARAMS
    >>> from pal_units.formats import PAL8T
    >>> from pal_units.rtl.evaluate import evaluate
    >>> from pal_units.tables import octaves_below
    >>> unit = DotUnit(PAL8T.with_block(2), DOT_PARAMS["PAL8T"], lanes=2)
    >>> top = 2**octaves_below(DOT_PARAMS["PAL8T"])
    >>> done = evaluate(unit, a=[95, 95], b=[95, 95], mac=1, block_last=1, last=1)
    >>> round(done["result"] / top, 3), done["nan"]
    (0.5, 0)
    """

    latency = DotMatrix.latency

    def __init__(self, fmt: Format, params: DotParams, lanes: int) -> None:
        self.matrix = DotMatrix((fmt,), params, lanes, 1)
        codes = data.ArrayLayout(fmt.n, lanes)
        super().__init__(
            {
                "a": In(codes),
                "b": In(codes),
                "beta_a": In(signed(8)),
                "beta_b": In(signed(8)),
                "mac": In(1),
                "block_last": In(1),
                "last": In(1),
                "result": Out(signed(params.accumulator_bits)),
                "nan": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.matrix = matrix = self.matrix
        m.d.comb += [
            matrix.x.eq(self.a),
            matrix.x_beta.eq(self.beta_a),
            matrix.w[0].eq(self.b),
            matrix.w_beta[0].eq(self.beta_b),
            matrix.mac.eq(self.mac),
            matrix.block_last.eq(self.block_last),
            matrix.last.eq(self.last),
            self.result.eq(matrix.result[0]),
            self.nan.eq(matrix.nan),
        ]
        return m
