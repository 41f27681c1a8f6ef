"""The matrix unit alone: random macs and drains on rows of any bits, against the golden model."""

import numpy as np
import pytest

from spu.arch.config import weight_row
from spu.model import matrix, saturation, units
from spu.model import words as w
from spu.rtl.matrix_unit import MatrixUnit
from verif.random_programs import ARRAYS
from verif.tests.small_units import simulate

CYCLES, ROWS = 400, 8


def _modes(arch, rng):
    """Rows of matrix modes."""
    formats = len(arch.formats)
    weights = {} if arch.decoded_weights else {"w_format": int(rng.integers(formats))}
    return [
        {"offset": int(rng.integers(-400, 100)), "x_format": int(rng.integers(formats)), **weights}
        for _ in range(4)
    ]


@pytest.mark.parametrize("name", [n for n in ARRAYS if n != "basic"])
def test_random_macs_and_drains_equal_the_golden_model(name, record_property):
    """Words of all lanes, and how many saturated; the least number of drained words is printed."""
    arch, rng = ARRAYS[name], np.random.default_rng(0)
    unit, golden = MatrixUnit(arch), matrix.MatrixUnit(arch, 1)
    bits = weight_row(arch).width
    rows = {
        i: int.from_bytes(rng.bytes(bits // 8 + 1), "little") % (1 << bits) for i in range(ROWS)
    }
    weights, modes = matrix.Weights([rows], arch), _modes(arch, rng)
    meant = [matrix.MatrixMode([mode], arch) for mode in modes]
    drained: list = [None, None]  # in cycles before
    seen: dict[str, int] = {"words": 0, "saturated": 0}

    async def testbench(ctx):
        row = 0
        for cycle in range(CYCLES):
            mac, closes, ends, drain = (rng.random(4) < (0.7, 0.4, 0.5, 0.5)).tolist()
            mode = int(rng.integers(len(modes)))
            data = int.from_bytes(rng.bytes(arch.data_bits // 8), "little")
            bias = int(rng.choice([0, 255, 240, 128, rng.integers(256)]))
            part = int(rng.integers(arch.slices_per_word(meant[mode].x_format)))
            valid = int(rng.random() < 0.95)
            # The row of the mac one cycle before.
            ctx.set(unit.weights.as_value(), rows[row])
            row = int(rng.integers(ROWS))
            ctx.set(unit.x, {"data": data, "bias": bias, "valid": valid})
            ctx.set(unit.mode, modes[mode])
            for port, value in (
                (unit.slice, part),
                (unit.mac, mac),
                (unit.block_last, closes),
                (unit.last, ends),
                (unit.drain, drain),
            ):
                ctx.set(port, value)
            golden.settle(cycle)
            drained.append(golden.drain() if drain else None)
            if mac:
                word = w.from_integers([(data, bias)], arch)
                word[:, -1] = valid
                golden.mac(
                    cycle,
                    word,
                    part,
                    weights.row(row, meant[mode]),
                    meant[mode],
                    closes,
                    closes and ends,
                )
            want, count = 0, 0
            if (results := drained.pop(0)) is not None:
                words = units.drained([results], arch)
                counts = saturation.drained(words, [results], arch)
                count = 0 if counts is None else int(counts[0, 0])
                data, _ = w.to_integers(words[0])[0]
                want = (data | 1 << arch.data_bits + 8) if w.valid(words)[0, 0] else 0
                seen["words"] += bool(want)
            assert ctx.get(unit.o.as_value()) == want, cycle
            assert ctx.get(unit.saturated).bit_count() == (count if want else 0), cycle
            seen["saturated"] += count
            await ctx.tick()

    simulate(unit, testbench)
    record_property("cases", (name, seen["words"]))
    assert seen["words"] > 10
    assert seen["saturated"] > 0
