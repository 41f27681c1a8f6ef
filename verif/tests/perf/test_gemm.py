"""Products on GPUs: the formula by hand, and constants that are refused."""

from dataclasses import replace

import numpy as np
import pytest

from perf.gemm import Constants, Energy, Stack, predict, seconds
from perf.machines import Machine, Quantity
from perf.stacks import StackError, stack, stacks

#: 4 processors, 400 GFLOP/s, 100 GB/s, 50 W.
DEVICE = Machine(
    "toy",
    "toy",
    "gpu",
    {
        "processors": {"count": Quantity(4, "", 2020)},
        "peak": {"bfloat16": Quantity(400e9, "", 2020), "fp8": Quantity(800e9, "", 2020)},
        "memory": {"bandwidth": Quantity(100e9, "", 2020)},
        "power": {"watts": Quantity(50, "", 2020)},
    },
)
#: An exponent with which the longest part hides the others all but completely.
HIDDEN = 200.0
TOY = Stack(
    DEVICE,
    "none",
    "bfloat16",
    Constants(matrix=1, memory=1, overlap=HIDDEN, sustained=1),
    Energy(10, 50, 100, ""),
    tiles=(64,),
)


def _us(changed, *size):
    return float(seconds(changed, *(np.array([float(x)]) for x in size))[0] * 1e6)


def _with(**constants):
    return replace(TOY, constants=replace(TOY.constants, **constants))


def test_a_tile_takes_a_processors_time_and_waves_follow_each_other():
    tile = 2 * 64 * 64 * 512 / 100e9 * 1e6
    assert _us(TOY, 64, 64, 512) == pytest.approx(tile, rel=1e-2)
    assert _us(TOY, 128, 128, 512) == pytest.approx(tile, rel=1e-2)  # 4 tiles, 4 processors
    assert _us(TOY, 129, 128, 512) == pytest.approx(2 * tile, rel=1e-2)  # 6
    assert _us(TOY, 1, 1, 512) == pytest.approx(tile, rel=1e-2)  # a tile is computed whole
    assert _us(TOY, 64, 64, 449) == pytest.approx(tile, rel=1e-2)  # and its depth in steps of 64


def test_a_split_sum_uses_idle_processors_and_moves_partial_sums():
    tile = 2 * 64 * 64 * 4096 / 100e9 * 1e6
    split = replace(TOY, splits=(1, 4))
    assert _us(TOY, 64, 64, 4096) == pytest.approx(tile, rel=1e-2)
    assert _us(split, 64, 64, 4096) == pytest.approx(tile / 4, rel=1e-2)
    # 16 tiles fill all processors already.
    assert _us(split, 256, 256, 4096) == pytest.approx(_us(TOY, 256, 256, 4096), rel=1e-6)
    added = replace(split, splits=(4,), constants=replace(split.constants, split_us=9))
    assert _us(added, 64, 64, 4096) == pytest.approx(9 + tile / 4, rel=1e-2)
    # With a hundredth of the memory the parts, 8 bytes of each of 4, outlast the products.
    slow = replace(split, splits=(4,), constants=replace(split.constants, memory=0.01))
    moved = 2 * 64 * 64 * 2 + 64 * 64 * 2 + 4 * 8 * 64 * 64
    assert _us(slow, 64, 64, 64) == pytest.approx(moved / 1e9 * 1e6, rel=1e-2)


def test_few_rows_wait_for_the_memory():
    moved = 2 * (1 * 1024 + 8192 * 1024 + 8192)
    fast = replace(TOY, tiles=(1, 64))
    assert _us(fast, 1, 8192, 1024) == pytest.approx(moved / 100e9 * 1e6, rel=1e-2)
    half = replace(fast, constants=replace(fast.constants, memory=0.5))
    assert _us(half, 1, 8192, 1024) == pytest.approx(2 * moved / 100e9 * 1e6, rel=1e-2)


def test_each_constant_adds_what_it_says():
    tile = 2 * 64 * 64 * 512 / 100e9 * 1e6
    assert _us(_with(matrix=0.5), 64, 64, 512) == pytest.approx(2 * tile, rel=1e-2)
    assert _us(_with(launch_us=7), 64, 64, 512) == pytest.approx(7 + tile, rel=1e-2)
    assert _us(_with(tile_us=3), 256, 128, 512) == pytest.approx(2 * (3 + tile), rel=1e-2)
    # An element of depth: 128 operands of 2 bytes at 1 byte/ns, or a step of 200 ns; 81.9 ns else.
    assert _us(_with(cache=1), 64, 64, 512) == pytest.approx(512 * 256e-3, rel=1e-2)
    assert _us(_with(step_ns=200), 64, 64, 512) == pytest.approx(512 * 200e-3, rel=1e-2)
    assert _us(_with(sustained=0.1), 64, 64, 512) == pytest.approx(
        2 * 64 * 64 * 512 / 40e9 * 1e6, rel=1e-2
    )
    # Without overlap parts follow each other.
    moved = 2 * (64 * 512 * 2 + 64 * 64) / 100e9 * 1e6
    assert _us(_with(overlap=1), 64, 64, 512) == pytest.approx(tile + moved, rel=1e-2)


def test_an_operand_is_quantised_before_the_product():
    fp8 = replace(TOY, dtype="fp8")
    each = 1024 * 4096 * (2 + 1) / 100e9 * 1e6
    assert _us(replace(fp8, quantises=True), 1024, 64, 4096) == pytest.approx(
        _us(fp8, 1024, 64, 4096) + each, rel=1e-9
    )


def test_a_host_hides_what_is_shorter():
    host = _with(host_us=1000, host_small_us=500, host_pad_us=50)
    assert _us(host, 31, 64, 64) == 500
    assert _us(host, 32, 64, 64) == 1000
    assert _us(host, 33, 64, 64) == 1050
    assert _us(host, 4096, 4096, 4096) == _us(TOY, 4096, 4096, 4096) > 1050


def test_power_is_that_of_the_work_below_the_limit():
    size = [np.array([x]) for x in (64.0, 64.0, 512.0)]
    time, joules = predict(TOY, *size)
    work = (2 * 64 * 64 * 512 * 50 + 2 * (2 * 64 * 512 + 64 * 64) * 100) * 1e-12
    assert joules == pytest.approx(10 * time + work)
    hot = replace(TOY, energy=Energy(10, 5000, 0, ""))
    assert predict(hot, *size).joules == pytest.approx(50 * time)


def test_many_rows_are_those_one_by_one():
    rng = np.random.default_rng(1)
    m, n, k = (rng.integers(1, 9000, 9000).astype(float) for _ in range(3))
    found = predict(stack("h100", "bfloat16"), m, n, k)
    for i in (0, 4095, 4096, 8999):
        one = predict(stack("h100", "bfloat16"), *(x[i : i + 1] for x in (m, n, k)))
        assert (found.seconds[i], found.joules[i]) == (one.seconds[0], one.joules[0])
    assert predict(stack("h100", "bfloat16"), *np.zeros((3, 0))).seconds.shape == (0,)


@pytest.mark.parametrize("each", stacks(), ids=lambda s: f"{s.device.name}-{s.dtype}")
def test_larger_products_take_no_less_and_no_more_than_the_peak_allows(each):
    m, n, k = (x.reshape(-1) for x in np.meshgrid(*[2.0 ** np.arange(6, 15)] * 3))
    time, joules = predict(each, m, n, k)
    assert (2 * m * n * k / time <= each.peak).all()
    assert (joules <= each.device.watts * time * (1 + 1e-9)).all()
    for size in range(3):
        more = [2 * x if i == size else x for i, x in enumerate((m, n, k))]
        assert (seconds(each, *more) >= time * (1 - 1e-9)).all()


@pytest.mark.parametrize(
    ("constants", "rule"),
    [
        ({"matrix": 1.2}, "matrix is a share, at most 1, not 1.2"),
        ({"memory": 0}, "memory must be positive, not 0"),
        ({"launch_us": float("nan")}, "launch_us must be positive, not nan"),
        ({"overlap": 0.5}, "overlap must be at least 1"),
        ({"host_us": 5}, "host_us and host_small_us come together"),
        (
            {"launch_us": 1, "cache": 1, "tile_us": 1, "step_ns": 1, "host_pad_us": 1},
            "9 constants, at most 8",
        ),
    ],
)
def test_constants_out_of_range_are_refused(constants, rule):
    with pytest.raises(ValueError, match=rule):
        _with(**constants)


def test_stacks_are_found_by_name():
    assert stack("H100", "BFloat16").framework == "trtllm_1.3.0rc20"
    assert stack("h200", "fp8") is stack("h200", "fp8_block", "VLLM_0.22.0")
    for arguments, rule in (
        (("cpu", "float32"), "no products were measured on cpu; there are a100, h100"),
        (("a100", "fp8"), "no products of 'fp8' were measured on a100; there are bfloat16"),
        (("h100", "fp8", "x"), "no products of fp8 were measured on h100 with 'x'; there are trt"),
    ):
        with pytest.raises(StackError, match=rule):
            stack(*arguments)
