"""Real operands at the ports of a unit's parts, cycle by cycle."""

import numpy as np
from amaranth.hdl import Value
from amaranth.lib import wiring

from verif.area.datapaths import Coded, Codes, Datapath, repeated
from verif.area.shapes import Shape
from verif.stimulus.vectors import join

Ports = dict[str, list[int]]


def edge_ports(
    path: Datapath, shape: Shape, edge: wiring.Component, x: Coded, w: Coded, second: bool = False
) -> Ports:
    """Each row of ``x`` as often as there are rows of ``w``, a slice a cycle.

    ``second``: the rows of ``w`` that meet them.
    """
    i, coded = _pairs(x, w)[second], (x, w)[second]
    ports = {"codes": _joined(coded.codes[i], shape.lanes, edge, "codes")}
    if "bias" in edge.signature.members:
        biases = repeated(coded.biases[i], path.block, shape.lanes, coded.codes.shape[1])
        ports["bias"] = biases.ravel().tolist()
    return ports


def core_ports(
    path: Datapath, shape: Shape, core: wiring.Component, x: Coded, w: Coded, edge: Ports
) -> Ports:
    """Every row of ``x`` with every row of ``w``, one after the other, a slice a cycle.

    ``edge`` are the outputs of the edge unit, ``o`` and ``scale``.  A column of a matrix takes its
    weights a cycle before the rest.
    """
    lanes = shape.lanes
    _, j = _pairs(x, w)
    found = {"a": edge["o"], "b": _joined(w.operands[j], lanes, core, "b")}
    if "scale_b" in core.signature.members:
        found["scale_a"] = edge["scale"]
        found["scale_b"] = path.said(w, lanes)[j].ravel().tolist()
    slices = x.codes.shape[1] // lanes
    at = np.tile(np.arange(slices), len(j))
    if not shape.matrix:
        return {**found, "first": (at == 0).astype(int).tolist()}
    per_block = max(path.block // lanes, 1)
    found |= {
        "block_last": (at % per_block == per_block - 1).astype(int).tolist(),
        "last": (at == slices - 1).astype(int).tolist(),
    }
    # In the first cycle whatever operands are there are closed, and handed over before the rest.
    early, closing = ("b", "scale_b"), ("block_last", "last")
    return {
        name: v + v[-1:] if name in early else [int(name in closing), *v]
        for name, v in found.items()
    }


def _pairs(x: Coded, w: Coded) -> tuple[Codes, Codes]:
    i, j = np.indices((len(x.codes), len(w.codes)))
    return i.ravel(), j.ravel()


def _joined(values: Codes, lanes: int, component: wiring.Component, port: str) -> list[int]:
    """Slices of lanes as values of a port that is an array."""
    return join(values.reshape(-1, lanes), len(Value.cast(getattr(component, port)[0])))
