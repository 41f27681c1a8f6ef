"""Compiled functions in threads, forked children, without a cache and without numba's compiler."""

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numba

from compiler.map.loop import kernel

ROOT = Path(__file__).parents[3]
WORK = """
    import os, sys, threading, multiprocessing
    import numpy as np
    import pal_units as pal
    from pal_units import model

    def work(seed):
        # Large enough for several threads of its own.
        x = np.random.default_rng(seed).standard_normal((32, 8192))
        a = pal.encode(x, "PAL8T")
        return int(a.codes.sum()), float((a @ a.T).sum())
"""


def _python(source, folder=ROOT, seconds=120, **environment):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(source)],
        cwd=folder,
        env={**os.environ, "NUMBA_NUM_THREADS": "2", **environment},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_forked_children_compute_what_their_parent_did():
    assert _python(
        WORK
        + """
    wanted = [work(seed) for seed in range(4)]
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map_async(work, range(4)).get(60) == wanted
    print("same")
    """
    ) == ["same"]


def test_children_of_a_fork_compile_though_a_thread_was_at_it():
    """A thread makes modules of LLVM and lets go of them; no child must find a lock taken."""
    assert _python("""
    import os, signal, threading
    from llvmlite import binding
    import pal_units.machine
    go = True

    def churn():
        while go:
            binding.parse_assembly("define void @f() { ret void }")

    binding.parse_assembly("")
    thread = threading.Thread(target=churn)
    thread.start()
    ends = []
    for _ in range(50):
        child = os.fork()
        if child == 0:
            signal.alarm(5)
            binding.parse_assembly("")
            os._exit(0)
        ends.append(os.waitpid(child, 0)[1])
        if ends[-1]:
            break
    go = False
    thread.join()
    print(*set(ends))
    """) == ["0"]


def test_threads_compute_at_the_same_time_and_fork_meanwhile():
    assert _python(
        WORK
        + """
    wanted = [work(seed) for seed in range(2)]
    found = [None] * 8

    def job(i):
        found[i] = work(i % 2)

    frozen = np.ones((4, 64))
    frozen.flags.writeable = False  # another type, compiled in the thread
    threads = [threading.Thread(target=job, args=(i,)) for i in range(8)]
    threads.append(threading.Thread(target=pal.encode, args=(frozen, "PAL4T")))
    for thread in threads:
        thread.start()
    children = []
    for seed in range(2):
        child = os.fork()
        if child == 0:
            pal.encode(frozen, "PAL6T")
            os._exit(work(seed) != wanted[seed])
        children.append(child)
    for thread in threads:
        thread.join()
    assert found == wanted * 4
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    print("same")
    """
    ) == ["same"]


def test_an_installation_that_cannot_be_written_works_without_a_cache(tmp_path):
    shutil.copytree(
        ROOT / "pal_units", tmp_path / "pal_units", ignore=shutil.ignore_patterns("__pycache__")
    )
    (tmp_path / "pal_units" / "__pycache__").write_text("in the way, for the superuser too")
    assert _python(
        """
    import numpy as np
    import pal_units as pal
    from pal_units.machine import Path, compiled

    assert pal.__file__.startswith(__import__("os").getcwd())
    print(pal.encode(np.ones(32), "PAL8T").decode().sum())
    """,
        tmp_path,
        HOME="/proc/none",
        XDG_CACHE_HOME="/proc/none",
        PYTHONDONTWRITEBYTECODE="1",
        PYTHONPATH=str(tmp_path),
    ) == ["32.0"]


def test_a_function_of_several_files_is_kept_by_what_they_hold(tmp_path):
    (tmp_path / "inner.py").write_text("def scale(x):\n    return 2 * x\n")
    (tmp_path / "outer.py").write_text(
        textwrap.dedent("""
        from pathlib import Path
        from inner import scale
        from pal_units.compiled import compiled
        here = Path(__file__).parent
        sources = (here / "outer.py", here / "inner.py")
        inner = compiled(scale, sources=sources)
        @compiled(sources=sources)
        def outer(x):
            return inner(x) + 1
    """)
    )
    run = "import outer; print(outer.outer(3), sum(outer.outer.stats.cache_hits.values()))"
    path = {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}", "PYTHONDONTWRITEBYTECODE": "1"}
    assert _python(run, tmp_path, **path) == ["7", "0"]
    assert _python(run, tmp_path, **path) == ["7", "1"]
    (tmp_path / "inner.py").write_text("def scale(x):\n    return 3 * x\n")
    assert _python(run, tmp_path, **path) == ["10", "0"]
    assert len(list((tmp_path / "__pycache__").glob("kernels-*"))) == 1


def test_damaged_files_of_the_cache_are_compiled_anew(tmp_path):
    (tmp_path / "twice.py").write_text("def twice(x):\n    return 2 * x + 1\n")
    assert _python(
        """
    import random
    from pathlib import Path
    from pal_units.compiled import compiled
    from twice import twice

    def call():
        dispatcher = compiled(twice)
        assert dispatcher(20) == 41
        return sum(dispatcher.stats.cache_hits.values())

    def flipped(content, bits):
        damaged = bytearray(content)
        for _ in range(bits):
            damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        return bytes(damaged)

    rng = random.Random(5)
    assert (call(), call()) == (0, 1)
    for suffix in ("nbc", "nbi"):
        path, = Path("kept").rglob(f"*.{suffix}")
        for trial in range(24):
            content = path.read_bytes()
            path.write_bytes([content[:len(content) * trial // 24], bytes(len(content)),
                              flipped(content, 1), flipped(content, 8)][trial % 4])
            hit = call()
            assert suffix == "nbi" or not hit
            assert call() == 1  # kept again
        if suffix == "nbc":  # what is in no pickle's structure would run
            content = path.read_bytes()
            for place in range(len(content) // 2, len(content), 499):
                path.write_bytes(content[:place] + b"\\xa5" + content[place + 1:])
                assert call() == (content[place] == 0xA5)
    print("same")
    """,
        tmp_path,
        NUMBA_CACHE_DIR=str(tmp_path / "kept"),
        PYTHONDONTWRITEBYTECODE="1",
        PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}",
    ) == ["same"]


def test_another_interpreter_or_compiler_has_compiled_nothing_yet(tmp_path, monkeypatch):
    monkeypatch.setattr(kernel, "_DIRECTORY", tmp_path)
    assert not kernel.complete()
    kernel.note_complete()
    assert kernel.complete()
    for module, name in ((sys.implementation, "cache_tag"), (numba, "__version__")):
        with monkeypatch.context() as other:
            other.setattr(module, name, "another")
            assert not kernel.complete()
    assert kernel.complete()


def test_without_the_compiler_results_are_the_same():
    assert _python(
        WORK
        + """
    x = np.random.default_rng(0).standard_normal((3, 64))
    for fmt in pal.FORMATS.values():
        codes, biases, _ = model.encode_blocks(x, fmt)
        a = pal.encode(x, fmt)
        assert (a.codes == codes).all() and (a.biases == biases).all()
    a = pal.encode(x, "PAL8T")
    total, _ = model.dot(a.codes[:, None], a.biases[:, None], a.codes[None], a.biases[None],
                         a.fmt, pal.dot_params(a.fmt))
    assert (pal.accumulate(a, a.T)[0] == total).all()
    print("same")
    """,
        NUMBA_DISABLE_JIT="1",
    ) == ["same"]
