"""One model compiled for several sizes, its buckets: a sample takes the smallest that holds it.

On disk a directory with a compiled model for each bucket, in a directory of its own, and
``buckets.json``: the ``version`` of this layout, ``axes`` of inputs and outputs, ``pads``, and
``members`` by directory with their sizes and the digest of their report.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spu.arch.errors import InputError
from spu.arch.files import replace_file
from spu.arch.package import manifest, store
from spu.arch.package.compiled import Package
from spu.arch.package.manifest import REPORT, PackageError
from spu.arch.package.pipeline import Pipeline

BUCKETS = "buckets.json"
VERSION = 1
#: Name of the first axis of inputs whose rows are samples, as ``--batch`` sets it.
BATCH = "batch"
#: Of each axis of a tensor the name of its size, or "" of one that is the same in all buckets.
Axes = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Buckets:
    """``sizes`` by name of each of the ``packages``; ``inputs`` and ``outputs``: their axes.

    ``pads``: what stands in the places of an input that a sample leaves empty; without pads
    samples must have the sizes of a bucket, but for the number of rows.
    """

    sizes: tuple[Mapping[str, int], ...]
    packages: tuple[Package | Pipeline, ...]
    inputs: Axes
    outputs: Axes
    pads: Mapping[str, float]

    @property
    def lengths(self) -> list[str]:
        """Names of sizes that are no number of rows."""
        return [name for name in self.sizes[0] if name != BATCH]

    def measured(self, given: Mapping[str, NDArray]) -> dict[str, int]:
        """Sizes of inputs by name, those of rows among them.

        Raises ``InputError`` for inputs of other names and numbers of axes, and for sizes that
        differ between inputs.
        """
        if set(given) != set(self.inputs):
            raise InputError(f"has {sorted(given)}, the inputs are {sorted(self.inputs)}")
        found: dict[str, tuple[int, str]] = {}
        for name, axes in self.inputs.items():
            values = np.asarray(given[name])
            if values.ndim != len(axes):
                raise InputError(f"{name} must have {len(axes)} axes, not {values.ndim}")
            for size, axis in zip(values.shape, axes, strict=True):
                known = found.setdefault(axis, (size, name)) if axis else (size, name)
                if known[0] != size:
                    raise InputError(f"{axis} is {known[0]} in {known[1]} and {size} in {name}")
                if not size:
                    raise InputError(f"{name} has no element")
        return {axis: size for axis, (size, _) in found.items()}

    def holding(self, lengths: Mapping[str, int]) -> list[int]:
        """Numbers of the smallest buckets that hold these lengths, by their rows.

        Raises ``InputError`` if there is none.
        """
        fits = [
            i
            for i, sizes in enumerate(self.sizes)
            if all(
                sizes[n] >= lengths[n] if self.pads else sizes[n] == lengths[n]
                for n in self.lengths
            )
        ]
        if not fits:
            told = ", ".join(f"{n} {lengths[n]}" for n in self.lengths)
            known = "; ".join(
                f"{n} {', '.join(map(str, sorted({s[n] for s in self.sizes})))}"
                for n in self.lengths
            )
            rule = "" if self.pads else "; spu compile --pad lets shorter ones in"
            raise InputError(f"no bucket holds {told}: there are {known}{rule}")

        def size(i: int) -> tuple[int, ...]:
            return tuple(self.sizes[i][n] for n in self.lengths)

        # Buckets are all combinations of sizes, so that one is the smallest in each of them.
        least = min(map(size, fits))
        return sorted((i for i in fits if size(i) == least), key=lambda i: self.rows(i))

    def rows(self, number: int) -> int:
        """Rows of a bucket."""
        return self.sizes[number].get(BATCH, 1)

    def padded(self, given: Mapping[str, NDArray], number: int) -> dict[str, NDArray]:
        """Inputs as long as a bucket has them: filled up, or cut where they are longer."""
        return {
            name: resized(np.asarray(values), self.inputs[name], self.sizes[number], pad)
            for name, values in given.items()
            for pad in [self.pads.get(name, 0)]
        }

    def true_part(self, name: str, values: NDArray, lengths: Mapping[str, int]) -> NDArray:
        """Of an output of a bucket, what a sample of these lengths has."""
        axes = self.outputs[name]
        return values[tuple(slice(lengths[a]) if a and a != BATCH else slice(None) for a in axes)]


def resized(values: NDArray, axes: Sequence[str], sizes: Mapping[str, int], pad: float) -> NDArray:
    """Values with the lengths of ``sizes``, at their ends filled up or cut; rows stay as many."""
    wanted = [sizes[a] if a and a != BATCH else n for a, n in zip(axes, values.shape, strict=True)]
    values = values[tuple(map(slice, wanted))]
    behind = [(0, w - n) for w, n in zip(wanted, values.shape, strict=True)]
    if not any(count for _, count in behind):
        return values
    kind = values.dtype.kind
    if kind in "iu" and values.dtype != np.uint64:  # narrow ones may not hold the pad
        values = values.astype(np.int64 if pad == int(pad) else np.float64)
    return np.pad(values, behind, constant_values=np.asarray(pad).astype(values.dtype))


def directory_name(sizes: Mapping[str, int]) -> str:
    """Of a bucket, as ``batch8-seq16``; characters of names that files lack are ``_``."""
    text = ("".join(c if c.isalnum() else "_" for c in name) for name in sizes)
    return "-".join(f"{name}{size}" for name, size in zip(text, sizes.values(), strict=True))


def save(buckets: Buckets, directory: Path) -> list[dict]:
    """Write all or, if that fails, leave nothing new; returns the reports.

    Buckets of an earlier model there go.  Raises ``OSError`` with the file's name.
    """
    names = [directory_name(sizes) for sizes in buckets.sizes]
    before = _members(directory)
    fresh = [name for name in names if not (directory / name).exists()]
    made = not directory.exists()
    try:
        (directory / BUCKETS).unlink(missing_ok=True)
        reports = [
            store.save(package, directory / name)
            for name, package in zip(names, buckets.packages, strict=True)
        ]
        content = {
            "version": VERSION,
            "inputs": {name: list(axes) for name, axes in buckets.inputs.items()},
            "outputs": {name: list(axes) for name, axes in buckets.outputs.items()},
            "pads": dict(buckets.pads),
            "members": {
                name: {"sizes": dict(sizes), "digest": report["digest"]}
                for name, sizes, report in zip(names, buckets.sizes, reports, strict=True)
            },
        }
        content["digest"] = _digest(content)
        text = (json.dumps(content, indent=1) + "\n").encode()
        replace_file(directory / BUCKETS, partial(_write, text))
    except BaseException:
        for name in fresh:
            shutil.rmtree(directory / name, ignore_errors=True)
        if made:
            with suppress(OSError):
                directory.rmdir()
        raise
    for name in set(before) - set(names):
        manifest.remove(directory / name)
    return reports


def load(directory: Path) -> Buckets:
    """What ``save`` wrote; ``PackageError`` if it is not that, or was changed or damaged since."""
    try:
        content = json.loads((directory / BUCKETS).read_text())
        if not isinstance(content, dict) or content.get("version") != VERSION:
            raise PackageError(f"{BUCKETS} is of another version; spu compile writes it anew")
        if content.pop("digest") != _digest(content):
            raise PackageError(f"{BUCKETS} was changed or damaged; spu compile writes all anew")
        packages = []
        for name, member in content["members"].items():
            report = json.loads((directory / name / REPORT).read_text())
            if report["digest"] != member["digest"]:
                raise PackageError(f"{name} is not the one of {BUCKETS}")
            packages.append(store.load(directory / name))
        return Buckets(
            tuple(member["sizes"] for member in content["members"].values()),
            tuple(packages),
            content["inputs"],
            content["outputs"],
            content["pads"],
        )
    except OSError:
        raise
    except PackageError as error:
        where = "" if str(error).startswith(str(directory)) else f"{directory}: "
        raise PackageError(f"{where}{error}") from None
    except Exception as error:  # whatever damage leads to
        what = str(error) or type(error).__name__
        raise PackageError(f"{directory}: {BUCKETS} is damaged: {what}") from None


def _members(directory: Path) -> list[str]:
    """Directories of the buckets that an earlier ``save`` wrote."""
    try:
        content = json.loads((directory / BUCKETS).read_text())
        return [name for name in content["members"] if "/" not in name and name not in (".", "..")]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _write(content: bytes, sink: Any) -> None:
    sink.write(content)
