"""Random task graphs on random meshes, in the JSON form of ``runtime.plan.graph``."""

from typing import Any

import numpy as np


def random_graph(
    seed: int, tasks: int = 20, nodes: int = 4, chance: float = 0.3, traffic: float = 1.0
) -> dict[str, Any]:
    """Layers of tasks of 1 to 20 units of work, on nodes of speeds that differ up to 4 times.

    ``chance``: of an edge from each task of the layer before; ``traffic``: mean seconds of a
    transfer, in mean times of a task.
    """
    rng = np.random.default_rng(seed)
    work = rng.uniform(1, 20, tasks).round(3)
    speed = np.exp2(rng.uniform(0, 2, nodes)).round(3)
    layer = np.sort(rng.integers(0, max(2, round(tasks**0.5)), tasks))
    edges = []
    for target in range(tasks):
        above = np.flatnonzero(layer == layer[target] - 1)
        chosen = above[rng.random(len(above)) < chance]
        if len(above) and not len(chosen):
            chosen = rng.choice(above, 1)
        size = rng.uniform(0.5, 1.5, len(chosen)) * traffic * work.mean() / speed.mean()
        edges += [
            [f"t{s}", f"t{target}", round(float(x), 3)] for s, x in zip(chosen, size, strict=True)
        ]
    pace = rng.uniform(0.5, 2, (nodes, nodes)).round(3)
    return {
        "name": f"random{seed}-{tasks}",
        "tasks": [[f"t{n}", float(each)] for n, each in enumerate(work)],
        "edges": edges,
        "nodes": [[f"n{p}", float(each)] for p, each in enumerate(speed)],
        "links": [
            [f"n{a}", f"n{b}", float(pace[a, b])] for a in range(nodes) for b in range(a, nodes)
        ],
    }
