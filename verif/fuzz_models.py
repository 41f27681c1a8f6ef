"""Fuzzed models through the command line, against the reference evaluator: ``make fuzz``.

Each model is right, refused by a rule in one line, or reported as saturated; else it is a fault.
The reference is the standard's evaluator in float64, where it has the meaning of every node; a
result is right if every element is within its error bound or, where that is infinite, the output
is no more than ``MOST_DECIBELS`` below PAL arithmetic without limits of magnitude.
"""

import json
import multiprocessing
import pickle
import signal
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, numpy_helper, version_converter
from onnx.reference import ReferenceEvaluator
from typer.testing import CliRunner

from compiler.front.folding import meaning
from compiler.front.functions import opsets_of
from compiler.front.lowering import REQUANTISED
from compiler.map import steps as compile_module
from spu.arch.files import replace_files
from spu.arch.package.compiled import Package
from spu.arch.package.store import load
from spu.command.arrays import write_arrays
from spu.command.common import EXIT_INTERNAL
from spu.command.main import app
from verif.expected import unlimited
from verif.expected.error_bounds import error_bounds
from verif.stimulus.model_mutants import Mutant, mutant, prepare_seeds

#: Processor seconds that a model may take, and how many times longer by the clock.
LIMIT, PATIENCE = 240, 4
#: Decibels that an output may be below the prediction, where no bound is finite.
MOST_DECIBELS = 1.0
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
        more = ["--calibrate", given] if code == 0 and made.number % 4 < 2 else []
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
    wanted = reference(made.model, made.inputs)
    if wanted is None:
        return Outcome("ran, no reference")
    if REQUANTISED in compiled.ranges.notes:
        return Outcome("ran, no reference", REQUANTISED)
    program = compiled.program
    inputs = {n: program.value(i, made.inputs[n]) for n, i in program.inputs.items()}
    bounds = error_bounds(compiled, inputs)
    predicted = unlimited.outputs(compiled, inputs)
    for name, want in wanted.items():
        fault = _difference(
            got[name], want, bounds[name].error + compiled.program.error, predicted[name]
        )
        if fault and reported:
            return Outcome("saturated, reported", str(reported)[:100])
        if fault:
            raise Fault("WRONG", f"output {name!r}: {fault}")
    return Outcome("right")


def _difference(got: NDArray, want: NDArray, bound: NDArray, predicted: NDArray) -> str:
    """What is wrong with an output, if anything."""
    if got.shape != want.shape:
        return f"shape {got.shape} and not {want.shape}"
    got, want = (np.asarray(values, np.float64) for values in (got, want))
    error = np.abs(got - want)
    finite = np.isfinite(bound) & np.isfinite(want)
    # Constants of models are float32: their rounding is in no bound.
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
        noise, expected = (_decibels(want[rest], x[rest]) for x in (got, predicted))
        if noise < expected - MOST_DECIBELS:
            return f"{noise:.1f} dB and not {expected:.1f}"
    return ""


def _decibels(want: NDArray, got: NDArray) -> float:
    noise = float(np.nansum((got - want) ** 2))
    return 10 * np.log10(max(float(np.nansum(want**2)), 1e-300) / noise) if noise else np.inf


# The reference.


def reference(model: ModelProto, inputs: Mapping[str, NDArray]) -> dict[str, NDArray] | None:
    """Outputs in float64 by the standard's evaluator; None where it is not to be trusted."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for version in (0, 22):
            try:
                wide = _trusted(
                    version_converter.convert_version(model, version) if version else model
                )
                if wide is not None:
                    results = ReferenceEvaluator(wide).run(
                        None,
                        {
                            n: v.astype(np.float64) if v.dtype.kind in "fV" else v
                            for n, v in inputs.items()
                        },
                    )
                    return {
                        o.name: np.asarray(r, np.float64)
                        for o, r in zip(model.graph.output, results, strict=True)
                    }
            except Exception:  # of converter and evaluator, of any kind
                continue
    return None


def _trusted(model: ModelProto) -> ModelProto | None:
    """The model in float64 and in the opset whose meaning the evaluator has for all nodes."""
    wide, opset = ModelProto(), opsets_of(model.opset_import).get("", 1)
    wide.CopyFrom(model)
    nodes = [*wide.graph.node, *(n for f in wide.functions for n in f.node)]
    found = {meaning(n, opset) for n in nodes if n.domain in ("", "ai.onnx")}
    if None in found or any(n.op_type == "GroupNormalization" for n in nodes):
        return None
    newest = onnx.defs.onnx_opset_version()
    for entry in (*wide.opset_import, *(i for f in wide.functions for i in f.opset_import)):
        if entry.domain in ("", "ai.onnx") and found <= {newest}:
            entry.version = newest
    for tensor in wide.graph.initializer:
        _widen(tensor)
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                _widen(attribute.t)
            if (
                node.op_type == "Cast"
                and attribute.name == "to"
                and attribute.i in (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16)
            ):
                attribute.i = TensorProto.DOUBLE
    return wide


def _widen(tensor: TensorProto) -> None:
    values = numpy_helper.to_array(tensor)
    if values.dtype.kind in "fV":
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float64), tensor.name))


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
