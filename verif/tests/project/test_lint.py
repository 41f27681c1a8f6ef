"""What ``make lint`` runs: here beside the other tests, so that no core waits."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    "command", [("ruff", "check", "."), ("ruff", "format", "--check", "."), ("mypy",)], ids=" ".join
)
def test_nothing_to_complain_of(command):
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
