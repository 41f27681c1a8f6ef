"""Several managers on one bus: whose turn it is, and that no beat of W overtakes its burst."""

from spu.arch.memory import MemoryEngine
from spu.rtl.memory.merger import ReadMerger, WriteMerger
from spu.rtl.observe import observe

ENGINE = MemoryEngine(data_bits=64, address_bits=16, ids=2, outstanding=2)


def test_all_that_ask_have_their_turns():
    ask = {f"i_{n}.arvalid": 1 for n in range(3)} | {f"i_{n}.araddr": 64 * n for n in range(3)}
    steps = [ask | {"bus.arready": 1}, *[{}] * 5]
    ready = [f"i_{n}.arready" for n in range(3)]
    shown = observe(ReadMerger(ENGINE, 3), steps, *ready, "bus.araddr", "bus.arid")
    assert [row[:3] for row in shown] == [(1, 0, 0), (0, 1, 0), (0, 0, 1)] * 2
    assert [row[3:] for row in shown[1:]] == [(0, 0), (64, 2), (128, 4), (0, 0), (64, 2)]


def test_who_asks_for_nothing_is_passed_over_and_an_offer_stays():
    steps = [{"i_2.arvalid": 1, "i_2.araddr": 8}, {"i_0.arvalid": 1}, {}, {"bus.arready": 1}, {}]
    shown = observe(
        ReadMerger(ENGINE, 3), steps, "i_0.arready", "i_2.arready", "bus.arvalid", "bus.araddr"
    )
    assert shown == [(0, 1, 0, 0), (0, 0, 1, 8), (0, 0, 1, 8), (1, 0, 1, 8), (0, 1, 1, 0)]


def test_answers_go_to_whom_their_id_names():
    steps = [{"bus.rvalid": 1, "bus.rid": number << 1 | 1, "bus.rdata": 9} for number in range(4)]
    names = [f"i_{n}.rvalid" for n in range(3)]
    shown = observe(ReadMerger(ENGINE, 3), steps, *names, "i_1.rid", "i_1.rdata", "bus.rready")
    assert [row[:3] for row in shown] == [(1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, 0)]
    assert shown[1][3:] == (1, 9, 1)


def test_beats_of_a_burst_come_together_in_the_order_of_the_requests():
    """Both have their beats at once; the second's wait for the first's last, then follow it."""
    steps = [
        {
            f"i_{n}.{name}": value
            for n in range(2)
            for name, value in (("awvalid", 1), ("wvalid", 1))
        }
        | {"i_0.wdata": 10, "i_1.wdata": 20, "i_1.wlast": 1, "bus.awready": 1, "bus.wready": 1},
        {"i_0.awvalid": 0},
        {"i_0.wdata": 11, "i_0.wlast": 1},
        {"i_0.wvalid": 0, "i_1.awvalid": 0},
        {"i_1.wvalid": 0},
    ]
    shown = observe(
        WriteMerger(ENGINE, 2), steps, "i_1.awready", "bus.wvalid", "bus.wdata", "bus.wlast"
    )
    assert [row[0] for row in shown] == [0, 0, 1, 0, 0]
    assert [row[1:] for row in shown[1:4]] == [(1, 10, 0), (1, 11, 1), (1, 20, 1)]
    assert shown[0][1] == shown[4][1] == 0
