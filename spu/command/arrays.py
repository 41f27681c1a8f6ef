"""Arrays in files of numpy: one, or several by name."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
from numpy.typing import NDArray

from spu.arch.files import Writer
from spu.arch.package import inputs
from spu.arch.package.program import Program
from spu.command.common import BadInput, about


def read_arrays(path: Path, only: str) -> dict[str, NDArray]:
    """Arrays of an ``.npz`` by name, or of an ``.npy`` as ``only``; ``BadInput`` if neither."""
    try:
        file = np.load(path, allow_pickle=False)
        return dict(file) if hasattr(file, "files") else {only: file}
    except OSError as error:
        if error.filename:
            raise
        raise BadInput(f"{path}: {error}") from None
    except Exception:  # whatever numpy and zipfile have for damaged files
        raise BadInput(f"{path}: not an .npy or .npz file of numbers") from None


def set_files(path: Path) -> list[Path]:
    """A file, or all ``.npy`` and ``.npz`` files of a directory in the order of their names;
    ``BadInput`` if it holds none."""
    if not path.is_dir():
        return [path]
    files = sorted(each for each in path.iterdir() if each.suffix in (".npy", ".npz"))
    if not files:
        raise BadInput(f"{path}: holds no .npy or .npz file")
    return files


def read_sets(path: Path, program: Program) -> list[dict[str, NDArray[np.float64]]]:
    """Sets of inputs of a tensor program from a file, or from all ``.npy`` and ``.npz`` files of a
    directory, see ``inputs.sets_of_program``; ``BadInput`` if they are not such."""
    found = []
    for file in set_files(path):
        given = read_arrays(file, next(iter(program.inputs), ""))
        with about(file):
            found += inputs.sets_of_program(program, given)
    return found


def arrays_writer(path: Path, arrays: Mapping[str, NDArray]) -> Writer:
    """Of an ``.npz`` by name, as which a path or several arrays ask for it; else of an ``.npy``."""
    if len(arrays) > 1 or path.suffix == ".npz":
        return lambda sink: write_arrays(sink, arrays)
    only = next(iter(arrays.values()))
    return lambda sink: np.save(sink, only)


def write_arrays(sink: Any, arrays: Mapping[str, NDArray]) -> None:
    """An ``.npz`` of arrays of any names; ``numpy.savez`` takes no array called ``file``."""
    with ZipFile(sink, "w") as archive:
        for name, values in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asarray(values), allow_pickle=False)
