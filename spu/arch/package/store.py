"""Compiled models on disk: what the manifest of each kind says beside that of every one."""

from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from spu.arch import bitstream
from spu.arch.bitstream import Image
from spu.arch.errors import PackageError
from spu.arch.package import constants, manifest, pipeline
from spu.arch.package.compiled import Kernel, Package, Piece
from spu.arch.package.expression import Expression
from spu.arch.package.manifest import PROGRAM, PROGRAMS, Contents
from spu.arch.package.pipeline import Layer, Pipeline
from spu.arch.package.product import Gemm, Share
from spu.arch.package.program import HostStep, Layout, Map, Product, Program, Step
from spu.arch.package.ranges import Ranges
from spu.arch.package.reblocking import Reblocking
from spu.arch.package.weights import encoded_weights

#: What ``report.json`` calls a model of this kind.
KIND = "steps"


def save(
    package: Package | Pipeline, directory: Path | str, keep_float: bool | None = None
) -> dict[str, Any]:
    """Write everything or nothing, the report last; returns the report.

    ``keep_float``: the model's own numbers of weights and tables as well, which comparing with the
    model takes; by default those of small models, see ``constants.KEPT_BYTES``.
    """
    directory = Path(directory)
    if isinstance(package, Pipeline):
        return manifest.write(directory, *_chain_parts(package, keep_float), package.arch)
    return manifest.write(directory, KIND, *_Writer(package, keep_float).parts(), package.arch)


def _chain_parts(
    package: Pipeline, keep_float: bool | None
) -> tuple[str, dict[str, Any], dict[str, bytes], dict[str, NDArray]]:
    """Kind, report, program files by name, arrays."""
    arrays, members = dict[str, NDArray](), []
    fmt = package.arch.weight_format(package.report["weights"])
    kept = constants.keeps(keep_float, sum(layer.weight.size for layer in package.layers))
    for i, layer in enumerate(package.layers):
        blocks = encoded_weights(layer.weight.values, fmt)
        members.append(constants.put_weights(arrays, f"weights_{i}", blocks))
        arrays[f"bias_{i}"] = layer.bias
        if kept:
            arrays[f"constant_{i}"] = layer.weight.values
    report = package.report | {"constants": members}
    return pipeline.KIND, report, {PROGRAM: package.content}, arrays


def load(directory: Path | str) -> Package | Pipeline:
    """What ``save`` wrote; ``PackageError`` if it is not that, or was changed or damaged since."""
    directory = Path(directory)
    contents = manifest.read(directory)
    try:
        if contents.report["kind"] == KIND:
            return _Reader(contents).package()
        if contents.report["kind"] != pipeline.KIND:
            raise ValueError(f"unknown kind {contents.report['kind']!r}")
        layers = tuple(
            _layer(contents, i, member) for i, member in enumerate(contents.report["constants"])
        )
        made = Pipeline(contents.arch, contents.programs[PROGRAM], contents.report, layers)
        if not (made.image.rows and made.input and made.output and made.cycles(1) > 0):
            raise ValueError("the report says nothing of its program")
        return made
    except (OSError, PackageError):
        raise
    except Exception as error:  # whatever a report of other contents leads to
        what = str(error) or type(error).__name__
        raise PackageError(f"{directory}: not what spu compile wrote: {what}") from None


def _layer(contents: Contents, i: int, member: dict[str, Any]) -> Layer:
    bias = contents.arrays[f"bias_{i}"]
    shape = len(member["tensor_biases"]), member["depth"], len(bias)
    constants.check_weights(contents.arrays, member, contents.arch, shape)
    return Layer(
        constants.stored_tensor(contents.arrays, i, shape),
        bias,
        partial(constants.get_weights, contents.arrays, member, contents.arch),
    )


def _meant(step: Step) -> dict:
    """Constants of a step as the model has them; numbers as text, as some are infinite."""
    if isinstance(step, Layout):
        return {"sources": list(step.sources), "fill": str(step.fill)}
    if isinstance(step, HostStep):
        return {"sources": list(step.sources)}
    assert isinstance(step, Map)
    return {
        "sources": list(step.sources),
        "expression": [
            [op, operands, number, str(value)]
            for op, operands, number, value in step.expression.listed()
        ],
    }


def _read_meant(step: Step, member: dict) -> Step:
    sources = tuple(member["sources"])
    if isinstance(step, Layout):
        return replace(step, sources=sources, fill=float(member["fill"]))
    if isinstance(step, HostStep):
        return replace(step, sources=sources)
    return Map(
        step.out,
        sources,
        Expression.from_list(
            [
                [op, operands, number, float(value)]
                for op, operands, number, value in member["expression"]
            ]
        ),
    )


def _check(program: Program) -> None:
    """Raise ``ValueError`` for results of the host of other shapes and types than their tensors
    say."""
    for step in program.steps:
        if isinstance(step, HostStep):
            constants.check_kind(program.tensors[step.out], step.out, *program.result(step))


class _Writer:
    def __init__(self, package: Package, keep_float: bool | None) -> None:
        self.compiled = package
        self.constants, self.arrays = constants.written(package, keep_float)
        self.indices: dict[bytes, int] = {}
        # By identity: comparing plans would compare all their rows.
        found = {id(p.plan): p.plan for pieces in package.pieces.values() for p in pieces}
        self.plans: list[Gemm] = list(found.values())
        self.number = {key: i for i, key in enumerate(found)}
        self.kernels = list(package.kernels)

    def parts(self) -> tuple[dict[str, Any], dict[str, bytes], dict[str, Any]]:
        """Report, program files by name, arrays."""
        compiled, program = self.compiled, self.compiled.program
        cycles = compiled.cycles()
        files = {
            f"{PROGRAMS}/kernel_{i}.spub": compiled.kernels[x].content
            for i, x in enumerate(self.kernels)
        }
        for i, plan in enumerate(self.plans):
            assert plan.image is not None
            files[f"{PROGRAMS}/product_{i}.spub"] = bitstream.encode(plan.image)
        for fmt, maker in compiled.reblocks.items():
            files[f"{PROGRAMS}/reblock_{fmt.name}.spub"] = bitstream.encode(maker.image)
        report = {
            "name": program.name,
            "notes": list(compiled.ranges.notes),
            "cycles": sum(cycles.values()),
            "formula_error": program.error,
            "inputs": {name: list(program.shape(i)) for name, i in program.inputs.items()},
            "outputs": {name: list(program.shape(i)) for name, i in program.outputs.items()},
            "input_tensors": program.inputs,
            "output_tensors": program.outputs,
            "nonnegative": {str(i): what for i, what in program.nonnegative.items()},
            "truths": sorted(program.truths),
            "results": sorted(program.results),
            "constants": self.constants,
            "tensors": [list(t.shape) for t in program.tensors],
            "integers": {str(i): t.dtype for i, t in enumerate(program.tensors) if t.dtype},
            "tensor_biases": {str(t): b for t, b in compiled.ranges.tensors.items()},
            "masks": {str(t): list(levels) for t, levels in compiled.ranges.masks.items()},
            "meant": {str(i): _meant(s) for i, s in compiled.ranges.meant.items()},
            "fixed": compiled.ranges.fixed,
            "strategy": dict(compiled.strategy),
            "weights": compiled.weights and compiled.weights.name,
            "steps": [
                self._step(i, s) | ({"cycles": cycles[i]} if i in cycles else {})
                for i, s in enumerate(program.steps)
            ],
            "kernels": [
                {k: v for k, v in asdict(compiled.kernels[x]).items() if k != "content"}
                | {"expression": x[0].listed(), "biases": list(x[1])}
                for x in self.kernels
            ],
            "products": [self._plan(p) for p in self.plans],
            "reblocks": {fmt.name: list(maker.columns) for fmt, maker in compiled.reblocks.items()},
        }
        return report, files, self.arrays

    def _step(self, i: int, step: Step) -> dict:
        common = {
            "out": step.out,
            "sources": list(step.sources),
            "node": self.compiled.program.label(step),
        }
        if isinstance(step, Layout):
            content = f"{step.index.shape}".encode() + step.index.tobytes()
            number = self.indices.setdefault(content, len(self.indices))
            self.arrays[f"index_{number}"] = step.index
            return {"kind": "layout", "fill": step.fill, "index": number} | common
        if isinstance(step, HostStep):
            settings = dict(step.settings)
            return {"kind": "host", "operation": step.operation, "settings": settings} | common
        if isinstance(step, Map):
            return {
                "kind": "map",
                "kernel": self.kernels.index(self.compiled.work(i)),
                "labels": [x.label for x in step.expression.steps()],
            } | common
        return (
            {"kind": "product"}
            | common
            | {
                "format": self.compiled.formats[i].name,
                "block_words": self.compiled.block_words(i),
                "pieces": [
                    [
                        *(
                            end
                            for cut in (p.rows, p.depth, p.outputs)
                            for end in (cut.start, cut.stop)
                        ),
                        self.number[id(p.plan)],
                    ]
                    for p in self.compiled.pieces[i]
                ],
            }
        )

    @staticmethod
    def _plan(plan: Gemm) -> dict:
        return {
            "format": plan.fmt.name,
            "weights": plan.weights.name,
            "rows": plan.rows,
            "depth": plan.depth,
            "outputs": plan.outputs,
            "ii": plan.ii,
            "steps": plan.steps,
            "passes": plan.passes,
            "streams": [
                [column, [[*s.tile, s.hops, s.group] for s in shares]]
                for column, shares in plan.streams
            ],
            "results": {str(c): words for c, words in plan.results.items()},
        }


class _Reader:
    def __init__(self, contents: Contents) -> None:
        self.report, self.programs = contents.report, contents.programs
        self.arrays, self.arch = contents.arrays, contents.arch

    def _content(self, name: str) -> bytes:
        return self.programs[f"{PROGRAMS}/{name}.spub"]

    def package(self) -> Package:
        report = self.report
        kernels = {}
        for i, member in enumerate(report["kernels"]):
            work = Expression.from_list(member["expression"]), tuple(member["biases"])
            kernels[work] = Kernel(
                self._content(f"kernel_{i}"),
                member["ii"],
                member["mii"],
                member["span"],
                tuple((c, t) for c, t in member["ins"]),
                (member["out"][0], member["out"][1]),
            )
        plans = [self._plan(i, p) for i, p in enumerate(report["products"])]
        keys = list(kernels)
        steps: list[Step] = []
        pieces, formats, nodes = {}, {}, {}
        for i, member in enumerate(report["steps"]):
            out, sources = member["out"], tuple(member["sources"])
            if member["kind"] == "layout":
                steps.append(
                    Layout(out, sources, self.arrays[f"index_{member['index']}"], member["fill"])
                )
            elif member["kind"] == "host":
                steps.append(HostStep(out, sources, member["operation"], member["settings"]))
            elif member["kind"] == "map":
                expression, biases = keys[member["kernel"]]
                steps.append(Map(out, sources, expression.relabelled(member["labels"])))
                nodes[i] = biases
            else:
                steps.append(Product(out, *sources))
                formats[i] = self.arch.data_format(member["format"])
                pieces[i] = tuple(
                    Piece(range(a, b), range(c, d), range(e, f), plans[p])
                    for a, b, c, d, e, f, p in member["pieces"]
                )
        known = constants.read(self.arrays, report, self.arch)
        program = Program(
            report["name"],
            known.pop("tensors"),
            steps,
            report["input_tensors"],
            report["output_tensors"],
            report["formula_error"],
            {int(i): what for i, what in report["nonnegative"].items()},
            {member["out"]: member["node"] for member in report["steps"]},
            truths=set(report["truths"]),
            results=set(report["results"]),
        )
        _check(program)
        ranges = Ranges(
            {int(t): b for t, b in report["tensor_biases"].items()},
            nodes,
            {int(t): (low, high) for t, (low, high) in report["masks"].items()},
            tuple(report["notes"]),
            {int(i): _read_meant(steps[int(i)], member) for i, member in report["meant"].items()},
            report["fixed"],
        )
        reblocks = {
            self.arch.data_format(name): Reblocking(
                self.arch,
                self.arch.data_format(name),
                tuple(columns),
                self._image(f"reblock_{name}"),
            )
            for name, columns in report["reblocks"].items()
        }
        weights = report["weights"] and self.arch.weight_format(report["weights"])
        return Package(
            program,
            self.arch,
            ranges,
            formats,
            reblocks,
            report["strategy"],
            kernels,
            pieces,
            weights,
            **known,
        )

    def _image(self, name: str) -> Image:
        return bitstream.decode(self._content(name), self.arch).image

    def _plan(self, i: int, member: dict) -> Gemm:
        return Gemm(
            self.arch,
            self.arch.data_format(member["format"]),
            self.arch.weight_format(member["weights"]),
            member["rows"],
            member["depth"],
            member["outputs"],
            member["ii"],
            member["steps"],
            member["passes"],
            [
                (column, [Share((r, c), hops, group) for r, c, hops, group in shares])
                for column, shares in member["streams"]
            ],
            {int(c): [tuple(word) for word in words] for c, words in member["results"].items()},
            self._image(f"product_{i}"),
        )
