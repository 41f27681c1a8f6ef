"""The distribution as users install it: wheels, and an environment with nothing but the base."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[3]
PIP = ("-m", "pip", "--disable-pip-version-check", "-q")
#: What a base installation of pal-spu brings at most, with numpy, rich, typer and what they need.
BASE = {
    "annotated-doc",
    "annotated-types",
    "click",
    "colorama",
    "markdown-it-py",
    "mdurl",
    "numpy",
    "pal-spu",
    "pip",
    "pydantic",
    "pydantic-core",
    "pygments",
    "rich",
    "setuptools",
    "shellingham",
    "typer",
    "typing-extensions",
    "typing-inspection",
}


def _run(*command, cwd, code=0):
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, cwd=cwd
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout or done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from the files of the checkout that belong to it."""
    folder = tmp_path_factory.mktemp("wheel")
    files = _run("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=ROOT)
    for name in files.splitlines():
        if (ROOT / name).is_file():
            (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "source" / name).write_bytes((ROOT / name).read_bytes())
    _run(sys.executable, *PIP, "wheel", "--no-deps", "-w", folder, folder / "source", cwd=folder)
    return next(folder.glob("pal_spu-*.whl"))


@pytest.mark.regress
def test_the_wheel_holds_every_package_and_no_test(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {n.split("/")[0] for n in names if ".dist-info/" not in n} == {
        "compiler",
        "pal_units",
        "palspu",
        "perf",
        "rtl",
        "runtime",
        "spu",
        "verif",
    }
    assert [n for n in names if "/tests/" in n or "/test_" in n] == []
    assert {"perf/stacks.toml", "perf/machines/h100.toml"} <= set(names)
    assert {n.split("/")[0] for n in names if n.endswith("/py.typed")} >= {
        "compiler",
        "pal_units",
        "palspu",
        "perf",
        "rtl",
        "runtime",
        "spu",
    }


@pytest.mark.regress
def test_a_base_installation_runs_models_and_names_what_the_rest_needs(wheel, compiled, tmp_path):
    from spu.arch.package.store import save

    _run(sys.executable, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    python, spu = (tmp_path / "venv" / "bin" / name for name in ("python", "spu"))
    _run(python, *PIP, "install", wheel, cwd=tmp_path)
    _run(python, *PIP, "check", cwd=tmp_path)
    installed = _run(python, *PIP, "list", "--format", "freeze", cwd=tmp_path)
    assert {
        line.partition("==")[0].lower().replace("_", "-") for line in installed.splitlines()
    } <= BASE

    assert "compile" in _run(spu, "--help", cwd=tmp_path)
    version = _run(spu, "--version", cwd=tmp_path).split()[1]
    assert re.fullmatch(r"\d+\.\d+\.\d+", version)
    assert (
        _run(python, "-c", "import palspu; print(palspu.__version__)", cwd=tmp_path).strip()
        == version
    )

    save(compiled("tiny").package, tmp_path / "digits")
    np.save(tmp_path / "x.npy", np.linspace(0, 1, 128).reshape(2, 64))
    _run(spu, "run", "digits", "--input", "x.npy", "-o", "y.npy", cwd=tmp_path)
    run = "import numpy, palspu; numpy.save('z.npy', palspu.run('digits', numpy.load('x.npy'))"
    _run(python, "-c", f"{run}['logits'])", cwd=tmp_path)
    assert (np.load(tmp_path / "y.npy") == np.load(tmp_path / "z.npy")).all()

    for extra, line in (
        ("onnx", ("compile", "x.onnx", "-o", "out")),
        ("map", ("map", "x.json", "-o", "out")),
        ("sim", ("rtl", "-o", "out")),
        ("studies", ("sim", "-o", "out")),
    ):
        found = _run(spu, *line, cwd=tmp_path, code=2)
        assert re.fullmatch(
            r"spu: error: .* not installed: "
            rf"pip install 'pal-spu\[{extra}\]'\n",
            found,
        ), found
