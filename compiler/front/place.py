"""Where a node stands, as refusals name it."""

from dataclasses import dataclass

from onnx import NodeProto

#: Calls within each other that a line names.
MOST_NAMED = 4


@dataclass(frozen=True)
class Place:
    """Where a node stands: the user's node and operator, and what leads from it to this one."""

    node: str
    operator: str
    within: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        """What leads to the node, at the beginning of a line; of many the first and the last."""
        calls = self.within
        if len(calls) > MOST_NAMED:
            first, last = calls[: MOST_NAMED - 1], calls[-1]
            calls = (*first, f"{len(calls) - MOST_NAMED} calls further in, {last}")
        return "".join(f"{call}: " for call in calls)

    @classmethod
    def of(cls, node: NodeProto) -> "Place":
        """Of a node that stands for itself, called by its first output if it has no name."""
        return cls(node.name or next((o for o in node.output if o), ""), node.op_type)

    def inside(self, node: NodeProto) -> "Place":
        """Of a node of a function of the user."""
        inner = Place.of(node)
        call = f"its {inner.operator} node {inner.node!r}"
        return Place(self.node, self.operator, (*self.within, call))
