"""``make programs``: its file has what its readers take, and its figures hold together."""

import json
import sys

import pytest

from verif.studies import programs


def test_a_small_run_writes_every_part(tmp_path, monkeypatch):
    out = tmp_path / "programs.json"
    line = ["programs", "--runs", "1", "--seconds", "0.01", "--nodes", "64", "--tasks", "500"]
    monkeypatch.setattr(programs, "GRAPHS", programs.GRAPHS[:3])
    monkeypatch.setattr(sys, "argv", [*line, "--json", str(out)])
    programs.main()
    found = json.loads(out.read_text())
    assert {"scheduling", "noise", "fleet"} <= set(found)
    for row in found["scheduling"]:
        assert set(row) == {"graph", "heft", "makespan", "lower_bound", "seconds"}
        assert row["lower_bound"] <= row["makespan"] <= row["heft"]
    noise = found["noise"]
    for each in (noise, noise["none_lost"], noise["a_used_node_lost"]):
        assert each["geomean"] >= 0.999
        assert 0 <= each["within_10_percent"] <= 1
    assert noise["none_lost"]["geomean"] < noise["geomean"]
    assert {row["policy"] for row in found["fleet"]} >= {"planned", "dask", "static"}
    assert all(0 < row["utilisation"] <= 1 for row in found["fleet"])


def test_the_summary_is_that_of_ratios():
    runs = [
        programs.Run("g", adapted, adapted, 2.0, [0.001, 0.003], 0) for adapted in (2.0, 2.1, 4.0)
    ]
    found = programs.summary(runs, 1.0)
    assert found["median"] == 1.05
    assert found["geomean"] == pytest.approx(2.1 ** (1 / 3))
    assert found["within_10_percent"] == pytest.approx(2 / 3)
    assert found["replan_median_ms"] == 2
