"""Fit the constants of ``perf.gemm`` to measured products: ``perf/stacks.toml``.

``python -m verif.studies.perf.fit`` fits each system on half of its pairs (n, k), prints the errors
on the other half, and with ``--write`` keeps the constants.  ``--cross`` compares constants of half
of the pairs with those of three quarters, on the quarter that neither saw.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from scipy.optimize import minimize

from perf.gemm import Constants, Energy, Stack, predict, seconds, watts
from perf.machines import machine
from perf.stacks import PATH
from spu.arch.errors import UserError
from spu.arch.files import replace_file
from verif.studies.perf import measured
from verif.studies.perf.measured import Products, System

Array = NDArray[np.float64]
#: Where searches start, by constant.
START = {
    "launch_us": 4.0,
    "matrix": 0.8,
    "memory": 0.8,
    "cache": 100.0,
    "tile_us": 0.5,
    "step_ns": 0.8,
    "split_us": 1.0,
    "overlap": 3.0,
    "sustained": 0.7,
    "host_us": 75.0,
    "host_small_us": 50.0,
    "host_pad_us": 9.0,
}
#: Ranges of constants where they are not all positive numbers.
RANGES = {"matrix": (0, 1), "memory": (0, 1), "sustained": (0, 1), "overlap": (1, 16)}
#: Products of a fit, chosen at random, and evaluations of each of its two searches.
SAMPLE, EVALUATIONS = 1200, 1500
#: Least side of the products whose energies are compared.
LARGE = 4096
#: Splits of sums, of libraries that have them.
SPLITS = (1, 2, 4, 8, 16)
#: Constants that every stack has.
COMMON = ("launch_us", "matrix", "memory", "overlap", "sustained")


@dataclass(frozen=True)
class Shape:
    """What of a stack is no number to be fitted; see ``Stack``.  ``more``: constants beside
    ``COMMON``, those without which errors on held-out pairs were larger; ``settled_us``: least
    time of products whose watts are fitted, where those of shorter ones had not settled."""

    more: tuple[str, ...]
    splits: tuple[int, ...] = SPLITS
    tiles: tuple[int, ...] = (64, 128, 256)
    quantises: bool = True
    settled_us: float = 0.0

    @property
    def constants(self) -> tuple[str, ...]:
        """Names of the constants."""
        return (*COMMON, *self.more)


SHAPES: dict[System, Shape] = {
    ("a100", "trtllm_1.0.0", "bfloat16"): Shape(
        ("cache", "tile_us", "split_us"), tiles=(64, 128), quantises=False
    ),
    ("h100", "trtllm_1.3.0rc20", "bfloat16"): Shape(("tile_us", "split_us"), quantises=False),
    ("h100", "trtllm_1.3.0rc20", "fp8"): Shape(("tile_us", "split_us")),
    ("h200", "vllm_0.22.0", "bfloat16"): Shape(("split_us",), quantises=False),
    ("h200", "vllm_0.22.0", "fp8_block"): Shape(("host_us", "host_small_us", "host_pad_us"), (1,)),
    ("b200", "vllm_0.22.0", "bfloat16"): Shape(("step_ns", "split_us"), quantises=False),
    ("b200", "vllm_0.22.0", "nvfp4"): Shape(("tile_us", "step_ns"), (1,)),
    ("gb200", "trtllm_1.3.0rc17", "fp8"): Shape(("tile_us", "split_us")),
    ("gb200", "trtllm_1.3.0rc17", "nvfp4"): Shape(("tile_us", "step_ns"), (1,), settled_us=100),
}
#: Devices without measured power, and whose they take for the format: the same die.
SAME_DIE = {"h100": "h200"}
_SAME_FORMAT = {"fp8": "fp8_block"}


def fit(system: System, products: Products) -> Stack:
    """Constants with the least mean error relative to measured times, and power likewise."""
    shape = SHAPES[system]
    few = products[_some(len(products))]
    bare = Stack(
        machine(system[0]),
        *system[1:],
        _constants(shape.constants, [np.log(START[name]) for name in shape.constants]),
        Energy(0, 0, 0, ""),
        shape.tiles,
        shape.splits,
        shape.quantises,
        tuple((int(x.min()), int(x.max())) for x in (products.m, products.n, products.k)),
    )

    def error(logs: Array) -> float:
        constants = _constants(shape.constants, logs)
        time = seconds(replace(bare, constants=constants), few.m, few.n, few.k)
        return float(np.mean(abs(time * 1e6 / few.us - 1))) + _outside(shape.constants, logs)

    logs = _search(error, [START[name] for name in shape.constants])
    stack = replace(bare, constants=_constants(shape.constants, logs))
    settled = products[np.isfinite(products.watts) & (products.us >= shape.settled_us)]
    if not len(settled):
        return stack
    return replace(stack, energy=_power(stack, settled[_some(len(settled))]))


def _some(count: int) -> NDArray:
    """Numbers of the products that are looked at."""
    chosen = np.random.default_rng(measured.SEED).permutation(count)
    return np.sort(chosen[:SAMPLE])


def _search(error: Callable[[Array], float], start: Sequence[float]) -> Array:
    """Logarithms with the least error: Nelder and Mead's simplex, begun anew where it ends."""
    logs = np.log(start)
    steps = np.diag([0.25 if i % 2 else -0.25 for i in range(len(logs))])
    for _ in range(2):
        options = {
            "maxfev": EVALUATIONS,
            "adaptive": True,
            "xatol": 1e-3,
            "fatol": 1e-5,
            "initial_simplex": np.vstack([logs, logs + steps]),
        }
        logs = minimize(error, logs, method="Nelder-Mead", options=options).x
    return logs


def _constants(names: Sequence[str], logs: Sequence[float] | Array) -> Constants:
    """Constants in their ranges."""
    values = np.exp(np.clip(logs, -12, 12))
    return Constants(
        **{
            name: float(np.clip(value, *RANGES.get(name, (0, np.inf))))
            for name, value in zip(names, values, strict=True)
        }
    )


def _outside(names: Sequence[str], logs: Array) -> float:
    """How far logarithms are out of their ranges, so that the search stays near."""
    far = np.maximum(abs(logs) - 12, 0).sum()
    for name, log in zip(names, logs, strict=True):
        low, high = RANGES.get(name, (0, np.inf))
        far += max(0, log - np.log(high)) + (max(0, np.log(low) - log) if low else 0)
    return float(far)


def _power(stack: Stack, products: Products) -> Energy:
    """Constants of power with the least mean error relative to measured watts."""

    def energy(logs: Array) -> Energy:
        idle, flop, byte = (float(value) for value in np.exp(logs))
        return Energy(idle, flop, byte, "measured watts")

    def error(logs: Array) -> float:
        power = watts(
            replace(stack, energy=energy(logs)),
            products.m,
            products.n,
            products.k,
            products.us * 1e-6,
        )
        return float(np.mean(abs(power / products.watts - 1)))

    return energy(_search(error, [0.2 * stack.device.watts, 0.5, 30.0]))


def mape(stack: Stack, products: Products) -> float:
    """Mean error of times relative to the measured ones, in percent."""
    time = seconds(stack, products.m, products.n, products.k)
    return float(100 * np.mean(abs(time * 1e6 / products.us - 1)))


def large(products: Products) -> Products:
    """Those with measured watts, all of whose sides are at least ``LARGE``."""
    least = np.minimum(np.minimum(products.m, products.n), products.k)
    return products[(least >= LARGE) & np.isfinite(products.watts)]


def joules_error(stack: Stack, products: Products) -> float:
    """Median error of energies relative to watts times seconds, in percent."""
    found = predict(stack, products.m, products.n, products.k).joules
    return float(100 * np.median(abs(found / (products.watts * products.us * 1e-6) - 1)))


def _borrowed(stacks: list[Stack]) -> list[Stack]:
    """Stacks with power of the same die, or of the limit, where watts were not measured."""
    known = {(s.device.name, s.dtype): s for s in stacks if s.energy.pj_per_flop}
    found = []
    for stack in stacks:
        if not stack.energy.pj_per_flop:
            dtype = _SAME_FORMAT.get(stack.dtype, stack.dtype)
            like = known.get((SAME_DIE.get(stack.device.name, ""), dtype))
            energy = _at_the_limit(stack) if like is None else _like(like)
            stack = replace(stack, energy=energy)
        found.append(stack)
    return found


def _like(stack: Stack) -> Energy:
    origin = f"{stack.device.name} {stack.dtype}, the same die; not measured"
    return replace(stack.energy, origin=origin, measured=False)


def _at_the_limit(stack: Stack) -> Energy:
    """A fifth of the limit when idle, all of it at the sustained rate, where bytes count little."""
    rest = 0.8 * stack.device.watts
    rate = stack.peak * stack.constants.sustained
    origin = "the limit of power at the sustained rate, a fifth of it idle; not measured"
    return Energy(0.2 * stack.device.watts, rest / rate * 1e12, 0.0, origin, False)


def record(stack: Stack, other: Products) -> dict[str, object]:
    """Points, pairs (n, k) and errors in percent of what a stack was not fitted on."""
    found: dict[str, object] = {"points": len(other), "pairs": other.pairs()}
    found["mape"] = round(mape(stack, other), 3)
    if len(big := large(other)):
        found |= {"large": len(big), "joules": round(joules_error(stack, big), 3)}
    return found


def toml(stacks: list[Stack], records: list[dict[str, object]]) -> str:
    """The text of ``perf/stacks.toml``; a record for each stack."""
    lines = [
        "# Constants of perf.gemm by device and software stack, written by",
        "# `python -m verif.studies.perf.fit --write` from measured products: NVIDIA's",
        "# aiconfigurator (ai-dynamo/aiconfigurator, Apache-2.0), medians of serving stacks.",
        "# Fitted on half of the pairs (n, k); held_out is of the other half, errors in percent.",
    ]
    for stack, held_out in zip(stacks, records, strict=True):
        lines += [
            "",
            "[[stack]]",
            f'device = "{stack.device.name}"',
            f'framework = "{stack.framework}"',
            f'dtype = "{stack.dtype}"',
            f"tiles = {list(stack.tiles)}",
            f"splits = {list(stack.splits)}",
            f"quantises = {str(stack.quantises).lower()}",
            f"ranges = {{ {_ranges(stack)} }}",
            _inline("time", {k: v for k, v in asdict(stack.constants).items() if v is not None}),
            _inline("energy", asdict(stack.energy)),
            _inline("held_out", held_out),
        ]
    return "\n".join(lines) + "\n"


def _ranges(stack: Stack) -> str:
    sides = zip("mnk", stack.ranges, strict=True)
    return ", ".join(f"{side} = {list(between)}" for side, between in sides)


def _inline(name: str, values: dict[str, object]) -> str:
    def text(value: object) -> str:
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, int):
            return str(value)
        return f"{value:.5g}" if isinstance(value, float) else f'"{value}"'

    return f"{name} = {{ {', '.join(f'{k} = {text(v)}' for k, v in values.items())} }}"


def halves(system: System, products: Products) -> tuple[Stack, Products]:
    """Constants of half of the pairs (n, k), and the products of the other half."""
    fold = products.fold(2)
    return fit(system, products[fold == 0]), products[fold == 1]


def cross(system: System, products: Products) -> tuple[float, float]:
    """Mean errors in percent with constants of half and of three quarters of the pairs, on the
    quarter that neither saw; the mean of all four."""
    fold = products.fold(4)
    found = []
    for out in range(4):
        half = np.isin(fold, [(out + 1) % 4, (out + 2) % 4])
        found.append(
            [mape(fit(system, products[s]), products[fold == out]) for s in (half, fold != out)]
        )
    of_half, of_more = np.mean(found, axis=0)
    return float(of_half), float(of_more)


def main(
    data: Annotated[Path | None, typer.Option(help="Measured products, CSV or .csv.gz.")] = None,
    write: Annotated[bool, typer.Option("--write", help="Keep the constants.")] = False,
    compare: Annotated[bool, typer.Option("--cross", help="Half beside three quarters.")] = False,
) -> None:
    """Fit all systems and print their errors."""
    file = data or measured.path()
    if not file or not file.is_file():
        raise UserError(f"{file or '--data'}: no file of measurements")
    found = measured.read(file)
    stacks, records = [], []
    for system in SHAPES:
        products = found[system]
        stack, other = halves(system, products)
        stacks.append(stack)
        records.append(record(stack, other))
        line = ", ".join(f"{name} {value}" for name, value in records[-1].items())
        if compare:
            half, more = cross(system, products)
            line += f", mape of half {half:.2f}, of three quarters {more:.2f}"
        print(*system, line, flush=True)
    if write:
        text = toml(_borrowed(stacks), records)
        replace_file(PATH, lambda sink: sink.write(text.encode()))


if __name__ == "__main__":
    typer.run(main)
