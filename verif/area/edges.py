"""Decoders that stand at the edge of an array instead of in each lane."""

#: Rows and columns of an array whose edges decode for all lanes.
EDGE = 16


def at_edge(full: float, decoded: float) -> float:
    """A lane whose decoders serve ``EDGE`` lanes."""
    return decoded + (full - decoded) / EDGE
