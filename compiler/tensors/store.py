"""Compiled tensor programs in a directory: program files, a report, arrays of the host's part."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from compiler.errors import CompileError
from compiler.gemm import Gemm, Share
from compiler.reblock import reblocking
from compiler.tensors.compiled import Compiled, Kernel, Piece
from compiler.tensors.expressions import Expression
from compiler.tensors.program import Layout, Map, Product, Program, Step, Tensor
from compiler.tensors.ranges import Ranges
from pal_units.formats import FORMATS
from spu.arch import bitstream
from spu.arch.files import Writer, replace_files
from spu.arch.params import Architecture, architecture

REPORT, ARRAYS, PROGRAMS = "report.json", "arrays.npz", "programs"
#: What ``report.json`` calls a program of this kind.
KIND = "steps"


def save(compiled: Compiled, directory: Path) -> dict:
    """Write everything or nothing, the report last; returns the report."""
    files, arrays = _Writer(compiled).files()
    writers: dict[Path, Writer] = {directory / ARRAYS: lambda sink: np.savez_compressed(
        sink, allow_pickle=False, **arrays)}
    writers |= {directory / name: partial(_write, content) for name, content in files.items()}
    replace_files(writers)
    for old in (directory / PROGRAMS).glob("*.spub"):
        if old not in writers:
            old.unlink()
    report: dict = json.loads(files[REPORT])
    return report


def _write(content: bytes, sink: BinaryIO) -> None:
    sink.write(content)


def _meant(step: Step) -> dict:
    """Constants of a step as the model has them; numbers as text, as some are infinite."""
    if isinstance(step, Layout):
        return {"sources": list(step.sources), "fill": str(step.fill)}
    assert isinstance(step, Map)
    return {"sources": list(step.sources), "expression": [
        [op, operands, number, str(value)] for op, operands, number, value in
        step.expression.listed()]}


def _read_meant(step: Step, member: dict) -> Step:
    sources = tuple(member["sources"])
    if isinstance(step, Layout):
        return replace(step, sources=sources, fill=float(member["fill"]))
    return Map(step.out, sources, Expression.from_list([
        [op, operands, number, float(value)] for op, operands, number, value in
        member["expression"]]))


class _Writer:
    def __init__(self, compiled: Compiled) -> None:
        self.compiled, self.arrays = compiled, dict[str, Any]()
        # By identity: comparing plans would compare all their rows.
        found = {id(p.plan): p.plan for pieces in compiled.pieces.values() for p in pieces}
        self.plans: list[Gemm] = list(found.values())
        self.number = {key: i for i, key in enumerate(found)}
        self.kernels = list(compiled.kernels)

    def files(self) -> tuple[dict[str, bytes], dict[str, Any]]:
        """Files by name, the report last; and the arrays."""
        compiled, program = self.compiled, self.compiled.program
        cycles = compiled.cycles()
        for i, tensor in enumerate(program.tensors):
            if tensor.constant is not None:
                self.arrays[f"constant_{i}"] = tensor.constant
        files = {f"{PROGRAMS}/kernel_{i}.spub": compiled.kernels[x].content
                 for i, x in enumerate(self.kernels)}
        for i, plan in enumerate(self.plans):
            assert plan.image is not None
            files[f"{PROGRAMS}/product_{i}.spub"] = bitstream.encode(plan.image)
        for fmt, maker in compiled.reblocks.items():
            files[f"{PROGRAMS}/reblock_{fmt.name}.spub"] = bitstream.encode(maker.image)
        report = {
            "kind": KIND, "name": program.name, "arch": compiled.arch.name,
            "arch_hash": f"{compiled.arch.hash:#010x}",
            "notes": list(compiled.ranges.notes), "bytes": sum(map(len, files.values())),
            "cycles": sum(cycles.values()), "formula_error": program.error,
            "inputs": {name: list(program.shape(i)) for name, i in program.inputs.items()},
            "outputs": {name: list(program.shape(i)) for name, i in program.outputs.items()},
            "input_tensors": program.inputs, "output_tensors": program.outputs,
            "nonnegative": {str(i): what for i, what in program.nonnegative.items()},
            "tensors": [list(t.shape) for t in program.tensors],
            "tensor_biases": {str(t): b for t, b in compiled.ranges.tensors.items()},
            "masks": {str(t): list(levels) for t, levels in compiled.ranges.masks.items()},
            "meant": {str(i): _meant(s) for i, s in compiled.ranges.meant.items()},
            "steps": [self._step(i, s) | ({"cycles": cycles[i]} if i in cycles else {})
                      for i, s in enumerate(program.steps)],
            "kernels": [{k: v for k, v in asdict(compiled.kernels[x]).items() if k != "content"}
                        | {"expression": x[0].listed(), "biases": list(x[1])}
                        for x in self.kernels],
            "products": [self._plan(p) for p in self.plans],
        }
        report["digest"] = _digest(report, files, self.arrays)
        files[REPORT] = (json.dumps(report, indent=1) + "\n").encode()
        return files, self.arrays

    def _step(self, i: int, step: Step) -> dict:
        common = {"out": step.out, "sources": list(step.sources),
                  "node": self.compiled.program.label(step)}
        if isinstance(step, Layout):
            self.arrays[f"index_{i}"] = step.index
            return {"kind": "layout", "fill": step.fill} | common
        if isinstance(step, Map):
            return {"kind": "map", "kernel": self.kernels.index(self.compiled.work(i)),
                    "labels": [x.label for x in step.expression.steps()]} | common
        return {"kind": "product"} | common | {
                "format": self.compiled.formats[i].name,
                "block_words": self.compiled.block_words(i),
                "pieces": [[*(end for cut in (p.rows, p.depth, p.outputs)
                              for end in (cut.start, cut.stop)), self.number[id(p.plan)]]
                           for p in self.compiled.pieces[i]]}

    @staticmethod
    def _plan(plan: Gemm) -> dict:
        return {"format": plan.fmt.name, "rows": plan.rows, "depth": plan.depth,
                "outputs": plan.outputs, "ii": plan.ii, "steps": plan.steps, "passes": plan.passes,
                "streams": [[column, [[*s.tile, s.hops, s.group] for s in shares]]
                            for column, shares in plan.streams],
                "results": {str(c): words for c, words in plan.results.items()}}


def _digest(report: dict, programs: Mapping[str, bytes], arrays: Mapping[str, Any]) -> str:
    """Of all that is written: the report without it, and files and arrays by name."""
    state = hashlib.sha256(json.dumps(report, sort_keys=True).encode())
    for name in sorted(programs):
        state.update(f"{name} {len(programs[name])} ".encode() + programs[name])
    for name in sorted(arrays):
        values = np.ascontiguousarray(arrays[name])
        state.update(f"{name} {values.dtype.str} {np.shape(arrays[name])} ".encode())
        state.update(values.data)
    return state.hexdigest()


def load(directory: Path) -> Compiled:
    """What ``save`` wrote; ``CompileError`` if it is not that, or was changed or damaged since."""
    try:
        report = json.loads((directory / REPORT).read_text())
        with np.load(directory / ARRAYS, allow_pickle=False) as file:
            arrays = dict(file)
        programs = {f"{PROGRAMS}/{path.name}": path.read_bytes()
                    for path in (directory / PROGRAMS).glob("*.spub")}
        # Reports had none before.
        if "digest" in report and report.pop("digest") != _digest(report, programs, arrays):
            raise CompileError("a file was changed or damaged; spu compile writes them anew")
        return _Reader(report, programs, arrays).compiled()
    except Exception as error:  # whatever numpy, zipfile, json and the reader have for damage
        what = str(error) or type(error).__name__
        raise CompileError(f"{directory}: not what spu compile wrote: {what}") from None


class _Reader:
    def __init__(self, report: dict, programs: Mapping[str, bytes], arrays: dict) -> None:
        self.report, self.programs, self.arrays = report, programs, arrays
        self.arch = architecture(report["arch"])

    def _content(self, name: str) -> bytes:
        return self.programs[f"{PROGRAMS}/{name}.spub"]

    def compiled(self) -> Compiled:
        report = self.report
        kernels = {}
        for i, member in enumerate(report["kernels"]):
            work = Expression.from_list(member["expression"]), tuple(member["biases"])
            kernels[work] = Kernel(
                self._content(f"kernel_{i}"), member["ii"], member["mii"], member["span"],
                tuple((c, t) for c, t in member["ins"]), (member["out"][0], member["out"][1]))
        plans = [self._plan(i, p, self.arch) for i, p in enumerate(report["products"])]
        keys = list(kernels)
        steps: list[Step] = []
        pieces, formats, nodes = {}, {}, {}
        for i, member in enumerate(report["steps"]):
            out, sources = member["out"], tuple(member["sources"])
            if member["kind"] == "layout":
                steps.append(Layout(out, sources, self.arrays[f"index_{i}"], member["fill"]))
            elif member["kind"] == "map":
                expression, biases = keys[member["kernel"]]
                steps.append(Map(out, sources, expression.relabelled(member["labels"])))
                nodes[i] = biases
            else:
                steps.append(Product(out, *sources))
                formats[i] = FORMATS[member["format"]]
                pieces[i] = tuple(Piece(range(a, b), range(c, d), range(e, f), plans[p])
                                  for a, b, c, d, e, f, p in member["pieces"])
        program = Program(report["name"], [
            Tensor(tuple(shape), self.arrays.get(f"constant_{i}"))
            for i, shape in enumerate(report["tensors"])], steps, report["input_tensors"],
            report["output_tensors"], report["formula_error"],
            {int(i): what for i, what in report["nonnegative"].items()},
            {member["out"]: member["node"] for member in report["steps"]})
        ranges = Ranges({int(t): b for t, b in report["tensor_biases"].items()}, nodes,
                        {int(t): (low, high) for t, (low, high) in report["masks"].items()},
                        tuple(report["notes"]),
                        {int(i): _read_meant(steps[int(i)], member)
                         for i, member in report["meant"].items()})
        return Compiled(program, self.arch, ranges, formats,
                        {fmt: reblocking(self.arch, fmt) for fmt in formats.values()}, kernels,
                        pieces)

    def _plan(self, i: int, member: dict, arch: Architecture) -> Gemm:
        image = bitstream.decode(self._content(f"product_{i}"), arch).image
        return Gemm(arch, FORMATS[member["format"]], member["rows"], member["depth"],
                    member["outputs"], member["ii"], member["steps"], member["passes"],
                    [(column, [Share((r, c), hops, group) for r, c, hops, group in shares])
                     for column, shares in member["streams"]],
                    {int(c): [tuple(word) for word in words]
                     for c, words in member["results"].items()}, image)
