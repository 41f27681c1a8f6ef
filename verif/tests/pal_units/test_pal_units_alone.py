"""The number formats without numba: nothing is missing, and every bit is the same."""

import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import pal_units
import pal_units.model

ROOT = Path(__file__).parents[3]
#: Digests of what the functions give for a format, odd numbers, empty blocks and NaN included.
SCRIPT = """
import hashlib, sys
if sys.argv[1] == "numpy":
    sys.modules["numba"] = None
import numpy as np
import pal_units as pal
rng = np.random.default_rng(0)
x = rng.standard_normal((500, 64)) * np.exp2(rng.integers(-40, 40, (500, 1)))
x[0, :3], x[1], x[2] = (0, -0.0, 1e-320), 0, 1e300
for fmt in (*pal.FORMATS.values(), *pal.ADAPTIVE.values(), pal.PAL8T.with_block(1)):
    digest, y = hashlib.sha256(), x.copy()
    if fmt.has_nan:
        y[3, 5], y[4] = np.nan, np.nan
    for kind in (np.float64, np.float32):
        z = y.astype(kind) if kind is np.float64 else np.clip(y, -3e38, 3e38).astype(kind)
        for bias in (None, 8, -40, -8000, 8000):
            a = pal.encode(z, fmt, tensor_bias=bias)
            for part in (a.codes, a.biases):
                digest.update(np.ascontiguousarray(part).tobytes())
        a = pal.encode(z[:, :40], fmt, pad=True) if fmt.block > 1 else a
        for part in (a.codes, a.biases):
            digest.update(np.ascontiguousarray(part).tobytes())
        a = pal.encode(np.clip(z, -1e30, 1e30), fmt)
        for part in (a.decode(), pal.multiply(a, a).codes, pal.add(a, a).codes,
                     pal.maximum(a, -a).codes):
            digest.update(np.ascontiguousarray(part).tobytes())
    if fmt.n <= 8:
        z = np.clip(z, -1e30, 1e30)
        b = pal.encode(z[:64, :40], fmt, axis=0) if fmt.block > 1 else None
        for part in pal.accumulate(a, b) if b is not None else ():
            digest.update(part.tobytes())
    print(fmt.name, fmt.block, digest.hexdigest())
print("numba" if sys.modules.get("numba") else "numpy", file=sys.stderr)
for x, fmt in (([np.inf] * 32, "PAL8T"), ([np.nan] * 32, "PAL4T")):
    try:
        pal.encode(x, fmt)
    except ValueError as error:
        print(error)
"""


@pytest.fixture(scope="module")
def found():
    return {
        how: subprocess.run(
            [sys.executable, "-c", SCRIPT, how],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        )
        for how in ("numba", "numpy")
    }


def test_the_bits_do_not_depend_on_numba(found):
    assert [run.stderr.split()[-1] for run in found.values()] == ["numba", "numpy"]
    assert found["numpy"].stdout == found["numba"].stdout
    assert len(found["numpy"].stdout.splitlines()) > 12


def test_the_distribution_needs_numpy_alone():
    """Its modules, without those of the extras, import nothing else."""
    modules = [
        "pal_units",
        *(
            f"pal_units.{m.name}"
            for m in pkgutil.iter_modules(pal_units.__path__)
            if m.name not in ("jax", "machine", "rtl")
        ),
        *(f"pal_units.model.{m.name}" for m in pkgutil.iter_modules(pal_units.model.__path__)),
    ]
    code = f"import {', '.join(modules)}; print(*sys.modules)"
    names = subprocess.run(
        [
            sys.executable,
            "-S",
            "-c",
            f"import sys; sys.modules['numba'] = None; "
            f"sys.path += {[p for p in sys.path if p]!r}; {code}",
        ],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    tops = {name.partition(".")[0] for name in names} - set(sys.stdlib_module_names)
    assert tops <= {"__main__", "numba", "numpy", "pal_units"}


def test_a_numba_that_does_not_work_is_told_and_not_needed(tmp_path):
    (tmp_path / "numba.py").write_text("raise AttributeError('of another llvmlite')")
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import pal_units as pal; print(pal.encode([1.0] * 32, 'PAL8T').decode().sum())",
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "32.0\n"
    assert done.stderr.count("numba does not work here, numpy is taken: of another llvmlite") == 1
