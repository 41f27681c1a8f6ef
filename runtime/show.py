"""A plan as text and as a picture: nodes over time, and what was when."""

import string
from html import escape
from math import isfinite

from runtime.plan.planner import Plan
from runtime.simulate import Run

#: Signs of tasks in text, in the order of their starts, again from the first after the last.
SIGNS = string.ascii_lowercase + string.ascii_uppercase + string.digits
#: Characters of a line of time; pixels of a line, of its label, of all time.
COLUMNS, ROW, LABEL, WIDTH = 72, 26, 130, 1000
#: Colours of tasks.
HUES = 12


def summary(plan: Plan) -> str:
    """A line: makespan, HEFT's, lower bound and gap, bytes moved."""
    heft = f"HEFT {plan.heft:.6g} s" if isfinite(plan.heft) else "HEFT finds none"
    gap = f", {100 * (plan.makespan / plan.lower - 1):.1f} % above" if plan.lower else ""
    return (
        f"{plan.graph.name}: {len(plan.graph.tasks)} tasks on {len(plan.graph.nodes)} nodes, "
        f"makespan {plan.makespan:.6g} s by {plan.by} "
        f"({heft}; lower bound {plan.lower:.6g} s{gap}), {plan.moved:.6g} bytes moved"
    )


def ran(run: Run) -> str:
    """A line: what a simulated run took, and what was done anew."""
    ratio = f" ({run.plan.makespan / run.expected:.3f} times the plan)" if run.expected else ""
    return (
        f"simulated: {run.plan.makespan:.6g} s{ratio}, {run.trace.transfers} transfers, planned "
        f"again {len(run.trace.replans)} times, {run.trace.again} tasks computed again"
    )


def busy(plan: Plan, node: int) -> float:
    """Share of the makespan that a node runs tasks in."""
    mine = plan.node == node
    return float((plan.end - plan.start)[mine].sum() / plan.makespan) if plan.makespan else 0.0


def gantt(plan: Plan) -> str:
    """A line of signs for each node, ``.`` where it is idle; ends with a new line."""
    width = max(map(len, plan.graph.nodes))
    scale = COLUMNS / plan.makespan if plan.makespan else 0.0
    lines = {node: ["."] * COLUMNS for node in plan.graph.nodes}
    for number, (_, node, start, end) in enumerate(plan.rows()):
        first = min(int(start * scale), COLUMNS - 1)
        for column in range(first, max(first + 1, round(end * scale))):
            lines[node][column] = SIGNS[number % len(SIGNS)]
    return "".join(
        f"{name:{width}} |{''.join(lines[name])}| {100 * busy(plan, p):3.0f} %\n"
        for p, name in enumerate(plan.graph.nodes)
    )


def svg(plan: Plan) -> str:
    """The plan as an SVG picture: a line a node, a box a task with its times as title."""
    height = ROW * (len(plan.graph.nodes) + 2)
    scale = (WIDTH - LABEL - 10) / plan.makespan if plan.makespan else 0.0
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="11">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="8" y="17" font-weight="bold">{escape(summary(plan))}</text>',
    ]
    top = {name: ROW * (p + 1) for p, name in enumerate(plan.graph.nodes)}
    for name, y in top.items():
        parts.append(f'<text x="8" y="{y + 17}">{escape(name)}</text>')
        parts.append(
            f'<rect x="{LABEL}" y="{y + 2}" width="{WIDTH - LABEL - 10}" height="{ROW - 4}" '
            'fill="#f3f3f3"/>'
        )
    for number, (task, node, start, end) in enumerate(plan.rows()):
        x, wide, y = LABEL + start * scale, max((end - start) * scale, 1.0), top[node]
        parts.append(
            f'<rect x="{x:.1f}" y="{y + 2}" width="{wide:.1f}" height="{ROW - 4}" '
            f'fill="hsl({360 * (5 * number % HUES) // HUES},60%,82%)" stroke="#888">'
            f"<title>{escape(task)}: {start:.6g} to {end:.6g} s</title></rect>"
        )
        if wide > 7 * len(task):
            parts.append(f'<text x="{x + 3:.1f}" y="{y + 17}">{escape(task)}</text>')
    parts.append(
        f'<text x="{WIDTH - 10}" y="{height - 8}" text-anchor="end">{plan.makespan:.6g} s</text>'
    )
    return "\n".join([*parts, "</svg>"]) + "\n"
