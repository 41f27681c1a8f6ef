"""All passes in order: a chain of dense layers to one program."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import onnx

from compiler.arrays import check_array
from compiler.assemble import assemble
from compiler.check.pipeline import check_pipeline
from compiler.errors import CompileError
from compiler.graph import Network, QuantisedNetwork
from compiler.mapping import Mapping
from compiler.onnx_import import load_network
from compiler.partition import bounds, partitions
from compiler.place import placements
from compiler.quantise import quantise
from compiler.routing import Unschedulable
from compiler.schedule import schedule
from pal_units.formats import Format
from spu.arch import bitstream
from spu.arch.bitstream import Image
from spu.arch.package.pipeline import Pipeline
from spu.arch.params import MATRIX_FORMATS, Architecture

#: Placements tried for one II before the next larger one.
PLACEMENTS = 12


@dataclass(frozen=True)
class Compiled:
    """Everything that a compilation produced."""

    arch: Architecture
    network: Network
    quantised: QuantisedNetwork
    mapping: Mapping
    image: Image
    content: bytes
    report: dict

    @property
    def package(self) -> Pipeline:
        """What is kept of it to run it."""
        return Pipeline(self.arch, self.content, self.report)


def compile_network(network: Network, arch: Architecture, fmt: Format = MATRIX_FORMATS[0],
                    input_max: float = 1.0, seed: int = 0,
                    progress: Callable[[str], None] = lambda _: None,
                    output: str = "output") -> Compiled:
    """Map a network; ``CompileError`` says what does not fit and why.

    ``output``: name of what it computes.
    """
    check_array(arch)
    quantised = quantise(network, arch, fmt, input_max)
    mapping = _map(quantised, arch, seed, progress)
    image = assemble(mapping, arch)
    check_pipeline(image, quantised, mapping.timing, mapping.reads, mapping.emitted)
    content = bitstream.encode(image)
    report = _report(quantised, mapping, arch, seed)
    report["io"] |= {"input": network.input, "output": output}
    return Compiled(arch, network, quantised, mapping, image, content, report)


def compile_file(path: Path, arch: Architecture, fmt: Format = MATRIX_FORMATS[0],
                 input_max: float = 1.0, seed: int = 0,
                 progress: Callable[[str], None] = lambda _: None) -> Compiled:
    """``compile_network`` of an ONNX file."""
    network = load_network(path)
    return compile_network(network, arch, fmt, input_max, seed, progress,
                           onnx.load(path).graph.output[0].name)


def _map(quantised: QuantisedNetwork, arch: Architecture, seed: int,
         progress: Callable[[str], None]) -> Mapping:
    """The first partition, in order of II, that can be placed, scheduled and routed."""
    reason = "no tile assignment"
    for partition in partitions(quantised, arch):
        for attempt, placement in enumerate(placements(partition, arch, seed, PLACEMENTS)):
            progress(f"II {partition.ii}, placement {attempt + 1}")
            try:
                return schedule(quantised, partition, placement, arch)
            except Unschedulable as error:
                reason = str(error)
    raise CompileError(f"{quantised.name} does not fit {arch.name}: full at II "
                       f"{arch.contexts}: {reason}")


def _report(quantised: QuantisedNetwork, mapping: Mapping, arch: Architecture, seed: int) -> dict:
    """Facts of the mapping, and ``io``: how vectors become stream words and back."""
    columns: dict[int, list[int]] = {}
    for (column, _), word in sorted(mapping.reads.items(), key=lambda entry: entry[0][1]):
        columns.setdefault(column, []).append(word)
    limits = bounds(quantised, arch)
    return {
        "name": quantised.name, "format": quantised.fmt.name, "seed": seed,
        "ii": mapping.ii, "ii_bounds": limits, "span": mapping.span,
        "macs": quantised.macs, "macs_per_cycle": quantised.macs / mapping.ii,
        "peak_macs_per_cycle": arch.peak_macs_per_cycle,
        "wire": mapping.wire,
        "layers": [{
            "name": layer.name, "relu": layer.relu, "groups": plan.groups,
            "engines": [list(mapping.placement.engines[n, e]) for e in range(plan.engines)],
            "passes": plan.passes,
            "homes": [list(mapping.placement.homes[h]) for h in plan.homes],
            "tensor_bias": {"in": layer.t_in, "weight": layer.t_weight, "out": layer.t_out},
        } for n, (layer, plan) in enumerate(
            zip(quantised.layers, mapping.partition.layers, strict=True))],
        "io": {
            "inputs": quantised.inputs, "outputs": quantised.outputs,
            "input_max": quantised.input_max,
            "input_tensor_bias": quantised.layers[0].t_in,
            "output_tensor_bias": quantised.layers[-1].t_out,
            "input_words": {str(c): words for c, words in columns.items()},
            "output_words": {str(c): [[group, word] for _, group, word in words]
                             for c, words in sorted(mapping.emitted.items())},
        },
    }
