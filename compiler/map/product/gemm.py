"""Matrix products: weights stay in the tiles, rows of the other operand stream past them.

``y = x W`` with ``x`` (rows, depth) and ``W`` (depth, outputs).  A tile holds the weights of
``columns`` outputs for the whole depth.  Rows are dealt to as many input streams as there are
sets of tiles that hold all outputs; each stream's words travel a tree of links to its set, and
results leave by links that no tree uses.  A word of several slices waits in a register of each tile
while the matrix unit takes one after another.  The sequencer's innermost loop walks
along the depth, so that the contexts of one iteration serve any depth.
"""

import numpy as np
from numpy.typing import NDArray

from compiler.check.product import check_product
from compiler.errors import CompileError
from compiler.map.pipeline.mapping import STEPS
from compiler.map.reservation import ReservationTable, Unschedulable
from pal_units import model
from pal_units.formats import PAL8T, Format
from spu.arch import timing
from spu.arch.bitstream import Image
from spu.arch.blocks import encode_blocks
from spu.arch.config import Space
from spu.arch.context import CONTEXT, Close, Source
from spu.arch.errors import UserError
from spu.arch.package.product import LAST_STEP, Gemm, Share, with_weights
from spu.arch.params import BLOCK, STAGES, Architecture
from spu.arch.program import Tile, write_region

#: Arrangements that are tried for each number of streams.
ATTEMPTS = 60


def gemm(
    arch: Architecture,
    weight: NDArray,
    rows: int,
    fmt: Format = PAL8T,
    t_in: int = 0,
    t_out: int | None = None,
    seed: int = 0,
    weights: Format | None = None,
) -> Gemm:
    """Map ``x @ weight`` for ``rows`` rows of ``x`` of tensor bias ``t_in``.

    ``weight`` has shape (depth, outputs) and the format ``weights``, by default that of ``x``.  The
    result's tensor bias is by default that of the largest possible result.  Raises
    ``CompileError`` for what does not fit.
    """
    depth, outputs = weight.shape
    plan = plan_gemm(arch, rows, depth, outputs, fmt, seed, weights)
    padded = np.zeros(plan.weight_shape)
    padded[: plan.outputs, : plan.depth] = weight.T
    codes, beta, t_weight = encode_blocks(padded, plan.weights)
    bound = np.abs(padded).sum(axis=1).max() * 2.0 ** (t_in / 8)
    t_out = int(model.bias_for(max(bound, np.finfo(np.float32).tiny))) if t_out is None else t_out
    offset = t_out - t_in - t_weight
    try:
        product = with_weights(plan, codes, beta, offset)
    except UserError as error:
        raise CompileError(str(error)) from None
    check_product(product, codes, beta, offset)
    return product


def plan_gemm(
    arch: Architecture,
    rows: int,
    depth: int,
    outputs: int,
    fmt: Format = PAL8T,
    seed: int = 0,
    weights: Format | None = None,
) -> Gemm:
    """Map a product whose weights are not known yet, see ``with_weights``; not checked here.

    ``check_plan`` does that, once the rows are as many as a run takes.

    The depth is filled up with zeros to whole iterations: to as few as possible, at an II at
    which there is a way for all results.

    Raises
    ------
    CompileError: formats that the array does not take, a depth beyond the accumulator, weights
        beyond the memories of the tiles, or no way for all words at any II.
    """
    try:
        formats = arch.data_format(fmt), arch.weight_format(weights or fmt)
    except ValueError as error:
        raise CompileError(str(error)) from None
    slices = -(-depth // BLOCK) * BLOCK // arch.lanes
    per_block = BLOCK // arch.lanes
    groups = -(-outputs // arch.columns)
    engines = len(arch.matrix_tiles)
    passes = -(-groups // engines)
    if slices * arch.lanes // BLOCK > arch.dot.max_blocks(BLOCK):
        raise CompileError(
            f"a depth of {depth} exceeds the "
            f"{arch.dot.max_blocks(BLOCK) * BLOCK} that the accumulator holds"
        )
    if slices * passes > arch.weight_rows:
        raise CompileError(
            f"{depth} x {outputs} weights need {slices * passes} weight rows, a "
            f"tile of {arch.name} has {arch.weight_rows}"
        )
    wanted = min(arch.cols, max(engines // groups, 1), rows)
    reason = "no arrangement"
    iis = sorted(
        range(per_block, arch.contexts + 1, per_block), key=lambda ii: (-(-slices // ii) * ii, -ii)
    )
    for ii in iis:
        steps = -(-slices // ii)
        if steps * ii * passes > arch.weight_rows:
            continue
        for count in range(wanted, 0, -1):
            for attempt in range(ATTEMPTS):
                plan = Gemm(arch, *formats, rows, depth, outputs, ii, steps, passes)
                try:
                    _arrange(
                        plan,
                        count,
                        min(groups, engines),
                        np.random.default_rng([seed, count, attempt]),
                    )
                except Unschedulable as error:
                    reason = str(error)
                    continue
                _write_region(plan)
                return plan
    raise CompileError(
        f"a product of {rows} x {depth} x {outputs} does not fit {arch.name}: no way for {reason}"
    )


def _arrange(plan: Gemm, count: int, groups: int, rng: np.random.Generator) -> None:
    """Trees for the streams, then ways out for all results; ``Unschedulable``."""
    arch, table = plan.arch, ReservationTable(plan.arch, plan.ii)
    tiles = list(arch.matrix_tiles)
    if rng.random() < 0.3:
        tiles.sort(key=lambda t: (t[1], t[0]))
    columns = rng.permutation(arch.cols)[:count].tolist()
    contexts: dict[tuple[Tile, int], dict[str, int]] = {}
    for stream, column in enumerate(columns):
        members = tiles[stream * groups : (stream + 1) * groups]
        hops = _tree(plan, table, contexts, column, members, rng)
        plan.streams.append((column, [Share(t, hops[t], g) for g, t in enumerate(members)]))
    shares = [(s, share) for s, (_, members) in enumerate(plan.streams) for share in members]
    for index in rng.permutation(len(shares)).tolist():
        _results(plan, table, contexts, *shares[index])
    for words in plan.results.values():
        words.sort()
    if (plan.span - 1) // plan.ii >= STAGES:
        raise Unschedulable(f"iterations in flight, more than {STAGES}")
    plan.image = Image(arch)
    for (tile, slot), fields in contexts.items():
        plan.image.write(Space.CONTEXT, tile, slot, fields)


def _set(contexts: dict, tile: Tile, slot: int, **fields: Source | Close | int) -> None:
    entry = contexts.setdefault((tile, slot), {})
    for name, value in fields.items():
        number = value.value if isinstance(value, (Source, Close)) else int(value)
        assert entry.setdefault(name, number) == number
    assert set(entry) <= {name for name, *_ in CONTEXT}


def _tree(
    plan: Gemm,
    table: ReservationTable,
    contexts: dict,
    column: int,
    members: list[Tile],
    rng: np.random.Generator,
) -> dict[Tile, int]:
    """Links from the entry to all members, in every slot; hops to each tile on the way."""
    entry = (0, column)
    hops, parents = {entry: 0}, {}
    for goal in rng.permutation(len(members)).tolist():
        path = _connect(plan.arch, table, hops, members[goal], plan.ii, rng)
        for tile, link in path:
            table.take(f"{link} link", tile, range(plan.ii))
            following = (tile[0] + STEPS[link][0], tile[1] + STEPS[link][1])
            hops[following] = hops[tile] + timing.HOP
            parents[following] = (tile, link)
    arriving = {entry: Source.NORTH} | {t: STEPS[link][2] for t, (_, link) in parents.items()}
    for following, (tile, link) in parents.items():
        for slot in range(0, plan.ii, plan.arch.slices_per_word(plan.fmt)):
            _set(contexts, tile, (slot + hops[tile]) % plan.ii, **{link: arriving[tile]})
        assert following != entry
    per_block, per_word = BLOCK // plan.arch.lanes, plan.arch.slices_per_word(plan.fmt)
    for tile in members:
        for slot in range(plan.ii):
            last = slot == plan.ii - 1
            block = slot % per_block == per_block - 1
            first = slot % per_word == 0
            at = (slot + hops[tile]) % plan.ii
            # The first slice of a word as it arrives, others from a register.
            _set(
                contexts,
                tile,
                at,
                matrix=arriving[tile] if first else Source.REGISTER_A,
                mac=1,
                slice=slot % per_word,
                close=Close.GUARDS if last else Close.BLOCK if block else Close.NOTHING,
            )
            if first and per_word > 1:
                _set(contexts, tile, at, register=arriving[tile], register_write=0)
    return hops


def _connect(
    arch: Architecture,
    table: ReservationTable,
    tree: dict[Tile, int],
    goal: Tile,
    ii: int,
    rng: np.random.Generator,
) -> list[tuple[Tile, str]]:
    """Shortest path from a tree to a tile over links that are free in all slots."""
    if goal in tree:
        return []
    reached: dict[Tile, list[tuple[Tile, str]]] = {t: [] for t in tree}
    frontier = sorted(tree)
    while frontier:
        following = []
        for index in rng.permutation(len(frontier)).tolist():
            tile = frontier[index]
            for link in rng.permutation(list(STEPS)).tolist():
                other = (tile[0] + STEPS[link][0], tile[1] + STEPS[link][1])
                if (
                    other in arch.tiles
                    and other not in reached
                    and table.free(f"{link} link", tile, range(ii))
                ):
                    reached[other] = [*reached[tile], (tile, link)]
                    following.append(other)
        if goal in reached:
            return reached[goal]
        frontier = following
    raise Unschedulable(f"words of x to tile {goal}")


def _results(
    plan: Gemm, table: ReservationTable, contexts: dict, stream: int, share: Share
) -> None:
    """Drain slots of a tile and ways of its results to the south edge."""
    commit = plan.ii - 1 + share.hops + timing.ACCUMULATE
    drained = commit - 1
    for word in range(plan.arch.words_per_drain):
        for time in range(drained + 1, commit + plan.ii):
            way = _way_out(plan, table, share.tile, time)
            if way is not None:
                break
        else:
            raise Unschedulable(f"results of tile {share.tile}")
        drained = time
        at, arriving = time + timing.DRAIN, Source.MATRIX
        _set(contexts, share.tile, time % plan.ii, drain=1)
        table.take("drain", share.tile, [time])
        for tile, link in way:
            table.take(f"{link} link", tile, [at])
            _set(contexts, tile, at % plan.ii, **{link: arriving})
            at, arriving = at + timing.HOP, STEPS[link][2]
        plan.results.setdefault(way[-1][0][1], []).append((at, stream, share.group, word))


def _way_out(
    plan: Gemm, table: ReservationTable, tile: Tile, time: int
) -> list[tuple[Tile, str]] | None:
    """Links that carry the word drained at ``time`` over the south edge, without waiting."""
    if not table.free("drain", tile, [time]):
        return None
    bottom, start = plan.arch.rows - 1, time + timing.DRAIN
    reached: dict[Tile, list[tuple[Tile, str]]] = {tile: []}
    frontier = [tile]
    while frontier:
        following = []
        for here in frontier:
            at = start + len(reached[here]) * timing.HOP
            for link, (dr, dc, _) in STEPS.items():
                if not table.free(f"{link} link", here, [at]):
                    continue
                other = (here[0] + dr, here[1] + dc)
                if here[0] == bottom and link == "south":
                    return [*reached[here], (here, link)]
                if other in plan.arch.tiles and other not in reached:
                    reached[other] = [*reached[here], (here, link)]
                    following.append(other)
        frontier = following
    return None


def _write_region(plan: Gemm) -> None:
    assert plan.image is not None
    words = range(0, plan.ii, plan.arch.slices_per_word(plan.fmt))
    write_region(
        plan.image,
        plan.timing,
        {column: words for column, _ in plan.streams},
        {column: [time for time, *_ in results] for column, results in plan.results.items()},
        {LAST_STEP: {"last": 1}},
    )
