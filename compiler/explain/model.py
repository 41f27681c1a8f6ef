"""What bounds a compiled model: steps by their cycles, or the resources of a pipeline."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table

from spu.arch.errors import PackageError
from spu.arch.package.manifest import REPORT, read
from spu.arch.package.store import KIND, load


def show_model(directory: Path, console: Console) -> None:
    """The report of ``spu compile`` in a table; ``PackageError`` as for ``spu run``."""
    load(directory)
    report = read(directory).report
    with _reading(directory / REPORT):
        (_steps if report["kind"] == KIND else _pipeline)(report, console)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError:
        raise
    except Exception as error:  # whatever a report has that is none
        raise PackageError(f"{path}: not a report of spu compile: {error}") from None


def _steps(report: dict, console: Console) -> None:
    """Steps with most cycles, and what each is bound by."""
    steps = [(i, step) for i, step in enumerate(report["steps"]) if "cycles" in step]
    total = report["cycles"]
    table = Table(
        "step",
        "what",
        "result",
        "cycles",
        "share",
        "bound by",
        title=f"{report['name']} on {report['arch']}: {total} cycles, {len(steps)} steps",
    )
    for i, step in sorted(steps, key=lambda entry: -entry[1]["cycles"])[:12]:
        if step["kind"] == "map":
            kernel = report["kernels"][step["kernel"]]
            operations = sum(bool(x[1]) for x in kernel["expression"])
            what = f"kernel {step['kernel']}, {operations} operations"
            bound = f"II {kernel['ii']}" + (
                ", the lower bound"
                if kernel["ii"] == kernel["mii"]
                else f"; its bound is {kernel['mii']}"
            )
        else:
            plans = [report["products"][piece[-1]] for piece in step["pieces"]]
            what = f"product in {step['format']}, {len(plans)} piece{'s' * (len(plans) != 1)}"
            passes = {p["passes"] for p in plans}
            bound = (
                f"{sum(p['rows'] for p in plans)} rows, II {plans[0]['ii']} x "
                f"{plans[0]['steps']} a row, {max(passes)} passes"
            )
        shape = "x".join(map(str, report["tensors"][step["out"]]))
        table.add_row(
            str(i), what, shape, str(step["cycles"]), f"{100 * step['cycles'] / total:.1f} %", bound
        )
    console.print(table)
    hosts = Counter(s["operation"] for s in report["steps"] if s["kind"] == "host")
    if hosts:
        named = ", ".join(f"{count} {name}" for name, count in sorted(hosts.items()))
        console.print(f"steps of the host, without cycles: {named}", highlight=False, markup=False)
    if steps:
        i, step = max(steps, key=lambda entry: entry[1]["cycles"])
        console.print(
            f"step {i} takes most: {100 * step['cycles'] / total:.1f} % of the cycles; "
            "without it the model would take "
            f"{total - step['cycles']}",
            highlight=False,
            markup=False,
        )


def _pipeline(report: dict, console: Console) -> None:
    """The bounds of the II, the largest first, and where layers are."""
    bounds = sorted(report["ii_bounds"].items(), key=lambda entry: -entry[1])
    name, most = bounds[0]
    console.print(
        f"{report['name']} on {report['arch']}: a vector every {report['ii']} cycles; "
        f"the bound is {most}, by {name}",
        highlight=False,
        markup=False,
    )
    table = Table("layer", "matrix units", "passes", "memory tiles", title="layers")
    for layer in report["layers"]:
        table.add_row(
            layer["name"],
            *(
                " ".join(f"{r},{c}" for r, c in layer["engines"]),
                str(layer["passes"]),
                " ".join(f"{r},{c}" for r, c in layer["homes"]),
            ),
        )
    console.print(table)
    for name, value in bounds:
        console.print(f"{name}: II at least {value}", highlight=False, markup=False)
    share = 100 * report["macs_per_cycle"] / report["peak_macs_per_cycle"]
    console.print(
        f"{share:.1f} % of the multiplications that the array can do", highlight=False, markup=False
    )
