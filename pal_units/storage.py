"""PAL arrays in files: an ``.npz`` of codes, biases and a description, without pickles.

description: JSON: version, format (name, n, profile, fraction_bits, block, bias_step, and
    codebooks of profile A), tensor_bias, axis
codes: uint8 or uint16, the shape of the array
biases: int8; absent where a block is one element; in profile A the bytes of blocks
"""

import json
import os
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import BinaryIO

import numpy as np

from pal_units.array import PalArray
from pal_units.codebook import Codebooks
from pal_units.formats import BETA_MIN, ZERO_BLOCK, Format

#: Of the description; a reader refuses others.
VERSION = 1


def save(file: str | PathLike[str] | BinaryIO, a: PalArray) -> None:
    """Write an array to a path, completely or not at all, or to an open file.

    Raises ``TypeError`` for what is no ``PalArray``, ``OSError``.
    """
    if not isinstance(a, PalArray):
        raise TypeError(f"save takes a PalArray, not {type(a).__name__}")
    fmt = asdict(a.fmt)
    if a.fmt.codebooks is None:  # as before there were any
        del fmt["codebooks"]
    description = json.dumps(
        {"version": VERSION, "format": fmt, "tensor_bias": a.tensor_bias, "axis": a.axis}
    )
    parts = {"description": np.array(description), "codes": a.codes}
    if a.fmt.block > 1:
        parts["biases"] = a.biases
    if not isinstance(file, (str, PathLike)):
        np.savez(file, **parts)  # type: ignore[arg-type]
        return
    path = Path(file)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        with open(temporary, "wb") as sink:
            np.savez(sink, **parts)  # type: ignore[arg-type]
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def load(file: str | PathLike[str] | BinaryIO) -> PalArray:
    """Read what ``save`` wrote.

    Raises ``OSError``, and ``ValueError`` for another file, a newer version, or parts that do
    not fit each other.
    """
    try:
        with np.load(file, allow_pickle=False) as parts:
            description = json.loads(str(parts["description"]))
            if description["version"] != VERSION:
                raise ValueError(f"version {description['version']}, this reads {VERSION}")
            facts = description["format"]
            if facts.get("codebooks") is not None:
                facts["codebooks"] = Codebooks(**facts["codebooks"])
            fmt = Format(**facts)
            codes = parts["codes"]
            biases = parts["biases"] if fmt.block > 1 else np.zeros(codes.shape, np.int8)
            found = PalArray(codes, biases, description["tensor_bias"], fmt, description["axis"])
        used = biases[biases != ZERO_BLOCK]
        if fmt.codebooks is not None:  # every byte is one
            used = used[:0]
        fits = (used <= 0) & (used >= BETA_MIN) & (used % fmt.bias_step == 0)
        if not fits.all():
            raise ValueError(f"biases that {fmt.name} has not")
    except OSError:
        raise
    except Exception as error:  # what numpy, zipfile and json raise for damaged files is anything
        name = file if isinstance(file, (str, PathLike)) else getattr(file, "name", "the file")
        what = f"no {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise ValueError(f"{name} is not a PalArray's file: {what}") from None
    return found
