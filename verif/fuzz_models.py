"""Fuzzed models through the command line, against the reference evaluator: ``make fuzz``.

Each model is right, refused by a rule in one line, or reported as saturated; else it is a fault.
Two things are held against each other twice.  What a program means, in float64, is what the model
means (``expected/reference.py``), to ``ROUNDING``; so a bound that is infinite hides no wrong
lowering.  What the array computes of it is within the error bound of each element or, where that is
infinite, no more than a decibel below PAL arithmetic without limits of magnitude.
"""

import json
import multiprocessing
import pickle
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto
from typer.testing import CliRunner

from compiler.errors import CompileError
from compiler.front.lower import lower
from compiler.front.lowering import REQUANTISED
from compiler.map import steps as compile_module
from spu.arch.errors import InputError
from spu.arch.files import replace_files
from spu.arch.package.compiled import Package
from spu.arch.package.store import load
from spu.arch.package.values import real_values
from spu.command.arrays import write_arrays
from spu.command.common import EXIT_INTERNAL
from spu.command.main import app
from verif.expected import unlimited
from verif.expected.error_bounds import error_bounds
from verif.expected.reference import reference, spread
from verif.stimulus.model_mutants import Mutant, mutant, prepare_seeds

#: Processor seconds that a model may take, and how many times longer by the clock.
LIMIT, PATIENCE = 240, 4
#: Of the largest element, how far real values of a program may be from the reference: constants
#: are float32; times as far as samples of what moves the reference show, see ``spread``, which are
#: no extremes; and magnitudes that are no scale for other elements.
ROUNDING, UNSEEN, LARGE = 1e-5, 4, 1e12
#: What ``spu run`` says of inputs that are larger than a model was compiled for; it is done.
ADVICE = "--calibrate sets it"
#: What a model may become.
GOOD = ("right", "refused", "refused by spu run", "saturated, reported", "ran, no reference")
FAULTS = ("WRONG", "TRACEBACK", "HANG", "NOT JUDGED")


class Fault(Exception):
    """A kind of ``FAULTS``, and what is wrong."""


@dataclass(frozen=True)
class Outcome:
    kind: str
    detail: str = ""


def attempt(made: Mutant, directory: Path) -> Outcome:
    """What becomes of a model, by ``spu check``, ``spu compile`` and ``spu run``."""
    model, given, out = (directory / name for name in ("m.onnx", "in.npz", "out"))
    model.write_bytes(made.model.SerializeToString())
    replace_files(
        {given: lambda sink: write_arrays(sink, {n: _storable(v) for n, v in made.inputs.items()})}
    )
    try:
        code, text = _spu("check", model, "--json")
        refusals = json.loads(text)["refusals"]
        if (code == 2) != bool(refusals) or any(
            set(r) != {"node", "operator", "rule"} or "\n" in r["rule"] for r in refusals
        ):
            raise Fault("WRONG", f"spu check exits with {code}: {text[:200]}")
        # Every other one with its inputs for magnitudes.
        more = ["--calibrate", given] if code == 0 and made.number // 4 % 2 else []
        compiled, text = _spu("compile", model, "--strategy", "steps", "-o", out, *more)
        if compiled == 2 and more:
            return Outcome("refused", text)
        if compiled != code:
            raise Fault("WRONG", f"exit codes: spu check {code}, spu compile {compiled}: {text}")
        if code == 2:
            return Outcome("refused", refusals[0]["rule"])
        results = ("-o", directory / "y.npz", "--json", directory / "stats.json")
        run = ("run", out, "--input", given, *results)
        code, text = _spu(*run)
        if code == 2 and ADVICE in text and not more:
            compiled, said = _spu(
                "compile", model, "--strategy", "steps", "-o", out, "--calibrate", given
            )
            if compiled == 2:
                return Outcome("refused", said)
            code, text = _spu(*run)
        if code == 2 and ADVICE in text:
            raise Fault("WRONG", f"what spu run advises was done, and it says again: {text}")
        if code == 2:
            return Outcome("refused by spu run", text)
        if code:
            raise Fault("WRONG", f"spu run exits with {code}: {text}")
        package = load(out)
        assert isinstance(package, Package)
        return _judged(made, package, directory)
    except Fault as fault:
        return Outcome(*fault.args)


def understood(model: ModelProto, inputs: dict[str, NDArray]) -> Outcome:
    """What the front end makes of a model: a program that means the same, or a refusal."""
    try:
        program = lower(model, "model")
    except CompileError as error:
        lines = str(error).strip().splitlines()
        return Outcome("refused" if len(lines) == 1 else "WRONG", str(error))
    except Exception as error:  # of any kind
        return Outcome("TRACEBACK", repr(error)[:300])
    wanted, reason = reference(model, inputs)
    if wanted is None:
        return Outcome("ran, no reference", reason)
    given = {n: program.value(i, inputs[n]) for n, i in program.inputs.items()}
    try:
        meant, _ = real_values(program, given)
    except InputError as error:
        return Outcome("refused by spu run", str(error))
    for i, what in program.nonnegative.items():
        if np.nanmin(meant[i], initial=0.0) < 0:
            return Outcome("refused by spu run", f"{what}, must not be negative")
    decided = {
        n: np.full(program.shape(i), REQUANTISED not in program.notes)
        for n, i in program.outputs.items()
    }
    values = {n: meant[i] for n, i in program.outputs.items()}
    fault = _misunderstood(model, inputs, wanted, values, decided, program.error)
    return Outcome("WRONG", fault) if fault else Outcome("right")


def _storable(values: NDArray) -> NDArray:
    """Types that files of numpy have not, as wider ones."""
    return (
        values
        if values.dtype.kind in "fiubc"
        else values.astype(np.float32)
        if values.dtype.kind == "V"
        else values.astype(str)
    )


def _spu(*arguments: object) -> tuple[int, str]:
    """Exit code, and standard output or, if there is none, the only line of standard error."""
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise Fault("TRACEBACK", f"spu {arguments[0]}: {result.exception!r}"[:300])
    if result.exit_code == EXIT_INTERNAL:
        raise Fault("TRACEBACK", f"spu {arguments[0]}: {result.stderr.strip()}"[:300])
    # A slow machine lets commands tell how far they are.
    lines = [
        line for line in result.stderr.splitlines() if line.strip() and not line.startswith("... ")
    ]
    if result.exit_code == 2 and len(lines) != 1:
        raise Fault("WRONG", f"spu {arguments[0]}: {len(lines)} lines on standard error: {lines}")
    return result.exit_code, result.stdout or "".join(lines)


def _judged(made: Mutant, compiled: Package, directory: Path) -> Outcome:
    with np.load(directory / "y.npz") as file:
        got = dict(file)
    reported = json.loads((directory / "stats.json").read_text()).get("saturated", {})
    program = compiled.program
    inputs = {n: program.value(i, made.inputs[n]) for n, i in program.inputs.items()}
    bounds = error_bounds(compiled, inputs)
    predicted = unlimited.outputs(compiled, inputs)
    wanted, reason = reference(made.model, made.inputs)
    if wanted is not None:
        unsure = REQUANTISED in compiled.ranges.notes
        decided = {n: bounds[n].error < (1 if unsure else np.inf) for n in wanted}
        values = {n: bounds[n].value for n in wanted}
        fault = _misunderstood(made.model, made.inputs, wanted, values, decided, program.error)
        if fault:
            raise Fault("WRONG", fault)
    for name, bound in bounds.items():
        fault = _difference(got[name], bound.value, bound.error, predicted[name])
        if fault and reported:
            return Outcome("saturated, reported", str(reported)[:100])
        if fault:
            raise Fault("WRONG", f"output {name!r}: {fault}")
    return Outcome("right") if wanted is not None else Outcome("ran, no reference", reason)


def _misunderstood(
    model: ModelProto,
    inputs: dict[str, NDArray],
    wanted: dict[str, NDArray],
    meant: dict[str, NDArray],
    decided: dict[str, NDArray],
    error: float,
) -> str:
    """How outputs of a program, by real values ``meant``, differ from the reference, if they do.

    ``decided``: elements of integers and truth values that must be as they are meant; ``error``: of
    formulas of the program.  What is not as it is wanted may lie as far off as rounding and these
    errors move the reference.
    """
    exact = {name: np.zeros(values.shape) for name, values in wanted.items()}
    if not any(_off(meant[n], wanted[n], decided[n], exact[n]) for n in wanted):
        return ""
    moved = spread(model, inputs, wanted, error)
    faults = ((n, _off(meant[n], wanted[n], decided[n], moved[n])) for n in wanted)
    return next((f"output {n!r} means {fault}" for n, fault in faults if fault), "")


def _off(meant: NDArray, want: NDArray, decided: NDArray, moved: NDArray) -> str:
    """How real values differ from what is wanted, if at all; ``moved``: see ``spread``."""
    if meant.shape != want.shape:
        return f"shape {meant.shape} and not {want.shape}"
    if want.dtype.kind in "iub":
        off = (meant != want) & decided & (moved == 0)
        return f"{meant[off][0]} and not {want[off][0]}" if off.any() else ""
    size = np.abs(want)
    scale = np.maximum(size[size < LARGE].max(initial=0.0), np.where(np.isfinite(size), size, 0.0))
    allowed = ROUNDING * scale + UNSEEN * moved + ROUNDING / 100
    with np.errstate(invalid="ignore"):
        same = (np.abs(meant - want) <= allowed) | (meant == want)
    off = ~(same | (np.isnan(meant) & np.isnan(want)) | np.isinf(moved))
    return (
        f"{meant[off][0]} and not {want[off][0]} within {allowed[off][0]:.2g}" if off.any() else ""
    )


def _difference(got: NDArray, want: NDArray, bound: NDArray, predicted: NDArray) -> str:
    """What is wrong with an output of the array, if anything."""
    if got.shape != want.shape:
        return f"shape {got.shape} and not {want.shape}"
    got, want = (np.asarray(values, np.float64) for values in (got, want))
    error = np.abs(got - want)
    finite = np.isfinite(bound) & np.isfinite(want)
    beyond = finite & ~(error <= bound + 2.0**-22 * np.abs(want) + 1e-30)
    if beyond.any():
        at = tuple(int(k[0]) for k in np.nonzero(beyond)) if want.ndim else ()
        return f"{got[at]} at {at}, not {want[at]} within {bound[at]:g}"
    if (np.isnan(want) != np.isnan(got)).any():
        return f"{int(np.isnan(got).sum())} NaN and not {int(np.isnan(want).sum())}"
    if np.isinf(want).any():
        return f"{int(np.isinf(want).sum())} infinities"
    rest = ~np.isfinite(bound) & ~np.isnan(want)
    if rest.any():
        return unlimited.worse(want[rest], got[rest], predicted[rest])
    return ""


# Many.


def _work(task: tuple[int, int]) -> Outcome:
    # Ends the process when the processor time is over.
    signal.setitimer(signal.ITIMER_PROF, LIMIT)
    with TemporaryDirectory() as directory:
        try:
            return attempt(mutant(*task), Path(directory))
        except Exception as error:  # of the judge, of any kind
            return Outcome("NOT JUDGED", repr(error)[:300])
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)


def _remember() -> None:
    """Map equal kernels once in a process: many models have the same."""
    known: dict[bytes, Any] = {}
    original: Callable[..., Any] = compile_module.map_kernel

    def map_kernel(graph: Any, *arguments: Any) -> Any:
        key = pickle.dumps((replace(graph, name=""), arguments))
        if key not in known:
            known[key] = original(graph, *arguments)
        return known[key]

    compile_module.map_kernel = map_kernel  # type: ignore[assignment]


def fuzz(count: int, seed: int = 0, first: int = 0) -> Iterator[tuple[int, Outcome]]:
    """Outcomes of the models from ``first`` on, in another process, which may crash or hang."""
    prepare_seeds()
    pool = _process()
    try:
        for i in range(first, first + count):
            try:
                outcome = pool.submit(_work, (i, seed)).result(PATIENCE * LIMIT)
            except (BrokenProcessPool, TimeoutError):
                outcome = Outcome(
                    "HANG",
                    f"more than {LIMIT} s of a processor, "
                    f"{PATIENCE * LIMIT} s by the clock, or a crash",
                )
                _end(pool)
                pool = _process()
            yield i, outcome
    finally:
        _end(pool)


def _process() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, multiprocessing.get_context("fork"), _remember)


def _end(pool: ProcessPoolExecutor) -> None:
    for process in (pool._processes or {}).values():
        process.kill()
    pool.shutdown(cancel_futures=True)


def main() -> None:
    """``COUNT [SEED [FIRST]]``: the tally by kind, and every fault; exit code 1 if there is one."""
    count, seed, first = (int(a) for a in [*sys.argv[1:], *("1000", "0", "0")[len(sys.argv) - 1 :]])
    tally: Counter[str] = Counter()
    for i, outcome in fuzz(count, seed, first):
        tally[outcome.kind] += 1
        if outcome.kind in FAULTS:
            made = mutant(i, seed)
            print(
                f"{outcome.kind} {i}: {made.name} with {', '.join(made.changes) or 'no change'}: "
                f"{outcome.detail}",
                flush=True,
            )
    for kind in (*GOOD, *FAULTS):
        print(f"{kind:20} {tally[kind]:5}")
    sys.exit(any(tally[kind] for kind in FAULTS))


if __name__ == "__main__":
    main()
