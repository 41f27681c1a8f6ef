"""``spu cluster``."""

import json
import math
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from perf import constants
from perf.cluster.hall import Hall, failing, hall, load_of, simulate
from perf.cluster.load import LoadError
from perf.cluster.serve import Served
from perf.llm.decoder import decoder, decoders
from perf.sizing.chips import CHIPS, chip
from perf.sizing.service import chip_watts
from spu.arch.files import check_file, replace_file
from spu.command.common import check_kept, remark, working
from spu.command.tables import show, table

_QUANTILES = (0.5, 0.9, 0.99)


def cluster(
    model: Annotated[
        str,
        typer.Argument(
            autocompletion=lambda: list(decoders()), help=f"Decoder: {', '.join(decoders())}."
        ),
    ],
    chip_name: Annotated[
        str, typer.Option("--chip", metavar="NAME", help=f"Chip: {', '.join(CHIPS)}.")
    ] = "h100-fp8",
    nodes: Annotated[int, typer.Option(help="Servers of 8 chips.")] = 1,
    tp: Annotated[int, typer.Option(min=0, help="Chips that share each matrix.")] = 0,
    pp: Annotated[int, typer.Option(min=0, help="Stages of layers.")] = 0,
    ep: Annotated[int, typer.Option(min=0, help="Groups that share the experts.")] = 0,
    rate: Annotated[
        float, typer.Option(help="Queries a second.", show_default="0.7 of what all can serve")
    ] = 0.0,
    hours: Annotated[float, typer.Option(help="How long queries arrive.")] = 1.0,
    inputs: Annotated[float, typer.Option(help="Mean input tokens.")] = 790.0,
    outputs: Annotated[float, typer.Option(help="Mean output tokens.")] = 500.0,
    swing: Annotated[float, typer.Option(help="Rise and fall of the rate over a day.")] = 0.0,
    trace: Annotated[
        Path | None, typer.Option(help="CSV file of queries: seconds, input_tokens, output_tokens.")
    ] = None,
    token_seconds: Annotated[
        float, typer.Option(help="Most seconds between tokens, of a full batch.")
    ] = 0.05,
    failures: Annotated[bool, typer.Option(help="Servers fail and are repaired.")] = True,
    seed: Annotated[int, typer.Option(min=0, help="Of arrivals, lengths, failures.")] = 1,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures.")] = None,
) -> None:
    """Serve a language model on many chips by a virtual clock: latencies, batches, failures, power.

    Example: spu cluster llama-2-70b --chip h100-fp8 --nodes 16
    """
    c = constants.values(constants.read())
    if not 0 < token_seconds < math.inf:
        raise LoadError(f"token_seconds: must be a positive number, not {token_seconds}")
    if rate < 0 or (trace and rate):
        raise LoadError(f"rate: must be positive, and none with --trace, not {rate}")
    if json_file:
        check_file(json_file)
        check_kept([json_file], [trace])
    spread = c["length_spread"]
    load, queries = load_of(trace, rate or 1.0, hours, (inputs, outputs), spread, swing, seed)
    lengths = (float(load.inputs.mean()), float(load.outputs.mean()))
    made = hall(
        decoder(model),
        chip(c, chip_name),
        nodes,
        int(c["server_chips"]),
        lengths,
        token_seconds,
        (tp, pp, ep),
    )
    if trace is None and not rate:
        rate = 0.7 * made.capacity
        load, _ = load_of(None, rate, hours, (inputs, outputs), spread, swing, seed)
    began = time.process_time()
    with working("serving"):
        served, seconds = simulate(
            made, load, queries, failing(c, made) if failures else None, seed
        )
    spent = time.process_time() - began
    watts = chip_watts(c) * c["power_share"] * made.replica.split.chips
    figures = _figures(model, chip_name, nodes, made, served, watts)
    if json_file:
        text = f"{json.dumps(figures, indent=1)}\n"
        replace_file(json_file, lambda sink: sink.write(text.encode()))
    show(table(f"{model} on {nodes} servers of {chip_name}", ("figure", "value"), _rows(figures)))
    how = f"rounds of {seconds:.0f} s" if seconds else "every step an event"
    show(f"{how}; {spent:.1f} s of processor time for {served.seconds:.0f} s")
    if served.waiting > 0.01 * max(served.queries, 1) + made.replicas * made.batch:
        remark(f"queries arrive faster than they are served: {served.waiting:.0f} wait at the end")


def _figures(
    model: str, chip_name: str, nodes: int, made: Hall, served: Served, watts: float
) -> dict[str, Any]:
    split = made.replica.split
    first = {f"first_token_{q:.0%}_seconds": _known(served.first_quantile(q)) for q in _QUANTILES}
    between = {f"token_{q:.0%}_seconds": _known(served.between_quantile(q)) for q in _QUANTILES}
    joules = watts * served.seconds / served.tokens if served.tokens else None
    return {
        "model": model,
        "chip": chip_name,
        "nodes": nodes,
        "split": {"tp": split.tp, "pp": split.pp, "ep": split.ep, "dp": split.dp},
        "batch_at_most": made.batch,
        "capacity_queries_per_second": made.capacity,
        "seconds": served.seconds,
        "queries": served.queries,
        "tokens": served.tokens,
        "tokens_per_second": served.tokens / served.seconds if served.seconds else 0.0,
        "mean_batch": served.mean_batch,
        **first,
        **between,
        "failures": served.failures,
        "queries_begun_anew": served.again,
        "waiting_at_the_end": served.waiting,
        "megawatts": watts / 1e6,
        "joules_per_token": joules,
    }


def _known(number: float) -> float | None:
    """None for what JSON has no number for."""
    return number if math.isfinite(number) else None


def _rows(figures: dict[str, Any]) -> list[tuple[str, str]]:
    def text(value: Any) -> str:
        if isinstance(value, dict):
            return " x ".join(f"{name} {ways}" for name, ways in value.items())
        if isinstance(value, float):
            return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
        return "-" if value is None else str(value)

    return [(name.replace("_", " "), text(value)) for name, value in figures.items()][2:]
