"""A chain of dense layers as one pipelined program: all passes in order."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement, islice, product

from compiler.check.pipeline import check_pipeline
from compiler.errors import CompileError
from compiler.map.arrays import check_array
from compiler.map.pipeline.assemble import assemble
from compiler.map.pipeline.chain import Dense
from compiler.map.pipeline.mapping import Mapping
from compiler.map.pipeline.partition import bounds, no_partition, partitions
from compiler.map.pipeline.place import placements
from compiler.map.pipeline.quantise import QuantisedNetwork, quantise
from compiler.map.pipeline.route_chain import route_chain
from compiler.map.pipeline.schedule import legs, schedule
from compiler.map.reservation import Unschedulable
from pal_units.formats import PAL8T, Format
from spu.arch import bitstream
from spu.arch.bitstream import Image
from spu.arch.package.pipeline import Layer, Pipeline
from spu.arch.package.program import Program, Tensor
from spu.arch.package.ranges import Ranges
from spu.arch.params import Architecture

#: Placements tried for one II before the next larger one.  Cycles to spare in all, with so many
#: placements, those of the shortest spans; then on every leg.  Tuned on the digits on ``basic`` and
#: ``tiny``, and on random chains of two to five layers: one in ten needs more than two cycles.
PLACEMENTS, SPARED, SPARED_EACH = 24, ((0, 24), (1, 8), (2, 4)), (1, 2, 4)
#: Slots of all tiles of the schedules that are tried with each of these: chosen so that they take
#: a second at most.
TRIED = 25_000

#: IIs that are tried one after the other.
IN_TURN = 8


@dataclass(frozen=True)
class Compiled:
    """Everything that a compilation produced."""

    arch: Architecture
    quantised: QuantisedNetwork
    mapping: Mapping
    image: Image
    content: bytes
    report: dict
    layers: tuple[Layer, ...]

    @property
    def package(self) -> Pipeline:
        """What is kept of it to run it."""
        return Pipeline(self.arch, self.content, self.report, self.layers)


def compile_chain(
    program: Program,
    layers: Sequence[Dense],
    ranges: Ranges,
    arch: Architecture,
    fmt: Format = PAL8T,
    seed: int = 0,
    most: int | None = None,
    vectors: tuple[int, int] = (1, 1),
    progress: Callable[[str], None] = lambda _: None,
    weights: Format | None = None,
) -> Compiled:
    """Map the layers of a program (``chain_of``) as one pipeline, and check it.

    ``fmt`` of data, and of weights where ``weights`` says nothing else.

    ``ranges``: tensor biases, see ``fixed_ranges``; ``most``: the largest II; ``vectors``: the
    least and the most of a run.

    Raises
    ------
    CompileError: says what does not fit and why.
    """
    check_array(arch)
    quantised = quantise(program.name, layers, ranges, arch, fmt, weights or fmt)
    mapping = _map(quantised, arch, seed, arch.contexts if most is None else most, progress)
    image = assemble(mapping, arch)
    check_pipeline(image, quantised, mapping.timing, mapping.reads, mapping.emitted)
    content = bitstream.encode(image)
    report = _report(quantised, mapping, arch, seed)
    report["notes"] = list(ranges.notes)
    (report["io"]["input"],), (report["io"]["output"],) = program.inputs, program.outputs
    (given,), (output,) = program.inputs.values(), program.outputs.values()
    report["io"]["vectors"] = list(vectors)
    report["io"]["input_shape"] = list(program.shape(given)[1:])
    report["io"]["output_shape"] = list(program.shape(output)[1:])
    kept = tuple(
        Layer(Tensor((1, *layer.weight.shape), layer.weight[None]), layer.bias) for layer in layers
    )
    return Compiled(arch, quantised, mapping, image, content, report, kept)


def _map(
    quantised: QuantisedNetwork,
    arch: Architecture,
    seed: int,
    most: int,
    progress: Callable[[str], None],
) -> Mapping:
    """The mapping of the shortest span at the least II at which one is found.

    After ``IN_TURN`` IIs that failed, they grow by a quarter.
    """
    reason, failed = "no tile assignment", list[int]()
    found_at = list(partitions(quantised, arch))
    last = max((partition.ii for partition in found_at if partition.ii <= most), default=0)
    for partition in found_at:
        if partition.ii > most:
            raise CompileError(
                f"{quantised.name}: II {partition.ii} or more, in steps it takes no "
                f"longer: {reason}"
            )
        if partition.ii not in failed:
            if (
                len(failed) >= IN_TURN
                and 4 * partition.ii < 5 * failed[-1]
                and partition.ii != last
            ):
                continue
            failed.append(partition.ii)
        placed = list(placements(partition, arch, seed, PLACEMENTS))
        for slacks, count in _slacks(legs(len(partition.layers))):
            progress(f"II {partition.ii}, {sum(slacks[0])} cycles to spare")
            found = []
            tried = product(placed[:count], slacks)
            for placement, slack in islice(tried, -(-TRIED // (partition.ii * len(arch.tiles)))):
                try:
                    found.append(schedule(quantised, partition, placement, arch, slack))
                except Unschedulable as error:
                    reason = str(error)
            found.sort(key=lambda pair: pair[0].span)
            if not any(slacks[0]):
                # The best come first from now on.
                first = [mapping.placement for mapping, _ in found]
                placed = first + [p for p in placed if p not in first]
            for mapping, words in found:
                try:
                    mapping.fields, mapping.wire = route_chain(mapping, words, arch)
                except Unschedulable as error:
                    reason = str(error)
                    continue
                return mapping
    which = f", tried {', '.join(map(str, failed))}: {reason}" if failed else ""
    raise CompileError(f"{no_partition(quantised, arch)}{which}")


def _slacks(count: int) -> Iterator[tuple[list[tuple[int, ...]], int]]:
    """Cycles beyond the hops that words of each leg may take, and placements to try them with."""
    for spared, most in SPARED:
        yield (
            [
                tuple(some.count(leg) for leg in range(count))
                for some in combinations_with_replacement(range(count), spared)
            ],
            most,
        )
    for each in SPARED_EACH:
        yield [(each,) * count], PLACEMENTS


def _report(quantised: QuantisedNetwork, mapping: Mapping, arch: Architecture, seed: int) -> dict:
    """Facts of the mapping, and ``io``: how vectors become stream words and back."""
    columns: dict[int, list[int]] = {}
    for (column, _), word in sorted(mapping.reads.items(), key=lambda entry: entry[0][1]):
        columns.setdefault(column, []).append(word)
    limits = bounds(quantised, arch)
    return {
        "name": quantised.name,
        "format": quantised.fmt.name,
        "weights": quantised.weights.name,
        "seed": seed,
        "ii": mapping.ii,
        "ii_bounds": limits,
        "span": mapping.span,
        "macs": quantised.macs,
        "macs_per_cycle": quantised.macs / mapping.ii,
        "peak_macs_per_cycle": arch.peak_macs_per_cycle,
        "wire": mapping.wire,
        "layers": [
            {
                "name": layer.name,
                "relu": layer.relu,
                "groups": plan.groups,
                "engines": [list(mapping.placement.engines[n, e]) for e in range(plan.engines)],
                "passes": plan.passes,
                "homes": [list(mapping.placement.homes[h]) for h in plan.homes],
                "tensor_bias": {"in": layer.t_in, "weight": layer.t_weight, "out": layer.t_out},
            }
            for n, (layer, plan) in enumerate(
                zip(quantised.layers, mapping.partition.layers, strict=True)
            )
        ],
        "io": {
            "inputs": quantised.inputs,
            "outputs": quantised.outputs,
            "input_max": quantised.input_max,
            "input_tensor_bias": quantised.layers[0].t_in,
            "output_tensor_bias": quantised.layers[-1].t_out,
            "input_words": {str(c): words for c, words in columns.items()},
            "output_words": {
                str(c): [[group, word] for _, group, word in words]
                for c, words in sorted(mapping.emitted.items())
            },
        },
    }
